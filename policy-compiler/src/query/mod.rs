//! Questions about compiled policies, for people and scripts: who may reach whom, and which rule says so.
//!
//! ```text
//!  probe ("shop/web → shop/api, TCP 8080") ─► Judge ─► keys ─► classifier ─► verdicts ─► Answer, in words
//! ```
//!
//! Every verdict comes from the classifier that forwards packets (scope: all pods); nothing here decides.
//! [`Matrix`], [`Difference`] and the dump of the classifier are exact without asking for every port: between the
//! bounds that policies and pods name all ports are alike, so one of each stretch is asked ([`PortSpace`]), and
//! likewise one address of each part of the outside ([`ends`]). No I/O; cost is stated with each.

mod answer;
mod diff;
mod dump;
mod end;
mod fragment;
mod judge;
mod lint;
mod matrix;
mod ports;
mod probe;
mod words;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Explanation, Place, PolicyRef, Side, SideDetail};
pub use diff::{Change, Difference, diff};
pub use dump::{Stage, StageDump, dump};
pub use end::{End, EndKind, ends};
pub use fragment::fragment;
pub use judge::Judge;
pub use lint::{Finding, Lint, lint};
pub use matrix::{Matrix, Pair, matrix};
pub use ports::{PortSpace, Reach};
pub use probe::{Probe, ProbeError, Transport};
pub use words::{expression_in_words, peers_in_words, ports_in_words, selector_in_words};
