//! Two states over one capture: which packets end otherwise.
//!
//! The two pipelines come to a packet's end at different moments; the first verdict waits for the second. What waits
//! is bounded by their batches and fragment tables.

use std::collections::HashMap;

use super::flows::Outcome;

/// Verdicts that wait for the other state's.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    waiting: HashMap<u64, Outcome, ahash::RandomState>,
    /// Packets that end otherwise.
    pub(super) changed: u64,
    /// Those of them whose flow is not kept.
    pub(super) without_flow: u64,
}

impl Comparison {
    /// Notes a verdict; true when it is the second of its packet and another than the first.
    pub(super) fn settle(&mut self, _side: usize, number: u64, outcome: Outcome) -> bool {
        match self.waiting.remove(&number) {
            None => {
                self.waiting.insert(number, outcome);
                false
            }
            Some(other) => {
                let differs = other.verdict() != outcome.verdict();
                self.changed += u64::from(differs);
                differs
            }
        }
    }
}
