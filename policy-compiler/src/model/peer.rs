//! The ends of a connection, as rules describe them: a boolean formula over who owns an address and what it is in.
//!
//! Kubernetes needs only a list of alternatives; Calico ANDs networks with selectors and excludes both, Cilium's
//! entities are everything-but. One formula says all of it, and is judged in one place.

use super::{Attributes, Expression};
use crate::api::{IpBlock, Labels, Requirement, Selector};

/// Which namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespaces {
    /// The one with this name.
    Named(String),
    /// Those whose labels match; all of them where the selector has no requirement.
    Matching(Selector),
}

impl Namespaces {
    /// All of them.
    pub const fn any() -> Self {
        Self::Matching(Selector { requirements: Vec::new() })
    }

    /// Whether the namespace is one of them.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Named(wanted) => wanted == name,
            Self::Matching(selector) => selector.matches(labels),
        }
    }
}

/// Some pods. Host-network and finished pods never are among them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodSelection {
    /// Their namespaces.
    pub namespaces: Namespaces,
    /// What they show; also tests their namespace and service account where the language does that in one selector.
    pub pods: Expression,
}

impl PodSelection {
    /// All pods of the cluster.
    pub const fn everyone() -> Self {
        Self { namespaces: Namespaces::any(), pods: Expression::EVERYTHING }
    }

    /// Whether the pod is selected.
    pub fn matches(&self, pod: &Attributes<'_>) -> bool {
        self.namespaces.matches(pod.namespace, pod.namespace_labels) && self.pods.matches(pod)
    }

    /// How much is compared to find out, at most.
    pub fn tests(&self) -> usize {
        let namespaces = match &self.namespaces {
            Namespaces::Named(_) => 1,
            Namespaces::Matching(selector) => values(selector),
        };
        self.pods.tests().saturating_add(namespaces)
    }
}

/// What an end of a connection can be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Live pods, other than host-network pods.
    Pods(PodSelection),
    /// Addresses, whoever owns them.
    Addresses(IpBlock),
    /// Nodes whose labels match, at any of their addresses: those of their status, their gateway and VTEP addresses,
    /// those of host-network pods. An address that a live pod owns is never a node's.
    Nodes(Selector),
    /// The node the subject runs on, at any of its addresses.
    OwnNode,
    /// What the part is not.
    Not(Box<Peer>),
    /// What all parts are; without parts, everything.
    All(Vec<Peer>),
    /// What some part is; without parts, nothing.
    Any(Vec<Peer>),
}

impl Peer {
    /// Everything that is neither a live pod nor a node.
    pub fn outside() -> Self {
        let inside = vec![Self::Pods(PodSelection::everyone()), Self::Nodes(Selector::default())];
        Self::Any(inside).negated()
    }

    /// Its negation.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// Whether the formula holds, where `atom` knows whether one that is no connective does.
    pub fn holds(&self, atom: &mut impl FnMut(&Self) -> bool) -> bool {
        match self {
            Self::Not(part) => !part.holds(atom),
            Self::All(parts) => parts.iter().all(|part| part.holds(atom)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(atom)),
            other => atom(other),
        }
    }

    /// How much is compared to find out whether it holds, at most.
    pub fn tests(&self) -> usize {
        match self {
            Self::Pods(selection) => selection.tests(),
            Self::Addresses(block) => block.except.len().saturating_add(1),
            Self::Nodes(selector) => values(selector),
            Self::OwnNode => 1,
            Self::Not(part) => part.tests(),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().fold(1, |sum, part| sum.saturating_add(part.tests()))
            }
        }
    }

    /// Every part that is no connective, in the order written.
    pub fn atoms(&self) -> Vec<&Self> {
        match self {
            Self::Not(part) => part.atoms(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::atoms).collect(),
            atom => vec![atom],
        }
    }
}

fn values(selector: &Selector) -> usize {
    let of = |requirement: &Requirement| match requirement {
        Requirement::In(_, values) | Requirement::NotIn(_, values) => 1 + values.len(),
        Requirement::Exists(_) | Requirement::DoesNotExist(_) => 1,
    };
    selector.requirements.iter().map(of).sum()
}

/// The other ends of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Peers {
    /// Everything: pods, nodes, the outside.
    #[default]
    Any,
    /// Any one of these. An empty list is nobody.
    OneOf(Vec<Peer>),
}

impl Peers {
    /// The alternatives; none where everything is meant.
    pub fn listed(&self) -> &[Peer] {
        match self {
            Self::Any => &[],
            Self::OneOf(peers) => peers,
        }
    }

    /// Whether some alternative holds, where `atom` knows whether a part that is no connective does.
    pub fn hold(&self, atom: &mut impl FnMut(&Peer) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(peers) => peers.iter().any(|peer| peer.holds(atom)),
        }
    }
}
