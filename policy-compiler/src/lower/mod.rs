//! From the model and the cluster to an engine's tables.
//!
//! ```text
//!  model ──► catalogue ──► rows (who is judged how) ──────┐
//!               │                                         ├─► flat (cells) ─► classifier::flat
//!  view ────────┼────────► identities (who is seen how) ──┤
//!               └────────► port classes ──────────────────┘
//!  model and view ──────────────────────────────────────────► linear ───────► classifier::linear
//! ```
//!
//! What is dropped: everything no rule can tell apart. What is kept: which rule decides, and what was noted on the way
//! to it. Engines number rules each in its own way.

mod flat;
mod linear;

mod cell;

mod port_class;
mod rows;

mod identity;

mod catalogue;

mod bits;

use crate::classifier::{Classifier, RuleTable};
use crate::cluster::View;
use crate::model::Model;
use catalogue::Catalogue;
use std::sync::Arc;

/// The tables would not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLarge {
    /// What is too large.
    pub(crate) part: &'static str,
    /// Bytes, as far as they were counted; `usize::MAX`: a table's numbering ran out.
    pub(crate) needed: usize,
}

/// The flat engine.
pub(crate) fn flat(
    view: &View<'_>,
    model: &Model,
    ceiling: usize,
) -> Result<(Arc<dyn Classifier>, RuleTable), TooLarge> {
    let mut catalogue = Catalogue::new(model);
    let rows = rows::build(view, &mut catalogue);
    let identities = identity::build(view, &mut catalogue, &rows.nodes, ceiling)?;
    // After rows and identities, which add the ranges that names stand for.
    let [destinations, sources] = &catalogue.ranges;
    let classes =
        [port_class::build(destinations.things(), ceiling)?, port_class::build(sources.things(), ceiling)?];
    let flat = flat::build(view, &mut catalogue, &identities, &rows, &classes, ceiling)?;
    Ok((Arc::new(flat), catalogue.interner.finish()))
}

/// The linear engine. Its size is that of the rules; the ceiling is not applied.
pub(crate) fn linear(view: &View<'_>, model: &Model) -> (Arc<dyn Classifier>, RuleTable) {
    let (linear, rules) = linear::build(view, model);
    (Arc::new(linear), rules)
}

#[cfg(test)]
mod tests;
