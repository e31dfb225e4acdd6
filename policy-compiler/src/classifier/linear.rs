//! The oracle engine: the rules of a subject, flattened to addresses and ports, walked one after the other.
//!
//! Shares with `flat` the rows and rule ids, and nothing of identities, port classes, tries and cells: what
//! these could get wrong shows as a difference. Cost per lookup: all rules of the row.

use super::Classifier;
use super::key::{Key, RuleId, Verdict};
use crate::api::IpBlock;
use crate::model::{Action, Direction, RuleAction};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Whom a rule is about.
#[derive(Debug, Clone)]
pub(crate) enum Remote {
    Block(IpBlock),
    /// Sorted.
    Hosts(Arc<[IpAddr]>),
}

impl Remote {
    fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Block(block) => block.contains(address),
            Self::Hosts(hosts) => hosts.binary_search(&address).is_ok(),
        }
    }
}

/// Ports of a rule: protocol number, first, last.
pub(crate) type PortRange = (u8, u16, u16);

#[derive(Debug)]
pub(crate) struct LinearRule {
    /// `None`: anyone.
    pub(crate) remotes: Option<Vec<Remote>>,
    /// `None`: every protocol and port.
    pub(crate) ports: Option<Vec<PortRange>>,
    pub(crate) action: RuleAction,
    pub(crate) rule: RuleId,
}

impl LinearRule {
    fn matches(&self, key: &Key) -> bool {
        let remote = key.remote();
        self.remotes.as_ref().is_none_or(|remotes| remotes.iter().any(|one| one.contains(remote)))
            && self.ports.as_ref().is_none_or(|ports| {
                ports.iter().any(|&(protocol, first, last)| {
                    protocol == key.protocol && (first..=last).contains(&key.dst_port)
                })
            })
    }
}

#[derive(Debug)]
pub(crate) struct LinearTier {
    pub(crate) rules: Vec<LinearRule>,
    /// The default deny, or none to go on with the next tier.
    pub(crate) undecided: Option<RuleId>,
}

#[derive(Debug)]
pub(crate) struct LinearRow {
    /// The subject is cut off.
    pub(crate) cut_off: Option<RuleId>,
    /// Sorted.
    pub(crate) own_node: Vec<IpAddr>,
    pub(crate) tiers: Vec<LinearTier>,
}

#[derive(Debug)]
pub(crate) struct LinearSubject {
    pub(crate) own: Vec<IpAddr>,
    /// Egress, ingress.
    pub(crate) rows: [u32; 2],
}

/// All subjects and rows.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) subjects: Vec<LinearSubject>,
    pub(crate) rows: Vec<LinearRow>,
    /// Addresses nobody may talk to: egress, ingress.
    pub(crate) cut_off: BTreeMap<IpAddr, [RuleId; 2]>,
    /// Egress, ingress.
    pub(crate) self_traffic: [RuleId; 2],
    /// Egress, ingress.
    pub(crate) not_isolated: [RuleId; 2],
    pub(crate) own_node: RuleId,
}

impl Classifier for Linear {
    fn classify(&self, key: &Key) -> Verdict {
        let allow = |rule| Verdict { action: Action::Allow, rule };
        let deny = |rule| Verdict { action: Action::Deny, rule };
        let side = match key.direction {
            Direction::Egress => 0,
            Direction::Ingress => 1,
        };
        let subject = self.subjects.get(key.subject.0 as usize);
        let row = subject.and_then(|subject| self.rows.get(subject.rows[side] as usize));
        let (Some(subject), Some(row)) = (subject, row) else { return Verdict::UNKNOWN_SUBJECT };
        let remote = key.remote();
        if let Some(rule) = row.cut_off {
            return deny(rule);
        }
        if subject.own.contains(&remote) {
            return allow(self.self_traffic[side]);
        }
        if let Some(rules) = self.cut_off.get(&remote) {
            return deny(rules[side]);
        }
        if row.own_node.binary_search(&remote).is_ok() {
            return allow(self.own_node);
        }
        'tiers: for tier in &row.tiers {
            for rule in tier.rules.iter().filter(|rule| rule.matches(key)) {
                match rule.action {
                    RuleAction::Allow => return allow(rule.rule),
                    RuleAction::Deny => return deny(rule.rule),
                    RuleAction::Pass => continue 'tiers,
                    RuleAction::Log => {}
                }
            }
            if let Some(rule) = tier.undecided {
                return deny(rule);
            }
        }
        allow(self.not_isolated[side])
    }

    fn memory_bytes(&self) -> usize {
        let rule = |rule: &LinearRule| {
            let remotes = rule.remotes.as_ref().map_or(0, |remotes| {
                let hosts = |remote: &Remote| match remote {
                    Remote::Block(block) => size_of_val(&block.except[..]),
                    Remote::Hosts(hosts) => size_of_val(&hosts[..]),
                };
                size_of_val(&remotes[..]) + remotes.iter().map(hosts).sum::<usize>()
            });
            size_of::<LinearRule>() + remotes + rule.ports.as_ref().map_or(0, |ports| size_of_val(&ports[..]))
        };
        let row = |row: &LinearRow| {
            let rules: usize = row.tiers.iter().flat_map(|tier| &tier.rules).map(rule).sum();
            size_of::<LinearRow>() + size_of_val(&row.own_node[..]) + rules
        };
        self.rows.iter().map(row).sum::<usize>()
            + self.subjects.len() * size_of::<LinearSubject>()
            + self.cut_off.len() * size_of::<(IpAddr, [RuleId; 2])>()
    }

    fn name(&self) -> &'static str {
        "linear"
    }
}
