//! cilium.io/v2: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup.

use crate::api::meta::Meta;

/// A policy of Cilium's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumPolicy {
    /// Name and labels.
    pub meta: Meta,
}

/// A CiliumCIDRGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumCidrGroup {
    /// Name and labels.
    pub meta: Meta,
}
