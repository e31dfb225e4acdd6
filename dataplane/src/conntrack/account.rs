//! What one owner holds of the whole table, over all its shards.

use super::sync::{AtomicUsize, Ordering};

/// Counted under the locks of all the shards at once, so atomically.
#[derive(Debug)]
pub(super) struct Account {
    entries: AtomicUsize,
    /// Entries on shelves, from which they may be evicted.
    spare: AtomicUsize,
}

impl Account {
    pub(super) fn new() -> Self {
        Self { entries: AtomicUsize::new(0), spare: AtomicUsize::new(0) }
    }

    /// Counts one entry more, unless there are `quota`: never more, however many ask at once.
    pub(super) fn reserve(&self, quota: usize) -> bool {
        let mut entries = self.entries.load(Ordering::Relaxed);
        while entries < quota {
            let more = entries + 1;
            match self.entries.compare_exchange_weak(entries, more, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => entries = now,
            }
        }
        false
    }

    /// Takes back [`Account::reserve`].
    pub(super) fn release(&self) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn spare(&self) -> usize {
        self.spare.load(Ordering::Relaxed)
    }

    /// An entry was put on a shelf.
    pub(super) fn shelved(&self) {
        self.spare.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry was taken from a shelf.
    pub(super) fn unshelved(&self) {
        self.spare.fetch_sub(1, Ordering::Relaxed);
    }
}
