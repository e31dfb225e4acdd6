//! What readers have of a live rule set: layers, each compiled once, and which of their rules are gone.

use super::RuleHandle;
use crate::classifier::TupleClassifier;
use crate::classifier::general::General;
use crate::ruleset::Tuple;
use std::sync::Arc;

/// One compiled part of the rules.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) serial: u64,
    pub(super) engine: Arc<General>,
    /// By id in the layer: the place in the order, and who it is.
    pub(super) keys: Arc<[u64]>,
    pub(super) handles: Arc<[u32]>,
    /// A bit for each rule that is gone.
    pub(super) gone: Arc<[u64]>,
    pub(super) gone_count: usize,
}

impl Layer {
    pub(super) fn is_gone(&self, local: u32) -> bool {
        self.gone.get(local as usize / 64).is_some_and(|word| word >> (local % 64) & 1 == 1)
    }

    /// Key and handle of a rule of this layer.
    fn named(&self, local: u32) -> Option<(u64, u32)> {
        Some((*self.keys.get(local as usize)?, *self.handles.get(local as usize)?))
    }

    /// What is found by the engine, or by asking again where that rule is gone.
    fn settled(&self, tuple: &Tuple, found: Option<u32>) -> Option<(u64, u32)> {
        let local = found?;
        if self.gone_count == 0 || !self.is_gone(local) {
            return self.named(local);
        }
        self.named(self.engine.lookup_but(tuple, |local| self.is_gone(local))?)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.engine.memory_bytes()
            + size_of_val(&self.keys[..])
            + size_of_val(&self.handles[..])
            + size_of_val(&self.gone[..])
    }
}

/// One state of a live rule set, for readers: immutable, shared without locks.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) layers: Vec<Layer>,
}

/// Packets that are looked up together in all layers.
const BURST: usize = 64;

impl Snapshot {
    /// The first rule that matches, if any does.
    pub fn lookup(&self, tuple: &Tuple) -> Option<RuleHandle> {
        let found = self
            .layers
            .iter()
            .filter_map(|layer| layer.settled(tuple, layer.engine.lookup(tuple).map(|index| index.0)));
        found.min().map(|(_, handle)| RuleHandle(handle))
    }

    /// Answers many. Pairs up to the shorter of the two slices are answered.
    pub fn lookup_batch(&self, tuples: &[Tuple], out: &mut [Option<RuleHandle>]) {
        for (tuples, out) in tuples.chunks(BURST).zip(out.chunks_mut(BURST)) {
            let mut found = [None; BURST];
            let mut best = [None::<(u64, u32)>; BURST];
            for layer in &self.layers {
                layer.engine.lookup_batch(tuples, &mut found);
                for ((best, &found), tuple) in best.iter_mut().zip(&found).zip(tuples) {
                    let here = layer.settled(tuple, found.map(|index| index.0));
                    *best = match (*best, here) {
                        (Some(best), Some(here)) => Some(best.min(here)),
                        (best, here) => best.or(here),
                    };
                }
            }
            // Zipped with the tuples as well, so that answers without a tuple stay as they were.
            for ((out, best), _) in out.iter_mut().zip(&best).zip(tuples) {
                *out = best.map(|(_, handle)| RuleHandle(handle));
            }
        }
    }

    /// Bytes of the tables a lookup may touch.
    pub fn memory_bytes(&self) -> usize {
        self.layers.iter().map(Layer::memory_bytes).sum()
    }
}
