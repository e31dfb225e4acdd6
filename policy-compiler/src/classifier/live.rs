//! Rule sets that change while packets are looked up.
//!
//! ```text
//!  insert, remove ─► LiveRules ─► Snapshot: layers, each compiled once, and which of its rules are gone
//!                        │                  readers keep an Arc of it and see the whole change or nothing of it
//!                        └─► Merge: layers into one, on any thread ─► adopt
//! ```
//! A new rule is compiled together with the few that came last: that is what an insertion costs, whatever the size of
//! the set. A removed one is marked. A lookup asks every layer and takes the answer that stands first; where it is a rule
//! that is gone, that layer is asked again for the first that is not. When the last layer has grown, or many rules are
//! gone, `merge` hands out the work of putting layers together; readers and writers go on meanwhile.
//!
//! Order is kept by sparse 64-bit keys, so that an insertion moves no other rule; where two neighbours leave no room
//! between them, all keys are spread anew (1 ms for 100,000 rules; it takes 40 insertions at one and the same place).
//! Bytes: the tables, 12 a rule and layer for readers, 88 a rule for the writer.

mod layers;
mod merge;
mod order;

pub use layers::Snapshot;
pub use merge::{Merge, Merged};

use super::general::{General, Limits, TooLarge};
use crate::ruleset::Rule;
use layers::Layer;
use std::sync::Arc;

/// Rules of the last layer before a merge is due.
const RECENT: usize = 128;

/// A rule for as long as it lives, wherever it moves in the order. Numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleHandle(pub u32);

/// A rule and where it is.
#[derive(Debug, Clone, Copy)]
struct Stored {
    rule: Rule,
    key: u64,
    /// Serial number of the layer that holds it, and its id there.
    layer: u64,
    local: u32,
}

/// The writer's side of a rule set that changes.
///
/// ```
/// use policy_compiler::classifier::{Limits, LiveRules};
/// use policy_compiler::ruleset::text;
///
/// let rules = text::rules("set", "@10.0.0.0/8 0.0.0.0/0 0 : 65535 80 : 80 0x06/0xFF\n\
///                                 @10.1.0.0/16 0.0.0.0/0 0 : 65535 80 : 80 0x06/0xFF")?;
/// let packet = text::trace("trace", "10.1.2.3 192.0.2.1 4711 80 6")?[0];
/// let Ok(mut live) = LiveRules::new(&rules[..1], Limits::default()) else { panic!("one rule fits") };
/// let before = live.snapshot();
/// let Ok(handle) = live.insert(0, rules[1]) else { panic!("two rules fit") };
/// assert_eq!(live.snapshot().lookup(&packet), Some(handle));
/// assert_ne!(before.lookup(&packet), Some(handle));
/// live.remove(0);
/// assert_eq!(live.snapshot().lookup(&packet), before.lookup(&packet));
/// # Ok::<(), Vec<text::Problem>>(())
/// ```
#[derive(Debug)]
pub struct LiveRules {
    limits: Limits,
    stored: Vec<Option<Stored>>,
    free: Vec<u32>,
    /// Handles, in order of priority.
    order: Vec<u32>,
    snapshot: Arc<Snapshot>,
    next_serial: u64,
    /// Layers a merge has been handed out for: nothing is added to them.
    merging: Vec<u64>,
}

impl LiveRules {
    /// A rule set that may change from now on.
    pub fn new(rules: &[Rule], limits: Limits) -> Result<Self, TooLarge> {
        let engine = General::new(rules, limits)?;
        let mut live = Self {
            limits,
            stored: Vec::with_capacity(rules.len()),
            free: Vec::new(),
            order: (0..rules.len() as u32).collect(),
            snapshot: Arc::default(),
            next_serial: 1,
            merging: Vec::new(),
        };
        live.stored.extend(
            rules.iter().zip(0..).map(|(&rule, local)| Some(Stored { rule, key: 0, layer: 0, local })),
        );
        let handles = live.order.clone();
        let layer = live.layer(engine, &handles);
        live.snapshot = Arc::new(Snapshot { layers: vec![layer] });
        live.spread();
        Ok(live)
    }

    /// What holds now. Hand it to readers; it does not change.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Layers a lookup asks; one where everything is merged.
    pub fn layers(&self) -> usize {
        self.snapshot.layers.len()
    }

    /// The rules, in order.
    pub fn rules(&self) -> impl Iterator<Item = (RuleHandle, &Rule)> {
        self.order.iter().filter_map(|&handle| Some((RuleHandle(handle), &self.at(handle)?.rule)))
    }

    /// Where a rule stands in the order now.
    pub fn position(&self, handle: RuleHandle) -> Option<usize> {
        let key = self.at(handle.0)?.key;
        let position = self.order.partition_point(|&other| self.key(other) < key);
        self.order.get(position).filter(|&&found| found == handle.0).map(|_| position)
    }

    /// Adds a rule before the one at `position`, or at the end. Where the tables would not fit nothing changes.
    pub fn insert(&mut self, position: usize, rule: Rule) -> Result<RuleHandle, TooLarge> {
        let position = position.min(self.order.len());
        let key = self.key_at(position);
        let recent = self.recent();
        let kept: Vec<u32> = recent.map_or_else(Vec::new, |layer| self.live(&[layer.serial]));
        let before = kept.partition_point(|&handle| self.key(handle) < key);
        let mut rules: Vec<Rule> = kept.iter().filter_map(|&handle| Some(self.at(handle)?.rule)).collect();
        rules.insert(before.min(rules.len()), rule);
        let others =
            self.snapshot.layers.iter().filter(|layer| recent.is_none_or(|r| r.serial != layer.serial));
        let taken: usize = others.map(Layer::memory_bytes).sum();
        let limits = Limits { memory: self.limits.memory.saturating_sub(taken) };
        let replaced = recent.map(|layer| layer.serial);
        let engine = General::new(&rules, limits)?;
        // From here on nothing fails.
        let handle = self.free.pop().unwrap_or_else(|| {
            self.stored.push(None);
            self.stored.len() as u32 - 1
        });
        if let Some(place) = self.stored.get_mut(handle as usize) {
            *place = Some(Stored { rule, key, layer: 0, local: 0 });
        }
        self.order.insert(position, handle);
        let mut handles = kept;
        handles.insert(before.min(handles.len()), handle);
        let layer = self.layer(engine, &handles);
        let mut layers = self.snapshot.layers.clone();
        layers.retain(|layer| Some(layer.serial) != replaced);
        layers.push(layer);
        self.snapshot = Arc::new(Snapshot { layers });
        Ok(RuleHandle(handle))
    }

    /// Takes the rule at `position` away.
    pub fn remove(&mut self, position: usize) -> Option<RuleHandle> {
        if position >= self.order.len() {
            return None;
        }
        let handle = self.order.remove(position);
        let stored = self.stored.get_mut(handle as usize)?.take()?;
        self.free.push(handle);
        let mut layers = self.snapshot.layers.clone();
        for layer in layers.iter_mut().filter(|layer| layer.serial == stored.layer) {
            let mut gone = layer.gone.to_vec();
            if let Some(word) = gone.get_mut(stored.local as usize / 64) {
                *word |= 1 << (stored.local % 64);
            }
            layer.gone = gone.into();
            layer.gone_count += 1;
        }
        self.snapshot = Arc::new(Snapshot { layers });
        Some(RuleHandle(handle))
    }

    fn at(&self, handle: u32) -> Option<&Stored> {
        self.stored.get(handle as usize)?.as_ref()
    }

    fn key(&self, handle: u32) -> u64 {
        self.at(handle).map_or(u64::MAX, |stored| stored.key)
    }

    /// The layer a new rule is compiled with: the last one, if it is small and not being merged.
    fn recent(&self) -> Option<&Layer> {
        let (_, others) = self.snapshot.layers.split_first()?;
        let last = others.last()?;
        let is_open = last.handles.len() < 2 * RECENT && !self.merging.contains(&last.serial);
        is_open.then_some(last)
    }

    /// Live rules of some layers, in order.
    fn live(&self, layers: &[u64]) -> Vec<u32> {
        let mut handles: Vec<(u64, u32)> = Vec::new();
        for layer in self.snapshot.layers.iter().filter(|layer| layers.contains(&layer.serial)) {
            let of_layer = layer.handles.iter().zip(layer.keys.iter()).zip(0_u32..);
            let live = of_layer.filter(|&(_, local)| !layer.is_gone(local));
            handles.extend(live.map(|((&handle, &key), _)| (key, handle)));
        }
        handles.sort_unstable();
        handles.into_iter().map(|(_, handle)| handle).collect()
    }

    /// A layer of compiled rules; they learn that they are in it.
    fn layer(&mut self, engine: General, handles: &[u32]) -> Layer {
        let serial = self.next_serial;
        self.next_serial += 1;
        let mut keys = Vec::with_capacity(handles.len());
        for (&handle, local) in handles.iter().zip(0..) {
            if let Some(stored) = self.stored.get_mut(handle as usize).and_then(Option::as_mut) {
                (stored.layer, stored.local) = (serial, local);
                keys.push(stored.key);
            }
        }
        Layer {
            serial,
            engine: Arc::new(engine),
            keys: keys.into(),
            handles: handles.into(),
            gone: vec![0; handles.len().div_ceil(64)].into(),
            gone_count: 0,
        }
    }
}

#[cfg(test)]
mod tests;
