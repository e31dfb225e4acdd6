//! Where the three kinds differ: limits, words, and which actions and peers there are.

use super::{ClusterAction, ClusterTier};
use crate::api::object::Kind;
use crate::model::Direction;

/// What one kind has of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dialect {
    /// Fields of `spec`.
    pub(super) spec: &'static [&'static str],
    /// The tier, where the kind and not a field says it.
    pub(super) tier: Option<ClusterTier>,
    pub(super) has_priority: bool,
    /// The one name the object may have.
    pub(super) only_name: Option<&'static str>,
    /// Most elements of every list but those of networks and domain names.
    pub(super) most: usize,
    /// How actions are spelled.
    pub(super) actions: &'static [(&'static str, ClusterAction)],
    /// What an action of this name most probably should be; the other version's word for the same.
    pub(super) foreign_action: (&'static str, &'static str),
    pub(super) egress_peers: &'static [&'static str],
    /// The field of a rule that lists ports.
    pub(super) ports_field: &'static str,
    /// v1alpha1: `portNumber` and its like instead of `tcp` and its like; `pods` needs both selectors.
    pub(super) is_v1alpha1: bool,
}

const CLUSTER: Dialect = Dialect {
    spec: &["tier", "priority", "subject", "ingress", "egress"],
    tier: None,
    has_priority: true,
    only_name: None,
    most: 25,
    actions: &[
        ("Accept", ClusterAction::Accept),
        ("Deny", ClusterAction::Deny),
        ("Pass", ClusterAction::Pass),
    ],
    foreign_action: ("Allow", "Accept"),
    egress_peers: &["namespaces", "pods", "nodes", "networks", "domainNames"],
    ports_field: "protocols",
    is_v1alpha1: false,
};

const ADMIN: Dialect = Dialect {
    spec: &["priority", "subject", "ingress", "egress"],
    tier: Some(ClusterTier::Admin),
    most: 100,
    actions: &[
        ("Allow", ClusterAction::Accept),
        ("Deny", ClusterAction::Deny),
        ("Pass", ClusterAction::Pass),
    ],
    foreign_action: ("Accept", "Allow"),
    ports_field: "ports",
    is_v1alpha1: true,
    ..CLUSTER
};

const BASELINE: Dialect = Dialect {
    spec: &["subject", "ingress", "egress"],
    tier: Some(ClusterTier::Baseline),
    has_priority: false,
    only_name: Some("default"),
    actions: &[("Allow", ClusterAction::Accept), ("Deny", ClusterAction::Deny)],
    egress_peers: &["namespaces", "pods", "nodes", "networks"],
    ..ADMIN
};

impl Dialect {
    pub(super) const fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::AdminNetworkPolicy => &ADMIN,
            Kind::BaselineAdminNetworkPolicy => &BASELINE,
            _ => &CLUSTER,
        }
    }

    pub(super) fn peers(&self, direction: Direction) -> &'static [&'static str] {
        match direction {
            Direction::Egress => self.egress_peers,
            Direction::Ingress => &["namespaces", "pods"],
        }
    }
}
