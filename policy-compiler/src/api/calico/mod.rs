//! projectcalico.org/v3: policies, tiers and network sets.

use crate::api::meta::Meta;

/// A policy of Calico's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoPolicy {
    /// Name and labels.
    pub meta: Meta,
}

/// A tier of Calico's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoTier {
    /// Name and labels.
    pub meta: Meta,
}

/// A NetworkSet or GlobalNetworkSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoNetworkSet {
    /// Name and labels.
    pub meta: Meta,
}
