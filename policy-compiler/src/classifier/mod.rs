//! Engines that answer packets. All stand behind [`Classifier`] and must answer alike:
//! `flat` in constant time for the packet path, `linear` rule by rule as the oracle engine.

// Columns of sixteen are indexed by their lane, and what is done in each lane has to be inlined into the loop.
#[allow(clippy::inline_always, reason = "as said")]
pub(crate) mod answer;
pub(crate) mod burst;
pub(crate) mod draft;
#[allow(clippy::inline_always, clippy::needless_range_loop, reason = "as said")]
pub(crate) mod flat;
#[allow(clippy::inline_always, reason = "as said")]
pub(crate) mod group;
pub(crate) mod linear;
pub(crate) mod matrix;
pub(crate) mod numbering;

// Vector code is only vector code where all of it is inlined, and rows of sixteen are indexed by their lane.
#[allow(clippy::inline_always, clippy::unused_self, clippy::many_single_char_names, reason = "as said")]
mod arch;
#[allow(
    clippy::inline_always,
    clippy::needless_range_loop,
    clippy::many_single_char_names,
    reason = "as said"
)]
mod general;
mod live;
mod tuple;
mod tuple_linear;

pub(crate) mod port_table;
#[allow(clippy::inline_always, reason = "as said")]
pub(crate) mod trie;

mod interner;
mod key;
mod rules;

pub use answer::Answer;
pub use burst::{PairBurst, Place};
pub use general::{General, Limits, TooLarge};
pub(crate) use interner::{Base, RuleInterner, StepId, Way};
pub use key::{Key, Pair, PairVerdict, RuleId, Verdict};
pub use live::{LiveRules, Merge, Merged, RuleHandle, Snapshot};
pub(crate) use rules::LaterRules;
pub use rules::{RuleInfo, RuleKind, RuleTable, Step};
pub use tuple::TupleClassifier;
pub use tuple_linear::LinearRules;

use crate::model::Direction;

/// An immutable compiled policy set. Shared by all workers without locks.
pub trait Classifier: Send + Sync {
    /// Judges one connection.
    fn classify(&self, key: &Key) -> Verdict;

    /// Judges a batch, level by level. Pairs up to the shorter of the two slices are answered.
    fn classify_batch(&self, keys: &[Key], out: &mut [Verdict]) {
        for (key, verdict) in keys.iter().zip(out) {
            *verdict = self.classify(key);
        }
    }

    /// Judges connections at both ends. Pairs up to the shorter of the two slices are answered.
    fn classify_pairs(&self, pairs: &[Pair], out: &mut [PairVerdict]) {
        for (pair, verdict) in pairs.iter().zip(out) {
            let [egress, ingress] =
                Direction::ALL.map(|direction| pair.key(direction).map(|key| self.classify(&key)));
            *verdict = PairVerdict { egress, ingress };
        }
    }

    /// Judges a burst of connections at both ends: what the packet path calls.
    fn classify_burst(&self, burst: &mut PairBurst) {
        burst.judge_each(|pair| {
            let mut verdict = [PairVerdict::default()];
            self.classify_pairs(std::slice::from_ref(pair), &mut verdict);
            let [verdict] = verdict;
            verdict
        });
    }

    /// Bytes of the tables a lookup may touch.
    fn memory_bytes(&self) -> usize;

    /// The engine's name.
    fn name(&self) -> &'static str;
}
