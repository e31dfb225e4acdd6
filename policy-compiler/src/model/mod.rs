//! The one shape every policy language becomes: ordered tiers → ordered policies → rules.
//!
//! Evaluation, per subject and direction: tiers in order; in a tier the policies that select the subject and
//! apply to the direction, in order; in a policy its rules, in order. The first rule that matches with
//! [`RuleAction::Allow`] or [`RuleAction::Deny`] decides; [`RuleAction::Pass`] leaves the tier;
//! [`RuleAction::Log`] goes on. A tier in which at least one policy applied and isolates, and nothing decided, does
//! what its [`Undecided`] says. After the last tier: allow.
//!
//! | language | tiers |
//! | --- | --- |
//! | NetworkPolicy | `default` (1,000,000, deny), order 1000; rules only allow, which makes it additive |
//! | ClusterNetworkPolicy and its ancestors | `kube-admin` (1,000, pass), `kube-baseline` (10,000,000, pass) |
//! | Calico | its own tiers; `default` is that of NetworkPolicy |
//! | Cilium | `default`: all denies before everything else, then its allows beside NetworkPolicy's |

mod expression;
mod order;
mod peer;
mod policy;
mod ports;

pub use expression::{Attribute, Attributes, Expression, Test};
pub use order::Order;
pub use peer::{Namespaces, Peer, Peers, PodSelection};
pub use policy::{Applies, Hole, Policy, PolicyName, Rule, RuleAction, Tier, Undecided};
pub use ports::{PortSpec, Ports, Protocol};

/// The direction of a connection, seen from the pod that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The subject opens the connection.
    Egress,
    /// The subject is connected to.
    Ingress,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Egress, Self::Ingress];

    /// `egress` or `ingress`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        }
    }
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// It may be opened.
    Allow,
    /// It may not.
    Deny,
}

impl Action {
    /// `allow` or `deny`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// All policies of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    /// In the order they are evaluated.
    pub tiers: Vec<Tier>,
}
