//! General rule sets: prioritised rules over both addresses, both ports and the protocol, as firewalls and packet
//! classification benchmarks have them, beside the policies of Kubernetes.
//!
//! ```text
//!  text (ClassBench) ─► text::rules ─► [Rule] ─► classifier::general | tuple_linear ─► RuleIndex
//!  text (trace)      ─► text::trace ─► [Tuple] ──────────────┘
//! ```
//! The first rule that matches a tuple is its answer. A rule set is a slice of rules and its order is its priority.
//! Whoever needs an action gives one to each index; the classifiers know none.

mod rule;
pub mod text;

pub use rule::{Ports, ProtocolMask, Rule, RuleIndex, RuleProblem, Tuple};

/// Rules in order of priority: the first that matches wins.
pub type RuleSet = Vec<Rule>;
