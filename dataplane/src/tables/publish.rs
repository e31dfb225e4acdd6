//! Publication of generations: the control thread stores, workers notice between two batches.
//!
//! Neither side waits for the other: a store swaps one pointer, a worker that still uses the old generation
//! keeps it alive until its batch is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::Generation;

/// The publishing side, shared by the control threads.
#[derive(Clone, Default)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    current: ArcSwapOption<Generation>,
    number: AtomicU64,
    in_force: AtomicU64,
}

/// A worker's view: remembers which generation it has.
pub struct Subscription {
    shared: Arc<Shared>,
    seen: u64,
}

impl Publisher {
    /// Makes `generation` the one workers pick up at their next batch. Its number must be larger than that
    /// of every generation published before.
    pub fn publish(&self, generation: Generation) {
        let number = generation.number;
        self.shared.current.store(Some(Arc::new(generation)));
        // Release: a worker that reads the new number also sees the pointer stored above.
        self.shared.number.store(number, Ordering::Release);
    }

    /// The generation published last.
    pub fn current(&self) -> Option<Arc<Generation>> {
        self.shared.current.load_full()
    }

    /// Number of the generation the worker has taken up; 0 before the first.
    pub fn in_force(&self) -> u64 {
        self.shared.in_force.load(Ordering::Acquire)
    }

    /// A worker's subscription.
    pub fn subscribe(&self) -> Subscription {
        Subscription { shared: Arc::clone(&self.shared), seen: 0 }
    }
}

impl Subscription {
    /// The current generation when it is not the one returned last.
    pub fn changed(&mut self) -> Option<Arc<Generation>> {
        // Acquire: pairs with the store in `publish`.
        let number = self.shared.number.load(Ordering::Acquire);
        if number == self.seen {
            return None;
        }
        let generation = self.shared.current.load_full()?;
        self.seen = generation.number;
        Some(generation)
    }

    /// Tells the control side that packets are judged by generation `number` from now on.
    pub fn acknowledge(&self, number: u64) {
        self.shared.in_force.store(number, Ordering::Release);
    }
}
