//! Calico's policies as policies of the model.

use super::tiers::Tiers;
use super::{Context, Placed};
use crate::api::{CalicoPolicy, CalicoTier, Diagnostic};

/// Adds a tier.
pub(super) fn add_tier(_tiers: &mut Tiers, _tier: &CalicoTier) {}

/// What the policy says.
pub(super) fn policies(_policy: &CalicoPolicy, _context: &Context<'_>) -> Vec<Placed> {
    Vec::new()
}

/// What is wrong with it in this state.
pub(super) fn problems(_policy: &CalicoPolicy, _context: &Context<'_>) -> Vec<Diagnostic> {
    Vec::new()
}
