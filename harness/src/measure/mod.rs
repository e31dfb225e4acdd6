//! Throughput in the field's words: trials of a device under test, and the search for its loss ratios.
//!
//! ```text
//!  Device ◄── Trial { load, duration } ── search ── goals: NDR (no loss), PDR (0.5 %)
//!     └──► Outcome { offered, received } ──► bounds of every goal, each with the trials it rests on
//! ```
//! A *trial* offers one constant load for one duration, then stops, lets the device drain, and only then reads the
//! counters. A *goal* says how much loss is accepted, for how long a load has to prove itself and how narrow the
//! answer has to be. [`search()`] finds for each goal a load that meets it and one, not more than the goal's width
//! above, that does not (RFC 9971: multiple loss ratio search; terms of RFC 2544 and RFC 1242). [`profile`] runs the tests of RFC 2544 on
//! a testbed: weir's pipeline in memory, or any switch between two interfaces.

// Frames of a trial are far fewer than 2^53, and rates are never negative.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod bounds;
mod goal;
pub mod profile;
mod search;
mod trial;

#[cfg(test)]
mod simulated;

pub use bounds::Standing;
pub use goal::{Goal, GoalError};
pub use search::{Bound, Found, Limits, SearchError, SearchOutcome, search};
pub use trial::{Device, Outcome, Trial};
