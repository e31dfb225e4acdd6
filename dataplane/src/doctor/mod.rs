//! What this host offers weir, what weir makes of it by default, and what stands in the way.
//!
//! ```text
//!  kernel ──probe──► Facts ──examine──► Report: findings, each with its remedy ──► weir doctor
//! ```
//! [`probe`] asks the kernel, in a network namespace of its own wherever something has to be made for that, which is gone
//! again afterwards; it changes nothing on the host and sends no packet. [`examine`] is a plain function of the facts, so
//! that what it says can be tested without the host it is about.

mod examine;
mod facts;
mod probe;

pub use examine::{Finding, Report, Standing, examine};
pub use facts::{Facts, Privileges, Probed};
pub use probe::probe;
