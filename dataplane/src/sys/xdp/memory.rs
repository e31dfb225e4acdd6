//! The chunks that frames lie in, in memory shared with the kernel.

use std::io;
use std::ptr::NonNull;

use crate::sys::mapping::Mapping;

/// The chunks of one socket, `count` of them with `chunk` bytes each.
#[derive(Debug)]
pub struct Memory {
    mapping: Mapping,
    chunk: u32,
    count: u32,
    huge: bool,
}

impl Memory {
    /// Fresh memory, on huge pages where the system has set some aside, else where it makes them by itself.
    ///
    /// # Errors
    /// There is not that much.
    pub fn new(chunk: u32, count: u32) -> io::Result<Self> {
        const HUGE_PAGE: usize = 2 << 20;
        let len = chunk as usize * count as usize;
        if len == 0 || !chunk.is_power_of_two() {
            return Err(invalid());
        }
        if let Ok(mapping) =
            Mapping::fresh(len.next_multiple_of(HUGE_PAGE), libc::MAP_HUGETLB | libc::MAP_POPULATE)
        {
            return Ok(Self { mapping, chunk, count, huge: true });
        }
        let mapping = Mapping::fresh(len, 0)?;
        mapping.wish_for_huge_pages();
        Ok(Self { mapping, chunk, count, huge: false })
    }

    /// Bytes of a chunk, a power of two.
    pub fn chunk(&self) -> u32 {
        self.chunk
    }

    /// How many chunks there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// On huge pages that had been set aside.
    pub fn is_huge(&self) -> bool {
        self.huge
    }

    /// The start of the memory, and its length as far as it is chunks.
    pub(super) fn range(&self) -> (NonNull<u8>, u64) {
        (self.mapping.base(), u64::from(self.chunk) * u64::from(self.count))
    }

    /// Copies what lies at `from` to the front of `to`; false where that is not within one chunk, or `to` has no room.
    pub fn copy_out(&self, from: u64, len: u32, to: &mut [u8]) -> bool {
        let Some(to) = to.get_mut(..len as usize) else { return false };
        self.place(from, to.len()).is_some_and(|at| self.mapping.copy_out(at, to))
    }

    /// Copies `from` to `to`; false where that is not within one chunk.
    pub fn copy_in(&self, from: &[u8], to: u64) -> bool {
        self.place(to, from.len()).is_some_and(|at| self.mapping.copy_in(at, from))
    }

    /// Where that is in the mapping, if it is within one chunk.
    fn place(&self, at: u64, len: usize) -> Option<usize> {
        let at = usize::try_from(at).ok()?;
        let chunk = self.chunk as usize;
        if (at & (chunk - 1)).checked_add(len)? > chunk || at / chunk >= self.count as usize {
            return None;
        }
        Some(at)
    }
}

fn invalid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let memory = Memory::new(2048, 4).unwrap();
        assert!(memory.copy_in(b"frame", 2048 + 256));
        let mut bytes = [0; 8];
        assert!(memory.copy_out(2048 + 256, 5, &mut bytes));
        assert_eq!(&bytes, b"frame\0\0\0");
    }

    #[test]
    fn what_is_not_within_one_chunk_is_refused() {
        let memory = Memory::new(2048, 4).unwrap();
        let mut bytes = [0; 4096];
        for (at, len) in [(0, 2049), (1, 2048), (2040, 9), (4 * 2048, 1), (u64::MAX, 1), (4 * 2048 - 1, 2)] {
            assert!(!memory.copy_out(at, len, &mut bytes), "{at} {len}");
            assert!(!memory.copy_in(&bytes[..len as usize], at), "{at} {len}");
        }
        assert!(memory.copy_out(3 * 2048, 2048, &mut bytes));
        assert!(!memory.copy_out(0, 9, &mut bytes[..8]));
    }

    #[test]
    fn chunks_that_cannot_be_are_refused() {
        for (chunk, count) in [(0, 4), (2048, 0), (2047, 4)] {
            assert!(Memory::new(chunk, count).is_err());
        }
    }
}
