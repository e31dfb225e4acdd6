//! Tiers, policies and rules of the model.

use super::{Direction, Namespaces, Peers, Ports};
use crate::api::{Labels, Provenance, Selector};
use std::fmt;

/// The language a policy was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NetworkPolicy => f.write_str("NetworkPolicy"),
        }
    }
}

/// What identifies a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyName {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl PolicyName {
    /// `ns/name` without the kind.
    pub fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path())
    }
}

/// What a tier does when one of its policies applied to the subject and no rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Undecided {
    /// Deny: the subject is isolated.
    Deny,
    /// Go on with the next tier.
    Pass,
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// Allow, finally.
    Allow,
    /// Deny, finally.
    Deny,
    /// Leave the tier.
    Pass,
    /// Note it and go on with the next rule.
    Log,
}

/// Which pods a policy is about. Host-network and finished pods never are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodSelection {
    /// Their namespaces.
    pub namespaces: Namespaces,
    /// Their labels.
    pub pods: Selector,
}

impl PodSelection {
    /// Whether a pod with these properties is selected.
    pub fn matches(&self, namespace: &str, namespace_labels: &Labels, pod_labels: &Labels) -> bool {
        self.namespaces.matches(namespace, namespace_labels) && self.pods.matches(pod_labels)
    }
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The direction it judges.
    pub direction: Direction,
    /// The other ends it is about.
    pub peers: Peers,
    /// The protocols and destination ports it is about.
    pub ports: Ports,
    /// What it does.
    pub action: RuleAction,
    /// It stands for something that could not be read, and therefore denies.
    pub unreadable: bool,
    /// Where it was written.
    pub provenance: Provenance,
}

/// A policy: whom it is about, in which directions it applies, and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: PolicyName,
    /// Place in its tier: low first, ties by name.
    pub order: i64,
    /// Whom it is about.
    pub subject: PodSelection,
    /// Whether it applies to connections the subject opens.
    pub egress: bool,
    /// Whether it applies to connections to the subject.
    pub ingress: bool,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// Where it was written.
    pub provenance: Provenance,
}

impl Policy {
    /// Whether it applies to the direction.
    pub fn applies(&self, direction: Direction) -> bool {
        match direction {
            Direction::Egress => self.egress,
            Direction::Ingress => self.ingress,
        }
    }
}

/// A tier of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Place among the tiers: low first, ties by name.
    pub order: u32,
    /// What happens when it applied and did not decide.
    pub undecided: Undecided,
    /// Its policies, in order.
    pub policies: Vec<Policy>,
}
