//! The tiers there are: the fixed ones, and those that objects of kind Tier add.

use crate::model::{Order, Undecided};
use std::collections::BTreeMap;

/// Where ClusterNetworkPolicies of tier Admin and AdminNetworkPolicies are.
pub const ADMIN: &str = "kube-admin";
/// Where NetworkPolicies are.
pub const DEFAULT: &str = "default";
/// Where ClusterNetworkPolicies of tier Baseline and the BaselineAdminNetworkPolicy are.
pub const BASELINE: &str = "kube-baseline";
/// Before all others: what denies because nobody can tell where it belongs.
pub const UNREADABLE: &str = "unreadable";

/// What a tier is apart from its policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierShape {
    /// Its place among the tiers.
    pub order: Order,
    /// What happens when it applied and did not decide.
    pub undecided: Undecided,
}

/// All tiers by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(pub BTreeMap<String, TierShape>);

impl Default for Tiers {
    /// The fixed ones, as Calico orders them.
    fn default() -> Self {
        let fixed = [
            (UNREADABLE, Order::FIRST, Undecided::Pass),
            (ADMIN, Order::at(1_000.0), Undecided::Pass),
            (DEFAULT, Order::at(1_000_000.0), Undecided::Deny),
            (BASELINE, Order::at(10_000_000.0), Undecided::Pass),
        ];
        let named = fixed.map(|(name, order, undecided)| (name.to_owned(), TierShape { order, undecided }));
        Self(BTreeMap::from(named))
    }
}
