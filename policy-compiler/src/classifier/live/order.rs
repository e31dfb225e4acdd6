//! The order of rules as sparse 64-bit keys, so that an insertion moves no other rule.

use super::LiveRules;
use super::layers::Snapshot;
use std::sync::Arc;

/// Distance of keys when they are spread.
const STRIDE: u64 = 1 << 40;

impl LiveRules {
    /// A key between those of the neighbours of a new rule.
    pub(super) fn key_at(&mut self, position: usize) -> u64 {
        for spread in [true, false] {
            let below = position.checked_sub(1).and_then(|at| self.order.get(at)).map(|&at| self.key(at));
            let above = self.order.get(position).map(|&at| self.key(at));
            let key = match (below, above) {
                (None, None) => Some(u64::MAX / 2),
                (Some(below), None) => below.checked_add(STRIDE).filter(|&key| key < u64::MAX),
                (None, Some(above)) => Some(above / 2).filter(|&key| key < above),
                (Some(below), Some(above)) => {
                    Some(below + (above - below) / 2).filter(|&key| below < key && key < above)
                }
            };
            if let Some(key) = key {
                return key;
            }
            if spread {
                self.spread();
            }
        }
        // Not reached: spread keys have room everywhere.
        u64::MAX - 1
    }

    /// Gives all rules keys with room between them.
    pub(super) fn spread(&mut self) {
        for (&handle, number) in self.order.iter().zip(1_u64..) {
            if let Some(stored) = self.stored.get_mut(handle as usize).and_then(Option::as_mut) {
                stored.key = number.saturating_mul(STRIDE);
            }
        }
        let mut layers = self.snapshot.layers.clone();
        for layer in &mut layers {
            let keys = layer.handles.iter().zip(0..).map(|(&handle, local)| {
                self.at(handle)
                    .filter(|stored| (stored.layer, stored.local) == (layer.serial, local))
                    .map_or(u64::MAX, |stored| stored.key)
            });
            layer.keys = keys.collect();
        }
        self.snapshot = Arc::new(Snapshot { layers });
    }
}
