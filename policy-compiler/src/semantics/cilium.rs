//! Cilium's policies as policies of the model.

use super::{Context, Placed};
use crate::api::{CiliumPolicy, Diagnostic};

/// What the policy says.
pub(super) fn policies(_policy: &CiliumPolicy, _context: &Context<'_>) -> Vec<Placed> {
    Vec::new()
}

/// What is wrong with it in this state.
pub(super) fn problems(_policy: &CiliumPolicy, _context: &Context<'_>) -> Vec<Diagnostic> {
    Vec::new()
}
