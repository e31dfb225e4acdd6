//! The oracle engine: the rules of a subject, with selectors resolved to addresses and port names to ports, walked
//! one after the other.
//!
//! Shares nothing with `flat` but the model: no rows, identities, port classes, tries, cells. What these could get
//! wrong shows as a difference. Cost per lookup: all rules of the subject. A way to a rule that logs, passes and
//! undecided tiers make is named when it is first met, under a lock.

use super::Classifier;
use super::key::{Key, RuleId, Verdict};
use super::rules::{LaterRules, RuleInfo, Step};
use crate::api::IpBlock;
use crate::model::{Action, Direction, RuleAction};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Whom a rule is about: a formula as the model has it, over addresses.
#[derive(Debug, Clone)]
pub(crate) enum Remote {
    Block(IpBlock),
    /// Sorted.
    Hosts(Arc<[IpAddr]>),
    /// The addresses of the subject's node.
    OwnNode,
    Not(Box<Remote>),
    All(Vec<Remote>),
    Any(Vec<Remote>),
}

impl Remote {
    fn contains(&self, address: IpAddr, own_node: &[IpAddr]) -> bool {
        match self {
            Self::Block(block) => block.contains(address),
            Self::Hosts(hosts) => hosts.binary_search(&address).is_ok(),
            Self::OwnNode => own_node.binary_search(&address).is_ok(),
            Self::Not(part) => !part.contains(address, own_node),
            Self::All(parts) => parts.iter().all(|part| part.contains(address, own_node)),
            Self::Any(parts) => parts.iter().any(|part| part.contains(address, own_node)),
        }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Block(block) => size_of_val(&block.except[..]),
                Self::Hosts(hosts) => size_of_val(&hosts[..]),
                Self::OwnNode => 0,
                Self::Not(part) => part.bytes(),
                Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::bytes).sum(),
            }
    }
}

/// Ports of a rule.
#[derive(Debug, Clone)]
pub(crate) enum LinearPort {
    /// Protocol number, first, last.
    Range(u8, u16, u16),
    /// Protocol number, and what the name stands for at each remote address.
    Named(u8, Arc<BTreeMap<IpAddr, Vec<u16>>>),
}

impl LinearPort {
    fn covers(&self, protocol: u8, port: u16, remote: IpAddr) -> bool {
        match self {
            &Self::Range(of, first, last) => of == protocol && (first..=last).contains(&port),
            Self::Named(of, named) => {
                *of == protocol && named.get(&remote).is_some_and(|ports| ports.contains(&port))
            }
        }
    }
}

/// Ports of one end.
#[derive(Debug, Clone)]
pub(crate) struct LinearPorts {
    /// `None`: every protocol and port.
    pub(crate) only: Option<Vec<LinearPort>>,
    pub(crate) not: Vec<LinearPort>,
}

impl LinearPorts {
    fn cover(&self, protocol: u8, port: u16, remote: IpAddr) -> bool {
        let covers = |one: &LinearPort| one.covers(protocol, port, remote);
        self.only.as_ref().is_none_or(|ports| ports.iter().any(covers)) && !self.not.iter().any(covers)
    }

    fn bytes(&self) -> usize {
        self.only.as_ref().map_or(0, |ports| size_of_val(&ports[..])) + size_of_val(&self.not[..])
    }
}

#[derive(Debug)]
pub(crate) struct LinearRule {
    pub(crate) direction: Direction,
    /// Whether it is about this subject's IPv4 and IPv6 address.
    pub(crate) local: [bool; 2],
    /// `None`: anyone.
    pub(crate) remotes: Option<Vec<Remote>>,
    pub(crate) destinations: LinearPorts,
    pub(crate) sources: LinearPorts,
    pub(crate) action: RuleAction,
    /// Its id where nothing came before, if it decides.
    pub(crate) id: RuleId,
    /// What it adds to the way, if it does not.
    pub(crate) step: Option<Step>,
}

impl LinearRule {
    fn matches(&self, key: &Key, own_node: &[IpAddr]) -> bool {
        let remote = key.remote();
        self.direction == key.direction
            && self.local[usize::from(remote.is_ipv6())]
            && self.remotes.as_ref().is_none_or(|any| any.iter().any(|one| one.contains(remote, own_node)))
            && self.destinations.cover(key.protocol, key.dst_port, remote)
            && self.sources.cover(key.protocol, key.src_port, remote)
    }
}

#[derive(Debug)]
pub(crate) struct LinearTier {
    pub(crate) rules: Vec<LinearRule>,
    /// The default deny by direction, or none to go on with the next tier.
    pub(crate) default_deny: [Option<RuleId>; 2],
    /// Whether a policy applies to the direction.
    pub(crate) applies: [bool; 2],
    /// What is noted when it did not decide.
    pub(crate) undecided: Step,
}

#[derive(Debug)]
pub(crate) struct LinearSubject {
    pub(crate) own: Vec<IpAddr>,
    /// The subject is cut off.
    pub(crate) cut_off: Option<[RuleId; 2]>,
    /// Sorted.
    pub(crate) own_node: Arc<[IpAddr]>,
    pub(crate) tiers: Vec<LinearTier>,
}

/// All subjects.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) subjects: Vec<LinearSubject>,
    /// Addresses nobody may talk to: egress, ingress.
    pub(crate) cut_off: BTreeMap<IpAddr, [RuleId; 2]>,
    /// Egress, ingress.
    pub(crate) self_traffic: [RuleId; 2],
    /// Egress, ingress.
    pub(crate) not_isolated: [RuleId; 2],
    pub(crate) own_node: RuleId,
    /// What the ids above and those of rules stand for, by id.
    pub(crate) direct: Vec<Arc<RuleInfo>>,
    /// Rules on ways met while judging; their ids come after `direct`.
    pub(crate) later: Arc<LaterRules>,
}

impl Linear {
    /// The verdict of a rule after what was on the way.
    fn decide(&self, action: Action, rule: RuleId, via: Vec<Step>) -> Verdict {
        if via.is_empty() {
            return Verdict { action, rule };
        }
        let info = self.direct.get(rule.0 as usize).map(|info| info.as_ref().clone());
        let position = info.and_then(|info| self.later.add(RuleInfo { via, ..info }));
        let rule = position.and_then(|position| u32::try_from(self.direct.len().checked_add(position)?).ok());
        rule.map_or(Verdict::UNKNOWN_SUBJECT, |rule| Verdict { action, rule: RuleId(rule) })
    }
}

impl Classifier for Linear {
    fn classify(&self, key: &Key) -> Verdict {
        let allow = |rule| Verdict { action: Action::Allow, rule };
        let deny = |rule| Verdict { action: Action::Deny, rule };
        let side = match key.direction {
            Direction::Egress => 0,
            Direction::Ingress => 1,
        };
        let Some(subject) = self.subjects.get(key.subject.0 as usize) else {
            return Verdict::UNKNOWN_SUBJECT;
        };
        let remote = key.remote();
        if let Some(rules) = subject.cut_off {
            return deny(rules[side]);
        }
        if subject.own.contains(&remote) {
            return allow(self.self_traffic[side]);
        }
        if let Some(rules) = self.cut_off.get(&remote) {
            return deny(rules[side]);
        }
        if key.direction == Direction::Ingress && subject.own_node.binary_search(&remote).is_ok() {
            return allow(self.own_node);
        }
        let mut via = Vec::new();
        'tiers: for tier in &subject.tiers {
            for rule in tier.rules.iter().filter(|rule| rule.matches(key, &subject.own_node)) {
                via.extend(rule.step.clone());
                match rule.action {
                    RuleAction::Allow => return self.decide(Action::Allow, rule.id, via),
                    RuleAction::Deny => return self.decide(Action::Deny, rule.id, via),
                    RuleAction::Pass => continue 'tiers,
                    RuleAction::Log => {}
                }
            }
            if let Some(rule) = tier.default_deny[side] {
                return self.decide(Action::Deny, rule, via);
            }
            if tier.applies[side] {
                via.push(tier.undecided.clone());
            }
        }
        self.decide(Action::Allow, self.not_isolated[side], via)
    }

    fn memory_bytes(&self) -> usize {
        let rule = |rule: &LinearRule| {
            let remotes = rule.remotes.iter().flatten().map(Remote::bytes).sum::<usize>();
            size_of::<LinearRule>() + remotes + rule.destinations.bytes() + rule.sources.bytes()
        };
        let subject = |subject: &LinearSubject| {
            let rules: usize = subject.tiers.iter().flat_map(|tier| &tier.rules).map(rule).sum();
            size_of::<LinearSubject>() + size_of_val(&subject.own_node[..]) + rules
        };
        self.subjects.iter().map(subject).sum::<usize>()
            + self.direct.len() * size_of::<RuleInfo>()
            + self.cut_off.len() * size_of::<(IpAddr, [RuleId; 2])>()
    }

    fn name(&self) -> &'static str {
        "linear"
    }
}
