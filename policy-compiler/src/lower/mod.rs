//! From the model and the cluster to an engine's tables.
//!
//! ```text
//!  model ──► catalogue ──► rows (who is judged how) ──────┐
//!               │                                         ├─► session (cells) ─► classifier::flat
//!  view ────────┼────────► identities (who is seen how) ──┤
//!               └────────► port classes ──────────────────┘
//!  model and view ──────────────────────────────────────────► linear ───────► classifier::linear
//! ```
//!
//! What is dropped: everything no rule can tell apart. What is kept: which rule decides, and what was noted on the way
//! to it. Engines number rules each in its own way.

mod linear;
mod session;

mod rows;

mod row;

mod cell;
mod members;

mod identity;
mod looks;
mod marks;
mod port_class;

mod budget;
mod catalogue;
mod fixed;

mod bits;

pub(crate) use session::{PodNumber, Refused, Session};

use crate::classifier::{Classifier, RuleTable};
use crate::cluster::View;
use crate::model::Model;
use std::sync::Arc;

/// The tables would not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    /// What is too large.
    pub(crate) part: &'static str,
    /// Bytes, as far as they were counted; `usize::MAX`: a table's numbering ran out.
    pub(crate) needed: usize,
}

/// The flat engine, built once.
#[cfg(test)]
fn flat(
    view: &View<'_>,
    model: &Model,
    ceiling: usize,
) -> Result<(Arc<dyn Classifier>, RuleTable), TooLarge> {
    let mut session = Session::new(view, model, ceiling)?;
    Ok((Arc::new(session.flat()), session.rules()))
}

/// The linear engine. Its size is that of the rules; the ceiling is not applied.
pub(crate) fn linear(view: &View<'_>, model: &Model) -> (Arc<dyn Classifier>, RuleTable) {
    let (linear, rules) = linear::build(view, model);
    (Arc::new(linear), rules)
}

#[cfg(test)]
mod tests;
