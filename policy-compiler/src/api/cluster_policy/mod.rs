//! policy.networking.k8s.io as written: ClusterNetworkPolicy (v1alpha2), AdminNetworkPolicy and
//! BaselineAdminNetworkPolicy (v1alpha1), validated as their CRDs do.
//!
//! The three are one thing with different limits and words ([`Dialect`]), so they become one type. What cannot be read
//! is kept as a hole (`None`) where it stood, so that the compiler can deny in its place; a peer of a kind nobody knows
//! is kept as [`ClusterPeer::Unknown`], because the API says what becomes of its rule.
//!
//! Reading is linear in the text of an object, which is bounded; lists over their limit are not read.

mod dialect;
mod peers;
mod ports;
mod read;
mod shape;
mod subject;

pub(crate) use read::read_cluster_policy;

use super::diagnostic::Provenance;
use super::meta::Meta;
use super::selector::Selector;
use ipnet::IpNet;

/// The tier a policy is in, towards NetworkPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterTier {
    /// Before NetworkPolicy, which cannot override it.
    Admin,
    /// After NetworkPolicy, for pods that none isolates.
    Baseline,
}

/// Where a policy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClusterPlace {
    /// Its tier.
    pub tier: ClusterTier,
    /// Place in its tier, 0 to 1000, low first; none: after all that have one, as a BaselineAdminNetworkPolicy.
    pub priority: Option<u16>,
}

/// Pods other than host-network pods: a subject, or a peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClusterPods {
    /// The labels of their namespaces.
    pub namespaces: Selector,
    /// Their own labels.
    pub pods: Selector,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterAction {
    /// Accept; `Allow` in v1alpha1. Final for this end of the connection.
    Accept,
    /// Deny, finally.
    Deny,
    /// Leave the tier.
    Pass,
}

/// One element of `from` or `to`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClusterPeer {
    /// `namespaces`, or `pods`.
    Pods(ClusterPods),
    /// `nodes`, by their labels; egress only.
    Nodes(Selector),
    /// `networks`: addresses, whoever owns them; egress only.
    Networks(Vec<IpNet>),
    /// `domainNames`, in lower case and without a final dot; egress and Accept only. Nothing serves them yet.
    DomainNames(Vec<String>),
    /// Of no kind this release knows.
    Unknown,
}

/// One element of `protocols`, or of `ports` in v1alpha1.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ClusterPort {
    /// Destination ports, inclusive.
    Range {
        /// IANA protocol number: 6, 17 or 132.
        protocol: u8,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// What the destination pod calls by this name, whatever the protocol.
    Named(String),
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRuleBody {
    /// What it does.
    pub action: ClusterAction,
    /// `from` or `to`; never empty.
    pub peers: Vec<ClusterPeer>,
    /// `protocols` or `ports`; empty: every protocol, every port.
    pub ports: Vec<ClusterPort>,
}

/// One element of `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRule {
    /// `None`: something in it could not be read.
    pub body: Option<ClusterRuleBody>,
    /// Where it stands.
    pub provenance: Provenance,
}

/// A ClusterNetworkPolicy, or one of its ancestors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Name and labels.
    pub meta: Meta,
    /// Where `spec` stands.
    pub spec: Provenance,
    /// `spec.tier` and `spec.priority`; `None`: they could not be read.
    pub place: Option<ClusterPlace>,
    /// `spec.subject`; `None`: it could not be read.
    pub subject: Option<ClusterPods>,
    /// `spec.ingress`. Without rules the policy says nothing of ingress.
    pub ingress: Vec<ClusterRule>,
    /// `spec.egress`. Without rules the policy says nothing of egress.
    pub egress: Vec<ClusterRule>,
    /// Something outside of place, subject and rules that could not be read.
    pub unreadable: Option<Provenance>,
}

impl ClusterPolicy {
    /// Notes that nothing of it is certain: where it stands, whom it is about, what it says.
    pub(super) fn doubt(&mut self) {
        self.place = None;
        self.subject = None;
        self.unreadable = Some(self.spec.clone());
    }
}

#[cfg(test)]
mod tests;
