//! Every rule of the model once, with its peers, port ranges and port names as small numbers.
//!
//! Numbers are never given twice: a policy that comes later adds to the catalogue, one that goes leaves its numbers
//! behind, until all is built anew. Peers are formulas over *atoms*: what a selector of pods, a block of addresses or a selector of nodes says of an
//! address. An atom that many rules use has one number, and is tried once on everything it could match.

use crate::api::NamedPort;
use crate::classifier::numbering::Numbering;
use crate::classifier::{Base, RuleInfo, RuleInterner, RuleKind, Step, StepId};
use crate::model::{
    Action, Applies, Direction, Model, Order, Peer, Peers, PodSelection, Policy, PolicyName, PortSpec, Ports,
    Protocol, Rule, RuleAction, Undecided,
};
use crate::semantics;
use std::collections::BTreeSet;

/// First to last port of a protocol.
pub(crate) type Range = (Protocol, u16, u16);

/// A port that a name stands for: number of the name, port.
pub(crate) type Resolved = (usize, u16);

/// Some ports of one end.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortList {
    /// Numbers in [`Catalogue::ranges`] of that end.
    pub(crate) ranges: Vec<usize>,
    /// Numbers in [`Catalogue::names`].
    pub(crate) names: Vec<usize>,
}

/// The ports of one end that a rule is about.
#[derive(Debug, Clone)]
pub(crate) struct PortFilter {
    /// `None`: every protocol and port.
    pub(crate) only: Option<PortList>,
    pub(crate) not: PortList,
}

impl PortFilter {
    /// Whether it lets every protocol and port through.
    pub(crate) fn is_everything(&self) -> bool {
        self.only.is_none() && self.not.ranges.is_empty() && self.not.names.is_empty()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = usize> {
        self.only.iter().chain([&self.not]).flat_map(|list| list.names.iter().copied())
    }
}

/// Peers over the numbers of atoms.
#[derive(Debug, Clone)]
pub(crate) enum Formula {
    Atom(usize),
    /// The subject's own node, which is another for each subject.
    OwnNode,
    Not(Box<Formula>),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

impl Formula {
    /// `has`: whether the atom of this number holds; `own`: whether the address is the subject's own node's.
    pub(crate) fn holds(&self, has: &impl Fn(usize) -> bool, own: bool) -> bool {
        match self {
            Self::Atom(number) => has(*number),
            Self::OwnNode => own,
            Self::Not(part) => !part.holds(has, own),
            Self::All(parts) => parts.iter().all(|part| part.holds(has, own)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(has, own)),
        }
    }
}

/// What becomes of a connection that a rule matches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Decided(Action, Base),
    /// Leave the tier.
    Passed(StepId),
    /// Go on.
    Logged(StepId),
}

/// Where ports are: how pairs by end are kept.
pub(crate) const DESTINATION: usize = 0;
/// See [`DESTINATION`].
pub(crate) const SOURCE: usize = 1;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) direction: Direction,
    /// Which of the policy's subjects it is about.
    pub(crate) local: Option<Peer>,
    pub(crate) outcome: Outcome,
    /// `None`: anyone.
    pub(crate) peers: Option<Formula>,
    /// Destination and source.
    pub(crate) ports: [PortFilter; 2],
}

impl Entry {
    /// The end whose ports are the other end's, not the subject's.
    pub(crate) fn remote_end(&self) -> usize {
        match self.direction {
            Direction::Egress => DESTINATION,
            Direction::Ingress => SOURCE,
        }
    }
}

/// A policy and the numbers of its rules, by direction (egress, ingress).
#[derive(Debug)]
pub(crate) struct PolicyEntry {
    pub(crate) name: PolicyName,
    pub(crate) subject: PodSelection,
    pub(crate) applies: [Applies; 2],
    /// Position of its tier in [`Catalogue::tiers`].
    pub(crate) tier: usize,
    order: Order,
    tie: (bool, String),
    /// It has been taken out again.
    pub(crate) gone: bool,
    pub(crate) rules: [Vec<usize>; 2],
}

impl PolicyEntry {
    /// Policies of a subject stand in this order. Those of one name are numbered in theirs.
    pub(crate) fn place(&self) -> (usize, Order, (bool, &str), &PolicyName) {
        (self.tier, self.order, (self.tie.0, &self.tie.1), &self.name)
    }
}

#[derive(Debug)]
pub(crate) struct TierEntry {
    pub(crate) name: String,
    pub(crate) undecided: Undecided,
    /// What is noted when it did not decide.
    pub(crate) step: StepId,
}

#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) entries: Vec<Entry>,
    pub(crate) policies: Vec<PolicyEntry>,
    /// In order.
    pub(crate) tiers: Vec<TierEntry>,
    /// Pods, Addresses and Nodes.
    pub(crate) atoms: Numbering<Peer>,
    /// Of destination ports and of source ports.
    pub(crate) ranges: [Numbering<Range>; 2],
    pub(crate) names: Numbering<(Protocol, String)>,
    /// Numbers of the names that rules use for destination ports and for source ports.
    uses: [BTreeSet<usize>; 2],
    new_uses: bool,
    pub(crate) interner: RuleInterner,
}

/// 0 for egress, 1 for ingress: how pairs by direction are kept.
pub(crate) const fn side(direction: Direction) -> usize {
    match direction {
        Direction::Egress => 0,
        Direction::Ingress => 1,
    }
}

impl Catalogue {
    pub(crate) fn new(model: &Model) -> Self {
        let mut catalogue = Self {
            entries: Vec::new(),
            policies: Vec::new(),
            tiers: Vec::new(),
            atoms: Numbering::new(),
            ranges: [Numbering::new(), Numbering::new()],
            names: Numbering::new(),
            uses: [BTreeSet::new(), BTreeSet::new()],
            new_uses: false,
            interner: RuleInterner::new(),
        };
        for tier in &model.tiers {
            let step = catalogue.interner.step(Step::Undecided { tier: tier.name.clone() });
            catalogue.tiers.push(TierEntry { name: tier.name.clone(), undecided: tier.undecided, step });
        }
        for (number, tier) in model.tiers.iter().enumerate() {
            for policy in &tier.policies {
                catalogue.add(number, policy);
            }
        }
        catalogue
    }

    /// Adds a policy to a tier; its number.
    pub(crate) fn add(&mut self, tier: usize, policy: &Policy) -> usize {
        let mut rules = [Vec::new(), Vec::new()];
        for rule in &policy.rules {
            rules[side(rule.direction)].push(self.entries.len());
            let entry = self.entry(tier, policy, rule);
            self.entries.push(entry);
        }
        let tier_name = self.tiers.get(tier).map(|tier| tier.name.as_str()).unwrap_or_default();
        let (behind, tie) = semantics::tie(&policy.name, tier_name);
        self.policies.push(PolicyEntry {
            tie: (behind, tie.to_owned()),
            name: policy.name.clone(),
            subject: policy.subject.clone(),
            applies: Direction::ALL.map(|direction| policy.applies(direction)),
            tier,
            order: policy.order,
            gone: false,
            rules,
        });
        self.policies.len() - 1
    }

    fn entry(&mut self, tier: usize, policy: &Policy, rule: &Rule) -> Entry {
        let peers = match &rule.peers {
            Peers::Any => None,
            Peers::OneOf(peers) => Some(Formula::Any(peers.iter().map(|peer| self.formula(peer)).collect())),
        };
        let ports = [
            self.filter(DESTINATION, &rule.ports, &rule.not_ports),
            self.filter(SOURCE, &rule.source_ports, &rule.not_source_ports),
        ];
        let outcome = self.outcome(tier, policy, rule);
        Entry { direction: rule.direction, local: rule.local.clone(), outcome, peers, ports }
    }

    fn outcome(&mut self, tier: usize, policy: &Policy, rule: &Rule) -> Outcome {
        let (policy, provenance) = (policy.name.clone(), rule.provenance.clone());
        let action = match rule.action {
            RuleAction::Allow => Action::Allow,
            RuleAction::Deny => Action::Deny,
            RuleAction::Log => {
                return Outcome::Logged(self.interner.step(Step::Logged { policy, provenance }));
            }
            RuleAction::Pass => {
                let tier = self.tiers.get(tier).map(|tier| tier.name.clone()).unwrap_or_default();
                let step = Step::Passed { tier, policy, provenance };
                return Outcome::Passed(self.interner.step(step));
            }
        };
        let kind = RuleKind::of(rule.hole, policy, provenance);
        Outcome::Decided(action, self.interner.base(RuleInfo::direct(action, rule.direction, kind)))
    }

    fn formula(&mut self, peer: &Peer) -> Formula {
        match peer {
            Peer::Pods(_) | Peer::Addresses(_) | Peer::Nodes(_) => {
                Formula::Atom(self.atoms.number(peer.clone()))
            }
            Peer::OwnNode => Formula::OwnNode,
            Peer::Not(part) => Formula::Not(Box::new(self.formula(part))),
            Peer::All(parts) => Formula::All(parts.iter().map(|part| self.formula(part)).collect()),
            Peer::Any(parts) => Formula::Any(parts.iter().map(|part| self.formula(part)).collect()),
        }
    }

    fn filter(&mut self, end: usize, only: &Ports, not: &[PortSpec]) -> PortFilter {
        let only = match only {
            Ports::Any => None,
            Ports::OneOf(specs) => Some(self.list(end, specs)),
        };
        PortFilter { only, not: self.list(end, not) }
    }

    fn list(&mut self, end: usize, specs: &[PortSpec]) -> PortList {
        let mut list = PortList::default();
        for spec in specs {
            match spec {
                &PortSpec::Range { protocol, first, last } => {
                    list.ranges.push(self.ranges[end].number((protocol, first, last)));
                }
                PortSpec::Named { protocol, name } => {
                    let name = self.names.number((*protocol, name.clone()));
                    self.new_uses |= self.uses[end].insert(name);
                    list.names.push(name);
                }
            }
        }
        list
    }

    /// Whether rules use names, or at an end, that they did not when this was last asked.
    pub(crate) fn take_new_uses(&mut self) -> bool {
        std::mem::take(&mut self.new_uses)
    }

    /// What the names that rules use stand for on a pod. Port classes will tell these ports from all others.
    pub(crate) fn resolve(&mut self, named_ports: &[NamedPort]) -> Vec<Resolved> {
        let mut resolved = Vec::new();
        for port in named_ports {
            let protocol = Protocol::new(port.protocol);
            let Some(name) = self.names.find(&(protocol, port.name.clone())) else { continue };
            resolved.push((name, port.port));
            for (uses, ranges) in self.uses.iter().zip(&mut self.ranges) {
                if uses.contains(&name) {
                    ranges.number((protocol, port.port, port.port));
                }
            }
        }
        resolved.sort_unstable();
        resolved.dedup();
        resolved
    }
}
