//! Publication of generations: the control thread stores, workers notice between two batches.
//!
//! Neither side waits for the other: a store swaps one pointer, a worker that still uses the old generation
//! keeps it alive until its batch is done. A generation is in force once every worker has taken it up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
    /// What each subscription has taken up. Locked when one is made and by who asks, never by a worker at work.
    taken_up: Mutex<Vec<Arc<AtomicU64>>>,
}

/// A worker's view: remembers which generation it has.
pub struct Subscription {
    shared: Arc<Shared>,
    taken_up: Arc<AtomicU64>,
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

    /// Number of the generation that every worker has taken up, or gone beyond; 0 before the first.
    pub fn in_force(&self) -> u64 {
        let taken_up = self.shared.taken_up.lock().unwrap_or_else(PoisonError::into_inner);
        taken_up.iter().map(|number| number.load(Ordering::Acquire)).min().unwrap_or(0)
    }

    /// A worker's subscription.
    pub fn subscribe(&self) -> Subscription {
        let taken_up = Arc::new(AtomicU64::new(0));
        let mut all = self.shared.taken_up.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&taken_up));
        Subscription { shared: Arc::clone(&self.shared), taken_up, seen: 0 }
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
        self.taken_up.store(number, Ordering::Release);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut all = self.shared.taken_up.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| !Arc::ptr_eq(other, &self.taken_up));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_in_force_once_the_last_worker_has_taken_it_up() {
        let publisher = Publisher::default();
        assert_eq!(publisher.in_force(), 0);
        let (one, other) = (publisher.subscribe(), publisher.subscribe());
        one.acknowledge(2);
        assert_eq!(publisher.in_force(), 0);
        other.acknowledge(1);
        assert_eq!(publisher.in_force(), 1);
        other.acknowledge(2);
        assert_eq!(publisher.in_force(), 2);
        drop(one);
        other.acknowledge(3);
        assert_eq!(publisher.in_force(), 3);
    }
}
