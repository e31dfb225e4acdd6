//! The other end of a connection, as rules describe it.

use crate::api::{IpBlock, Labels, Selector};
use std::net::IpAddr;

/// Which namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Namespaces {
    /// The one with this name.
    Named(String),
    /// Those whose labels match.
    Matching(Selector),
}

impl Namespaces {
    /// Whether the namespace is one of them.
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        match self {
            Self::Named(wanted) => wanted == name,
            Self::Matching(selector) => selector.matches(labels),
        }
    }
}

/// One kind of other end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    /// Live pods, other than host-network pods.
    Pods {
        /// Their namespaces.
        namespaces: Namespaces,
        /// Their labels.
        pods: Selector,
    },
    /// Addresses, whoever owns them.
    Addresses(IpBlock),
}

impl Peer {
    /// Whether a pod with these properties is one, disregarding its addresses.
    pub fn matches_pod(&self, namespace: &str, namespace_labels: &Labels, pod_labels: &Labels) -> bool {
        match self {
            Self::Pods { namespaces, pods } => {
                namespaces.matches(namespace, namespace_labels) && pods.matches(pod_labels)
            }
            Self::Addresses(_) => false,
        }
    }

    /// Whether the address is one, disregarding who owns it.
    pub fn matches_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Pods { .. } => false,
            Self::Addresses(block) => block.contains(address),
        }
    }
}

/// The other ends of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    /// Everything: pods, nodes, the outside.
    Any,
    /// Any one of these. An empty list is nobody.
    OneOf(Vec<Peer>),
}
