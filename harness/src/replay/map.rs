//! `--map`: rules that say where packets enter, for those whose addresses do not say it right.
//!
//! ```text
//!  if:eth0=underlay                      all packets of the capture's interface eth0
//!  if:#2,src:10.244.1.0/24=pod:shop/web  of its third interface, from that prefix
//!  mac:0a:58:0a:f4:01:05=pod:shop/web    sent from that MAC
//!  any=leave-out                         whatever no rule before it took
//! ```
//! The first rule all of whose conditions hold decides; a packet that none takes enters where its addresses imply.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use vxlan::mac::Mac;

use super::headers::Sketch;
use crate::capture::Interface;

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapRule {
    conditions: Vec<Condition>,
    /// Where a packet enters.
    pub(super) entry: MapEntry,
}

/// Where a rule has packets enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MapEntry {
    Pod(String),
    Node,
    Underlay,
    LeaveOut,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    InterfaceName(String),
    InterfaceNumber(usize),
    Source(IpNet),
    Destination(IpNet),
    SourceMac(Mac),
    Any,
}

/// Why a rule cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?} in map rule {rule:?}: expected CONDITION[,CONDITION...]=PORT, conditions if:NAME, if:#N, src:CIDR, dst:CIDR, mac:MAC or any, and PORT pod:NAMESPACE/NAME, node, underlay or leave-out"
)]
pub struct MapError {
    rule: String,
    part: String,
}

impl FromStr for MapRule {
    type Err = MapError;

    fn from_str(rule: &str) -> Result<Self, MapError> {
        let wrong = |part: &str| MapError { rule: rule.to_owned(), part: part.to_owned() };
        let (conditions, entry) = rule.rsplit_once('=').ok_or_else(|| wrong(rule))?;
        let entry = match entry.split_once(':') {
            None if entry == "node" => MapEntry::Node,
            None if entry == "underlay" => MapEntry::Underlay,
            None if entry == "leave-out" => MapEntry::LeaveOut,
            Some(("pod", name)) if name.split('/').filter(|part| !part.is_empty()).count() == 2 => {
                MapEntry::Pod(name.to_owned())
            }
            _ => return Err(wrong(entry)),
        };
        let conditions = conditions
            .split(',')
            .map(|text| condition(text).ok_or_else(|| wrong(text)))
            .collect::<Result<_, _>>()?;
        Ok(Self { conditions, entry })
    }
}

fn condition(text: &str) -> Option<Condition> {
    if text == "any" {
        return Some(Condition::Any);
    }
    let (what, value) = text.split_once(':')?;
    let prefix = || value.parse::<IpNet>().ok().or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from));
    match what {
        "if" => match value.strip_prefix('#') {
            Some(number) => number.parse().ok().map(Condition::InterfaceNumber),
            None => (!value.is_empty()).then(|| Condition::InterfaceName(value.to_owned())),
        },
        "src" => prefix().map(Condition::Source),
        "dst" => prefix().map(Condition::Destination),
        "mac" => value.parse().ok().map(Condition::SourceMac),
        _ => None,
    }
}

impl MapRule {
    /// Does it take this packet? One without addresses can only be taken by its interface, its MAC, or `any`.
    pub(super) fn takes(
        &self,
        number: usize,
        interface: &Interface,
        eth_src: Option<Mac>,
        sketch: Option<&Sketch>,
    ) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::InterfaceName(name) => interface.name.as_ref() == Some(name),
            Condition::InterfaceNumber(wanted) => *wanted == number,
            Condition::Source(prefix) => sketch.is_some_and(|sketch| prefix.contains(&sketch.src)),
            Condition::Destination(prefix) => sketch.is_some_and(|sketch| prefix.contains(&sketch.dst)),
            Condition::SourceMac(mac) => eth_src == Some(*mac),
            Condition::Any => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_documented() {
        let rule: MapRule = "if:#2,src:10.244.1.0/24,mac:0a:58:0a:f4:01:05=pod:shop/web".parse().unwrap();
        assert_eq!(rule.entry, MapEntry::Pod("shop/web".into()));
        assert_eq!(rule.conditions.len(), 3);
        assert!("if:eth0=underlay".parse::<MapRule>().is_ok());
        assert!("src:fd00::1=node".parse::<MapRule>().is_ok());
        assert!("any=leave-out".parse::<MapRule>().is_ok());
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("eth0", "eth0"),
            ("eth0=node", "eth0"),
            ("src:10.0.0.0/99=node", "src:10.0.0.0/99"),
            ("any=pod:web", "pod:web"),
            ("any=somewhere", "somewhere"),
            ("if:=node", "if:"),
            ("if:#x=node", "if:#x"),
        ] {
            let error = text.parse::<MapRule>().unwrap_err();
            assert_eq!(error.part, part);
        }
    }
}
