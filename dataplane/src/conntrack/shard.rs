//! One shard: the lock under which connections of some tuples come and go, and what it protects.
//!
//! A connection belongs to the shard of the sum of its two keys' hashes, which is the same whichever of them comes
//! first. So two workers that open the same connection from its two ends at once meet under one lock. (An entry
//! whose reply tuple is not its original reversed would need the locks of both its keys' shards.)

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use ahash::RandomState;

use super::outcome::ConntrackStats;
use super::shares::Shares;
use super::stack::{Moved, Vacant};
use super::timer_wheel::TimerWheel;

/// See the module's text.
#[repr(align(128))]
pub(super) struct Shard {
    held: Mutex<Held>,
    /// Places whose bookkeeping is behind their state.
    pub(super) moved: Moved,
    /// Places that were vacated here.
    pub(super) vacant: Vacant,
    /// Entries in use; written under the lock, so by load and store.
    entries: AtomicUsize,
    /// Connections opened so far; written under the lock.
    opened: AtomicU64,
    /// The tick that the wheel has been emptied up to; written under the lock.
    pub(super) swept: AtomicU64,
}

/// What the lock protects.
pub(super) struct Held {
    pub(super) wheel: TimerWheel,
    pub(super) shares: Shares,
    pub(super) stats: ConntrackStats,
}

impl Shard {
    pub(super) fn new(seed: RandomState) -> Self {
        let held =
            Held { wheel: TimerWheel::new(), shares: Shares::new(seed), stats: ConntrackStats::default() };
        Self {
            held: Mutex::new(held),
            moved: Moved::new(),
            vacant: Vacant::new(),
            entries: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            swept: AtomicU64::new(0),
        }
    }

    /// Entries in use.
    pub(super) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// Connections opened so far. Whoever sees one counted finds it.
    #[inline]
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// One entry more, which is published, under the lock.
    pub(super) fn count_entry(&self) {
        self.opened.store(self.opened.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        self.entries.store(self.entries().wrapping_add(1), Ordering::Relaxed);
    }

    /// One entry less, under the lock.
    pub(super) fn discount_entry(&self) {
        self.entries.store(self.entries().wrapping_sub(1), Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, if nobody has it.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Held>> {
        match self.held.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
