//! Questions about compiled policies, for people and scripts: who may reach whom, and which rule says so.
//!
//! ```text
//!  probe ("shop/web → shop/api, TCP 8080") ─► Judge ─► keys ─► classifier ─► verdicts ─► Answer, in words
//!  everybody × everybody ─► PortSpace: stretches ─► Sweep ────────▲             └─► Matrix ─► Class
//!                                                                               └─► Difference ─► ChangeBlock
//! ```
//!
//! Every verdict comes from the classifier that forwards packets (scope: all pods); nothing here decides.
//! [`Matrix`], [`Difference`] and the dump of the classifier are exact without asking for every port: between the
//! bounds that policies and pods name all ports are alike, so one of each stretch is asked ([`PortSpace`]), and
//! likewise one address of each part of the outside ([`ends`]). All is written from the model, so that it holds for
//! every policy language. No I/O; cost is stated with each.

mod answer;
mod blocks;
mod classes;
mod diff;
mod dump;
mod end;
mod explanation;
mod fragment;
mod judge;
mod lint;
mod matrix;
mod owner;
mod ports;
mod probe;
mod reach;
mod sweep;
mod transport;
mod words;

#[cfg(test)]
mod tests;

pub use answer::{Answer, Place, PolicyRef, Side, StepRef};
pub use blocks::ChangeBlock;
pub use classes::Class;
pub use diff::{Change, Difference, diff};
pub use dump::{Stage, StageDump, dump};
pub use end::{End, EndKind, ends};
pub use explanation::{Explanation, PolicyDetail, SideDetail, StepDetail};
pub use fragment::fragment;
pub use judge::Judge;
pub use lint::{Finding, Lint, LintOptions, lint};
pub use matrix::{Cell, Matrix, Pair, PortVerdict, matrix};
pub use owner::Owner;
pub use ports::{Group, PortSpace};
pub use probe::{Probe, ProbeError};
pub use reach::Reach;
pub use transport::Transport;
pub use words::{expression_in_words, peers_in_words, ports_in_words, rule_in_words, selector_in_words};
