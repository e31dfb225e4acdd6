//! A long list of numbers whose copies share what did not change: how one generation's tables become the next's.
//!
//! Pieces of 4,096 numbers (16 KiB) behind reference counts. A copy costs a count per piece; a write into a shared piece
//! copies that piece first, so whoever reads an older copy never sees it. Reading is one load more than from a `Vec`.

use std::sync::Arc;

const BITS: u32 = 12;
const PIECE: usize = 1 << BITS;

#[derive(Debug, Clone, Default)]
pub(crate) struct Chunks {
    pieces: Vec<Arc<[u32; PIECE]>>,
    len: usize,
}

impl Chunks {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, position: usize) -> Option<u32> {
        if position >= self.len {
            return None;
        }
        let piece = self.pieces.get(position >> BITS)?;
        Some(piece[position & (PIECE - 1)])
    }

    /// As [`Self::get`] for a position that is known to be inside; beyond the end it may be anything.
    #[inline]
    pub(crate) fn read(&self, position: usize) -> Option<u32> {
        let piece = self.pieces.get(position >> BITS)?;
        Some(piece[position & (PIECE - 1)])
    }

    /// The number to be changed. `None` beyond the end.
    pub(crate) fn get_mut(&mut self, position: usize) -> Option<&mut u32> {
        if position >= self.len {
            return None;
        }
        let piece = self.pieces.get_mut(position >> BITS)?;
        Some(&mut Arc::make_mut(piece)[position & (PIECE - 1)])
    }

    /// Changes a number unless it is that already. `None` beyond the end.
    pub(crate) fn set(&mut self, position: usize, value: u32) -> Option<()> {
        // A write that changes nothing must not copy a piece.
        if self.get(position)? != value {
            *self.get_mut(position)? = value;
        }
        Some(())
    }

    /// Sets `count` numbers from `start` on.
    pub(crate) fn fill(&mut self, start: usize, count: usize, value: u32) -> Option<()> {
        for position in start..start.checked_add(count)? {
            self.set(position, value)?;
        }
        Some(())
    }

    /// Makes it as long as asked; what is new is `value`.
    pub(crate) fn resize(&mut self, len: usize, value: u32) {
        while self.len < len {
            if self.len & (PIECE - 1) == 0 {
                self.pieces.push(Arc::new([value; PIECE]));
                self.len = len.min(self.len + PIECE);
            } else {
                let last = len.min((self.len | (PIECE - 1)) + 1);
                let from = self.len;
                self.len = last;
                // What lies beyond the end is whatever it was.
                let _ = self.fill(from, last - from, value);
            }
        }
    }

    pub(crate) fn extend(&mut self, values: &[u32]) {
        let start = self.len;
        self.resize(start + values.len(), 0);
        for (position, &value) in (start..).zip(values) {
            let _ = self.set(position, value);
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.pieces.len() * (size_of::<[u32; PIECE]>() + size_of::<usize>())
    }
}

#[cfg(test)]
mod tests {
    use super::{Chunks, PIECE};

    #[test]
    fn a_copy_keeps_what_it_was() {
        let mut chunks = Chunks::default();
        let values: Vec<u32> = (0..10_000).collect();
        chunks.extend(&values[..5000]);
        chunks.extend(&values[5000..]);
        let copy = chunks.clone();
        assert_eq!(chunks.set(9_999, 1), Some(()));
        assert_eq!(chunks.set(10_000, 1), None);
        assert_eq!((chunks.get(9_999), copy.get(9_999)), (Some(1), Some(9_999)));
        for (position, &value) in values.iter().enumerate() {
            assert_eq!(copy.get(position), Some(value));
        }
        chunks.resize(3 * PIECE, 7);
        assert_eq!(
            (chunks.get(9_998), chunks.get(10_000), chunks.get(3 * PIECE - 1)),
            (Some(9_998), Some(7), Some(7))
        );
    }

    #[test]
    fn any_length_is_what_was_asked_for() {
        let mut chunks = Chunks::default();
        for len in [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5] {
            chunks.resize(len, len as u32);
            assert_eq!(chunks.len(), len);
            assert_eq!(chunks.get(len - 1), Some(len as u32));
            assert_eq!(chunks.get(0), Some(1));
        }
    }
}
