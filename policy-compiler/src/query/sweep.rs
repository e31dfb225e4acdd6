//! One pair of ends after the other, asked about every stretch of connections in batches.
//!
//! Cost of a pair: a lookup for each stretch at each end that is a pod, by the engine's batch lookup; the buffers are
//! kept from pair to pair.

use super::end::End;
use super::judge::Judge;
use super::ports::Sample;
use crate::classifier::{Key, Verdict};
use crate::model::{Action, Direction};
use std::net::IpAddr;

/// What both ends say, by stretch.
#[derive(Debug)]
pub(super) struct Sweep<'j> {
    judge: &'j Judge,
    keys: Vec<Key>,
    /// Egress, ingress; empty where the end is no pod.
    sides: [Vec<Verdict>; 2],
}

impl<'j> Sweep<'j> {
    pub(super) fn new(judge: &'j Judge) -> Self {
        Self { judge, keys: Vec::new(), sides: [Vec::new(), Vec::new()] }
    }

    /// Asks about a pair.
    pub(super) fn ask(
        &mut self,
        (source, src): (&End, IpAddr),
        (destination, dst): (&End, IpAddr),
        samples: &[Sample],
    ) {
        let [egress, ingress] = &mut self.sides;
        for (end, direction, out) in
            [(source, Direction::Egress, egress), (destination, Direction::Ingress, ingress)]
        {
            out.clear();
            let Some(subject) = end.subject() else { continue };
            self.keys.clear();
            self.keys.extend(samples.iter().map(|&Sample { protocol, src_port, dst_port }| Key {
                subject,
                direction,
                src,
                dst,
                protocol,
                src_port,
                dst_port,
            }));
            out.resize(samples.len(), Verdict::UNKNOWN_SUBJECT);
            self.judge.compiled().classifier.classify_batch(&self.keys, out);
        }
    }

    /// What the ends said to the stretch.
    pub(super) fn verdicts(&self, stretch: usize) -> [Option<Verdict>; 2] {
        let [egress, ingress] = &self.sides;
        [egress, ingress].map(|side| side.get(stretch).copied())
    }

    /// Whether both ends allow the stretch.
    pub(super) fn allows(&self, stretch: usize) -> bool {
        allowed(self.verdicts(stretch))
    }
}

/// Whether both ends allow.
pub(super) fn allowed(verdicts: [Option<Verdict>; 2]) -> bool {
    verdicts.iter().flatten().all(|verdict| verdict.action == Action::Allow)
}

/// A set of stretches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Mask(Vec<u64>);

impl Mask {
    /// Empties it, with room for so many.
    pub(super) fn reset(&mut self, stretches: usize) {
        self.0.clear();
        self.0.resize(stretches.div_ceil(64), 0);
    }

    pub(super) fn set(&mut self, stretch: usize) {
        if let Some(word) = self.0.get_mut(stretch / 64) {
            *word |= 1 << (stretch % 64);
        }
    }

    pub(super) fn has(&self, stretch: usize) -> bool {
        self.0.get(stretch / 64).is_some_and(|word| word >> (stretch % 64) & 1 == 1)
    }
}
