//! policy.networking.k8s.io: ClusterNetworkPolicy (v1alpha2), AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1).

use crate::api::meta::Meta;

/// A ClusterNetworkPolicy, or one of its ancestors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPolicy {
    /// Name and labels.
    pub meta: Meta,
}
