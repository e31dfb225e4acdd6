//! The tiers there are: the fixed ones, and those that objects of kind Tier add.

use crate::api::{ADMIN_TIER, BASELINE_TIER, DEFAULT_TIER, FIXED_TIERS, UNREADABLE_TIER};
use crate::model::{Order, Undecided};
use std::collections::BTreeMap;

/// Where ClusterNetworkPolicies of tier Admin and AdminNetworkPolicies are.
pub const ADMIN: &str = ADMIN_TIER;
/// Where NetworkPolicies are.
pub const DEFAULT: &str = DEFAULT_TIER;
/// Where ClusterNetworkPolicies of tier Baseline and the BaselineAdminNetworkPolicy are.
pub const BASELINE: &str = BASELINE_TIER;
/// Before all others: what denies because nobody can tell where it belongs.
pub const UNREADABLE: &str = UNREADABLE_TIER;

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
    /// Those that are there without an object.
    fn default() -> Self {
        let is_there = |name: &str| [ADMIN, DEFAULT, BASELINE].contains(&name);
        let fixed = FIXED_TIERS.into_iter().filter(|(name, ..)| is_there(name));
        let mut tiers: BTreeMap<String, TierShape> = fixed
            .map(|(name, order, action)| {
                let undecided = if action == "Pass" { Undecided::Pass } else { Undecided::Deny };
                (name.to_owned(), TierShape { order: Order::at(order), undecided })
            })
            .collect();
        let first = TierShape { order: Order::FIRST, undecided: Undecided::Pass };
        tiers.insert(UNREADABLE.to_owned(), first);
        Self(tiers)
    }
}
