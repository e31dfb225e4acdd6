//! Layers put together into one: when that is due, the work, which any thread may do, and taking in its result.

use super::layers::{Layer, Snapshot};
use super::{LiveRules, RECENT};
use crate::classifier::general::{General, Limits, TooLarge};
use crate::ruleset::Rule;
use std::sync::Arc;

/// A merge takes in the first layer when so many rules, by its size, are gone or stand in other layers.
const SHARE: usize = 128;
/// Less than this is never worth compiling the first layer again.
const FEW: usize = 512;

/// Layers being put together. [`Merge::run`] needs nothing of the rule set and may be called on any thread.
#[derive(Debug)]
pub struct Merge {
    /// Serial numbers of the layers that go.
    from: Vec<u64>,
    /// Live rules of these, in order.
    rules: Vec<Rule>,
    handles: Vec<u32>,
    limits: Limits,
}

/// A merge that has been run.
#[derive(Debug)]
pub struct Merged {
    from: Vec<u64>,
    handles: Vec<u32>,
    engine: Result<General, TooLarge>,
}

impl Merge {
    /// Compiles: the part that takes its time.
    pub fn run(self) -> Merged {
        let engine = General::new(&self.rules, self.limits);
        Merged { from: self.from, handles: self.handles, engine }
    }
}

impl LiveRules {
    /// Work that is due, if any is and none is out: run it where there is time, then [`LiveRules::adopt`] it.
    pub fn merge(&mut self) -> Option<Merge> {
        let layers = &self.snapshot.layers;
        let (first, others) = layers.split_first()?;
        let outside: usize = others.iter().map(|layer| layer.handles.len()).sum();
        let gone: usize = layers.iter().map(|layer| layer.gone_count).sum();
        let from: Vec<u64> = if outside + gone > (first.handles.len() / SHARE).max(FEW) {
            layers.iter().map(|layer| layer.serial).collect()
        } else if others.len() > 1 && others.last()?.handles.len() >= RECENT {
            others.iter().map(|layer| layer.serial).collect()
        } else {
            return None;
        };
        self.merge_of(from)
    }

    /// All layers into one, whether due or not: what a fresh build would be.
    pub fn merge_all(&mut self) -> Option<Merge> {
        self.merge_of(self.snapshot.layers.iter().map(|layer| layer.serial).collect())
    }

    fn merge_of(&mut self, from: Vec<u64>) -> Option<Merge> {
        if !self.merging.is_empty() {
            return None;
        }
        let handles = self.live(&from);
        let rules = handles.iter().filter_map(|&handle| Some(self.at(handle)?.rule)).collect();
        self.merging.clone_from(&from);
        Some(Merge { from, rules, handles, limits: self.limits })
    }

    /// Puts the result of a merge in the place of its layers. What changed meanwhile stays changed. A merge that did
    /// not fit leaves everything as it is.
    pub fn adopt(&mut self, merged: Merged) -> Result<(), TooLarge> {
        self.merging.clear();
        let Merged { from, handles, engine } = merged;
        let engine = engine?;
        let mut layer = Layer {
            serial: self.next_serial,
            engine: Arc::new(engine),
            keys: Arc::default(),
            gone: Arc::default(),
            handles: Arc::default(),
            gone_count: 0,
        };
        self.next_serial += 1;
        let mut gone = vec![0_u64; handles.len().div_ceil(64)];
        let mut keys = Vec::with_capacity(handles.len());
        for (&handle, local) in handles.iter().zip(0_u32..) {
            // Still the rule that was merged? A handle may have been given up, and used again elsewhere.
            let stored = self.stored.get_mut(handle as usize).and_then(Option::as_mut);
            let Some(stored) = stored.filter(|stored| from.contains(&stored.layer)) else {
                if let Some(word) = gone.get_mut(local as usize / 64) {
                    *word |= 1 << (local % 64);
                }
                layer.gone_count += 1;
                keys.push(u64::MAX);
                continue;
            };
            (stored.layer, stored.local) = (layer.serial, local);
            keys.push(stored.key);
        }
        (layer.gone, layer.keys, layer.handles) = (gone.into(), keys.into(), handles.into());
        let mut layers: Vec<Layer> = Vec::with_capacity(self.snapshot.layers.len());
        let mut layer = Some(layer);
        for old in &self.snapshot.layers {
            if from.contains(&old.serial) {
                layers.extend(layer.take());
            } else {
                layers.push(old.clone());
            }
        }
        self.snapshot = Arc::new(Snapshot { layers });
        Ok(())
    }
}
