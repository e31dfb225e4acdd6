//! What the table keeps of each place: an array of zeros that takes memory as places come into use.
//!
//! One mapping for each kind of thing, in huge pages where it is large enough (`sys::huge`): a reference to an entry is
//! one addition, and no worker finds half an array. Places are given out from the first on, so that what was never
//! used costs address space alone.

#![allow(unsafe_code)]

use crate::sys::huge::{HUGE_PAGE, HugeSlice, Zeroed};

use super::cell::Cell;

// SAFETY: a cell is nothing but atomic integers; zeros are a place where nobody ever lived.
unsafe impl Zeroed for Cell {}

/// See the module's text.
pub(super) struct Places<T>(HugeSlice<T>);

impl<T: Zeroed> Places<T> {
    /// Zeros for so many places.
    pub(super) fn new(len: usize) -> Self {
        Self(HugeSlice::new(len))
    }

    /// What is kept of a place.
    #[inline]
    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.0.get(place as usize)
    }

    /// Has the beginning of what is kept of a place brought into the cache.
    #[inline]
    pub(super) fn bring(&self, place: u32) {
        self.0.prefetch(place as usize);
    }

    /// Bytes in use once the first `used` places were: whole pages, of the size that they come in.
    pub(super) fn memory_bytes(&self, used: usize) -> usize {
        let all = size_of_val(&*self.0);
        let page = if all < HUGE_PAGE { 4096 } else { HUGE_PAGE };
        used.saturating_mul(size_of::<T>()).next_multiple_of(page).min(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn what_was_not_used_is_zero_and_costs_nothing() {
        let places: Places<AtomicU64> = Places::new(HUGE_PAGE);
        assert_eq!(places.memory_bytes(0), 0);
        places.get(5).unwrap().store(7, Ordering::Relaxed);
        assert_eq!(places.get(5).unwrap().load(Ordering::Relaxed), 7);
        assert_eq!(places.get(6).unwrap().load(Ordering::Relaxed), 0);
        assert!(places.get(HUGE_PAGE as u32).is_none());
        assert_eq!(places.memory_bytes(6), HUGE_PAGE);
        assert_eq!(places.memory_bytes(HUGE_PAGE), 8 * HUGE_PAGE);
    }
}
