//! Every rule of the model once, with its peers, port ranges and port names as small numbers.

use crate::classifier::{RuleId, RuleInfo, RuleInterner, RuleKind};
use crate::model::{
    Action, Direction, Model, Peer, Peers, Policy, PortSpec, Ports, Protocol, Rule, RuleAction,
};
use ahash::AHashMap;
use std::collections::hash_map::Entry as Slot;
use std::hash::Hash;

/// Gives equal things one number, in order of first sight.
#[derive(Debug)]
pub(crate) struct Numbering<T> {
    numbers: AHashMap<T, usize>,
    things: Vec<T>,
}

impl<T: Hash + Eq + Clone> Numbering<T> {
    pub(crate) fn new() -> Self {
        Self { numbers: AHashMap::new(), things: Vec::new() }
    }

    pub(crate) fn number(&mut self, thing: T) -> usize {
        match self.numbers.entry(thing) {
            Slot::Occupied(slot) => *slot.get(),
            Slot::Vacant(slot) => {
                let number = self.things.len();
                self.things.push(slot.key().clone());
                *slot.insert(number)
            }
        }
    }

    pub(crate) fn things(&self) -> &[T] {
        &self.things
    }

    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }
}

/// First to last port of a protocol.
pub(crate) type Range = (Protocol, u16, u16);

/// Port lists of a rule.
#[derive(Debug, Clone)]
pub(crate) struct PortList {
    /// Numbers in [`Catalogue::ranges`].
    pub(crate) ranges: Vec<usize>,
    /// Numbers in [`Catalogue::names`].
    pub(crate) names: Vec<usize>,
}

#[derive(Debug)]
pub(crate) struct Entry<'m> {
    pub(crate) rule: &'m Rule,
    pub(crate) id: RuleId,
    /// Numbers in [`Catalogue::peers`]; `None`: anyone.
    pub(crate) peers: Option<Vec<usize>>,
    /// `None`: every protocol and port.
    pub(crate) ports: Option<PortList>,
}

/// A policy and the numbers of its rules, by direction (egress, ingress).
#[derive(Debug)]
pub(crate) struct PolicyEntry<'m> {
    pub(crate) policy: &'m Policy,
    pub(crate) rules: [Vec<usize>; 2],
}

#[derive(Debug)]
pub(crate) struct Catalogue<'m> {
    pub(crate) entries: Vec<Entry<'m>>,
    /// Policies per tier, in order.
    pub(crate) tiers: Vec<Vec<PolicyEntry<'m>>>,
    pub(crate) peers: Numbering<&'m Peer>,
    pub(crate) ranges: Numbering<Range>,
    pub(crate) names: Numbering<(Protocol, &'m str)>,
    pub(crate) interner: RuleInterner,
}

/// 0 for egress, 1 for ingress: how pairs by direction are kept.
pub(crate) const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    }
}

impl<'m> Catalogue<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        let mut catalogue = Self {
            entries: Vec::new(),
            tiers: Vec::new(),
            peers: Numbering::new(),
            ranges: Numbering::new(),
            names: Numbering::new(),
            interner: RuleInterner::new(),
        };
        for tier in &model.tiers {
            let policies = tier.policies.iter().map(|policy| catalogue.policy(policy)).collect();
            catalogue.tiers.push(policies);
        }
        catalogue
    }

    fn policy(&mut self, policy: &'m Policy) -> PolicyEntry<'m> {
        let mut rules = [Vec::new(), Vec::new()];
        for rule in &policy.rules {
            rules[side(rule.direction)].push(self.entries.len());
            let entry = self.entry(policy, rule);
            self.entries.push(entry);
        }
        PolicyEntry { policy, rules }
    }

    fn entry(&mut self, policy: &'m Policy, rule: &'m Rule) -> Entry<'m> {
        let (name, provenance) = (policy.name.clone(), rule.provenance.clone());
        let kind = if rule.unreadable {
            RuleKind::Unreadable { policy: name, provenance }
        } else {
            RuleKind::Rule { policy: name, provenance }
        };
        let action = if rule.action == RuleAction::Deny { Action::Deny } else { Action::Allow };
        let id = self.interner.intern(RuleInfo::direct(action, rule.direction, kind));
        let peers = match &rule.peers {
            Peers::Any => None,
            Peers::OneOf(peers) => Some(peers.iter().map(|peer| self.peers.number(peer)).collect()),
        };
        let ports = match &rule.ports {
            Ports::Any => None,
            Ports::OneOf(specs) => {
                let mut list = PortList { ranges: Vec::new(), names: Vec::new() };
                for spec in specs {
                    match spec {
                        &PortSpec::Range { protocol, first, last } => {
                            list.ranges.push(self.ranges.number((protocol, first, last)));
                        }
                        PortSpec::Named { protocol, name } => {
                            list.names.push(self.names.number((*protocol, name.as_str())));
                        }
                    }
                }
                Some(list)
            }
        };
        Entry { rule, id, peers, ports }
    }
}
