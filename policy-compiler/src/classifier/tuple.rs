//! What engines for general rule sets answer to: a tuple in, the index of the first rule that matches out.
//!
//! Beside [`super::Classifier`], whose keys name a pod and whose verdicts are policy: a rule set knows neither.
//! Two engines stand behind it: `general`, and `linear`, rule after rule, the oracle.

use crate::ruleset::{RuleIndex, Tuple};

/// An immutable compiled rule set. Shared between threads without locks.
pub trait TupleClassifier: Send + Sync {
    /// The first rule that matches, if any does.
    fn lookup(&self, tuple: &Tuple) -> Option<RuleIndex>;

    /// Answers many, level by level. Pairs up to the shorter of the two slices are answered.
    fn lookup_batch(&self, tuples: &[Tuple], out: &mut [Option<RuleIndex>]) {
        for (tuple, answer) in tuples.iter().zip(out) {
            *answer = self.lookup(tuple);
        }
    }

    /// Bytes of the tables a lookup may touch.
    fn memory_bytes(&self) -> usize;

    /// The engine's name.
    fn name(&self) -> &'static str;
}
