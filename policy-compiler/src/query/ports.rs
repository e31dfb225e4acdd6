//! All ports at once: asked once per stretch of ports that nothing in the state can tell apart.
//!
//! Exact because a verdict can change only where a range of a rule or a port that a pod names begins or ends; and
//! protocols without ports are all alike to rules (only a rule without `ports` covers them).

use super::end::End;
use super::judge::Judge;
use super::probe::Transport;
use crate::api::Object;
use crate::classifier::Verdict;
use crate::model::{Action, PortSpec, Protocol};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// Where stretches of ports begin, by protocol, and that there are protocols without ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpace {
    starts: [Vec<u16>; 3],
}

/// A stretch of ports, or (`None`) all protocols without ports.
pub(super) type Stretch = Option<(Protocol, u16, u16)>;

impl PortSpace {
    /// What these states can tell apart.
    pub fn new(judges: &[&Judge]) -> Self {
        let mut starts = [const { BTreeSet::new() }; 3];
        let mut add = |protocol: Protocol, first: u16, last: u16| {
            let position = Protocol::WITH_PORTS.iter().position(|&one| one == protocol);
            if let Some(starts) = position.and_then(|position| starts.get_mut(position)) {
                starts.insert(first);
                starts.extend(last.checked_add(1));
            }
        };
        for protocol in Protocol::WITH_PORTS {
            add(protocol, 0, u16::MAX);
        }
        for judge in judges {
            let policies = judge.model().tiers.iter().flat_map(|tier| &tier.policies);
            for rule in policies.flat_map(|policy| &policy.rules) {
                for spec in rule.ports.listed().iter().chain(&rule.not_ports) {
                    if let &PortSpec::Range { protocol, first, last } = spec {
                        add(protocol, first, last);
                    }
                }
            }
            for object in judge.compiler().objects() {
                let Object::Pod(pod) = object else { continue };
                for port in &pod.named_ports {
                    add(Protocol::new(port.protocol), port.port, port.port);
                }
            }
        }
        Self { starts: starts.map(|starts| starts.into_iter().collect()) }
    }

    /// Every stretch with a connection of it.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (Stretch, Transport)> {
        let ports = Protocol::WITH_PORTS.into_iter().zip(&self.starts).flat_map(|(protocol, starts)| {
            starts.iter().enumerate().map(move |(position, &first)| {
                let next = starts.get(position + 1);
                let last = next.map_or(u16::MAX, |next| next.saturating_sub(1));
                (Some((protocol, first, last)), Transport::Port(protocol, first))
            })
        });
        ports.chain([(None, Transport::Icmp(None, 0))])
    }
}

/// A set of protocols and ports. Written `TCP 80,8000-8100; all UDP; ICMP`: ICMP stands for all protocols without
/// ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reach {
    /// Ranges by protocol, in order of [`Protocol::WITH_PORTS`]; sorted, with gaps between them.
    pub ranges: [Vec<(u16, u16)>; 3],
    /// Whether protocols without ports are in it.
    pub others: bool,
}

impl Reach {
    /// What `src` may open to `dst` in this family; `None` if one of them has no such address.
    pub fn new(judge: &Judge, src: &End, dst: &End, family: u8, space: &PortSpace) -> Option<Self> {
        let (source, destination) = (src.address(family)?, dst.address(family)?);
        let mut reach = Self::default();
        for (stretch, transport) in space.stretches() {
            let verdicts = judge.verdicts((src, source), (dst, destination), transport, 49152);
            if allowed(verdicts) {
                reach.add(stretch);
            }
        }
        Some(reach)
    }

    /// Adds a stretch that begins where, or after, everything of its protocol in the set ends.
    pub(super) fn add(&mut self, stretch: Stretch) {
        let Some((protocol, first, last)) = stretch else {
            self.others = true;
            return;
        };
        let position = Protocol::WITH_PORTS.iter().position(|&one| one == protocol).unwrap_or(0);
        let Some(ranges) = self.ranges.get_mut(position) else { return };
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => ranges.push((first, last)),
        }
    }

    /// Whether the connection is in it.
    pub fn contains(&self, transport: Transport) -> bool {
        let Transport::Port(protocol, port) = transport else { return self.others };
        let position = Protocol::WITH_PORTS.iter().position(|&one| one == protocol).unwrap_or(0);
        let ranges = self.ranges.get(position);
        ranges.is_some_and(|ranges| ranges.iter().any(|&(first, last)| (first..=last).contains(&port)))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.others && self.ranges.iter().all(Vec::is_empty)
    }

    /// Whether everything is in it.
    pub fn is_all(&self) -> bool {
        self.others && self.ranges.iter().all(|ranges| ranges[..] == [(0, u16::MAX)])
    }
}

/// Whether both ends allow.
pub(super) fn allowed(verdicts: [Option<Verdict>; 2]) -> bool {
    verdicts.iter().flatten().all(|verdict| verdict.action == Action::Allow)
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for (protocol, ranges) in Protocol::WITH_PORTS.iter().zip(&self.ranges) {
            if ranges.is_empty() {
                continue;
            }
            let range = |&(first, last): &(u16, u16)| {
                if first == last { first.to_string() } else { format!("{first}-{last}") }
            };
            if ranges[..] == [(0, u16::MAX)] {
                write!(f, "{separator}all {protocol}")?;
            } else {
                let ranges: Vec<String> = ranges.iter().map(range).collect();
                write!(f, "{separator}{protocol} {}", ranges.join(","))?;
            }
            separator = "; ";
        }
        if self.others {
            write!(f, "{separator}ICMP")?;
        }
        Ok(())
    }
}

impl Serialize for Reach {
    /// As it is written.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
