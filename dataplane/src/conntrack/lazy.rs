//! An array whose memory is made as it first comes into use, and never moves.
//!
//! Chunks of 512 elements behind a table of pointers, which for a million entries is 48 KiB and stays in the cache.
//! Making a chunk is left to who opens the first connection in it; all others find it or find nothing.

use std::sync::OnceLock;

const CHUNK: usize = 512;

/// See the module's text.
pub(super) struct Lazy<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default> Lazy<T> {
    /// Room for `len` elements.
    pub(super) fn new(len: usize) -> Self {
        Self { chunks: (0..len.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    /// The element, if its chunk has been made.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    /// The element; its chunk is made if it has not been.
    pub(super) fn touch(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.chunks
            .get(index / CHUNK)?
            .get_or_init(|| (0..CHUNK).map(|_| T::default()).collect())
            .get(index % CHUNK)
    }

    /// Bytes in use.
    pub(super) fn memory_bytes(&self) -> usize {
        let made = self.chunks.iter().filter(|chunk| chunk.get().is_some()).count();
        made * CHUNK * size_of::<T>() + size_of_val(&*self.chunks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn what_was_not_touched_is_not_there_and_costs_nothing() {
        let lazy: Lazy<AtomicU32> = Lazy::new(2 * CHUNK);
        let empty = lazy.memory_bytes();
        lazy.touch(5).unwrap().store(7, Ordering::Relaxed);
        assert_eq!(lazy.get(5).unwrap().load(Ordering::Relaxed), 7);
        assert!(lazy.get(CHUNK as u32).is_none() && lazy.touch(2 * CHUNK as u32).is_none());
        assert_eq!(lazy.memory_bytes() - empty, CHUNK * 4);
    }
}
