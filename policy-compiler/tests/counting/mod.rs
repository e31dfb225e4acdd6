//! Memory that something took, counted by the allocator of the test binary that has this module: the highest sum of live
//! bytes beyond those before, and the sum of all that was ever asked for, which is how copying shows. By thread.

#![allow(unsafe_code, reason = "an allocator that counts cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    /// Bytes this thread has allocated and not freed; negative where it frees what others allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    /// All it ever allocated.
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let live = LIVE.get().saturating_add(bytes);
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

// SAFETY: everything is handed to `System` as it came; the counters touch no memory of the caller's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(isize::try_from(layout.size()).unwrap_or(isize::MAX));
        ASKED.set(ASKED.get().saturating_add(layout.size()));
        // SAFETY: the caller's promises are `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(isize::try_from(layout.size()).map_or(isize::MIN, isize::wrapping_neg));
        // SAFETY: the caller's promises are `System`'s, and the pointer came from it.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What something took.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Most bytes at once.
    pub(crate) peak: usize,
    /// All bytes.
    pub(crate) asked: usize,
}

/// Runs `f` and counts.
pub(crate) fn counted<T>(f: impl FnOnce() -> T) -> (T, Memory) {
    let (live, asked) = (LIVE.get(), ASKED.get());
    PEAK.set(live);
    let outcome = f();
    let peak = usize::try_from(PEAK.get() - live).unwrap_or(0);
    (outcome, Memory { peak, asked: ASKED.get() - asked })
}
