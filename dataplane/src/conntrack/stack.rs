//! Stacks of places without a lock, linked through one number for each place.
//!
//! Two kinds, and no place is ever in both: [`Vacant`], which any worker may pop from, carries a count of the pops
//! beside its top, so that a top that went and came back meanwhile is noticed; [`Moved`] is only ever taken down
//! whole, by the holder of its shard's lock, and needs none. A place's link belongs to who is pushing it, then to
//! the stack, then to who took it down. The compare-exchange that pushes releases the link and all that was done
//! with the place before; what takes it down acquires them.

use super::sync::{AtomicU32, AtomicU64, Ordering};

/// Under the last one.
pub(super) const BOTTOM: u32 = u32::MAX;

/// Places nobody uses.
#[derive(Debug)]
pub(super) struct Vacant {
    /// Pops so far (32) | top (32).
    top: AtomicU64,
}

impl Vacant {
    pub(super) fn new() -> Self {
        Self { top: AtomicU64::new(u64::from(BOTTOM)) }
    }

    /// Puts down `place`, whose link is `link`.
    pub(super) fn push(&self, place: u32, link: &AtomicU32) {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            link.store(top as u32, Ordering::Relaxed);
            let next = top & !u64::from(u32::MAX) | u64::from(place);
            match self.top.compare_exchange_weak(top, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => top = now,
            }
        }
    }

    /// Takes the place that was put down last.
    pub(super) fn pop<'a>(&self, link_of: impl Fn(u32) -> Option<&'a AtomicU32>) -> Option<u32> {
        let mut top = self.top.load(Ordering::Acquire);
        loop {
            let place = top as u32;
            if place == BOTTOM {
                return None;
            }
            let below = link_of(place)?.load(Ordering::Relaxed);
            let next = ((top >> 32).wrapping_add(1)) << 32 | u64::from(below);
            match self.top.compare_exchange_weak(top, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(place),
                Err(now) => top = now,
            }
        }
    }
}

/// Places whose connection has changed so that it has to be hung up elsewhere.
#[derive(Debug)]
pub(super) struct Moved {
    top: AtomicU32,
}

impl Moved {
    pub(super) fn new() -> Self {
        Self { top: AtomicU32::new(BOTTOM) }
    }

    /// Puts down `place`, whose link is `link`. True if the stack was empty: somebody has to be told.
    pub(super) fn push(&self, place: u32, link: &AtomicU32) -> bool {
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            link.store(top, Ordering::Relaxed);
            match self.top.compare_exchange_weak(top, place, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return top == BOTTOM,
                Err(now) => top = now,
            }
        }
    }

    /// Takes the whole stack. Returns its places in the order they were put down, linked from the first on.
    pub(super) fn take<'a>(&self, link_of: impl Fn(u32) -> Option<&'a AtomicU32>) -> u32 {
        let mut place = self.top.swap(BOTTOM, Ordering::AcqRel);
        let mut turned = BOTTOM;
        while place != BOTTOM {
            let Some(link) = link_of(place) else { break };
            let below = link.load(Ordering::Relaxed);
            link.store(turned, Ordering::Relaxed);
            turned = place;
            place = below;
        }
        turned
    }
}
