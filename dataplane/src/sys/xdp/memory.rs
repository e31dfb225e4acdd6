//! Memory shared with the kernel: mappings, and the chunks that frames lie in.
//!
//! # Invariants
//! 1. `base` is the start of a mapping of `len` bytes, readable and writable, that is this value's alone and lives as long
//!    as it.
//! 2. No reference to the bytes of a mapping that the kernel writes into is ever made: they are copied through pointers,
//!    or are atomics.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

/// A mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and to this value alone (1).
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `len` bytes of a descriptor.
    pub(super) fn of(fd: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(|_| invalid())?;
        Self::map(len, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    /// `len` bytes of fresh memory, zero.
    pub(super) fn fresh(len: usize, flags: libc::c_int) -> io::Result<Self> {
        Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags, -1, 0)
    }

    fn map(len: usize, flags: libc::c_int, fd: libc::c_int, offset: libc::off_t) -> io::Result<Self> {
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: at an address of the kernel's choice, so that nothing that exists is mapped over.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, rights, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(invalid)?;
        Ok(Self { base, len })
    }

    /// The address of `len` bytes from `offset`, where the mapping has them.
    fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` is within the mapping, or right behind it.
        Some(unsafe { self.base.add(offset) })
    }

    /// The number at `offset`, which both sides may read and write.
    pub(super) fn number(&self, offset: usize) -> Option<&AtomicU32> {
        let at = self.at(offset, size_of::<AtomicU32>())?.cast::<u32>();
        if !at.is_aligned() {
            return None;
        }
        // SAFETY: aligned, inside a mapping that outlives the reference (1), and only ever used as an atomic (2).
        Some(unsafe { AtomicU32::from_ptr(at.as_ptr()) })
    }

    /// Reads an entry.
    pub(super) fn read<T: Plain>(&self, offset: usize) -> Option<T> {
        let at = self.at(offset, size_of::<T>())?.cast::<T>();
        // SAFETY: inside the mapping (1); any bytes are a `T`, and it need not be aligned.
        Some(unsafe { at.read_unaligned() })
    }

    /// Writes an entry; false where it would be outside.
    pub(super) fn write<T: Plain>(&self, offset: usize, value: T) -> bool {
        let Some(at) = self.at(offset, size_of::<T>()) else { return false };
        // SAFETY: inside the mapping (1), of which no reference to plain bytes exists (2); it need not be aligned.
        unsafe { at.cast::<T>().write_unaligned(value) };
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this mapping is ours alone (1), and nobody can use it after its owner.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Numbers and structures of them without padding: any bytes are one.
///
/// # Safety
/// That is so.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: a number.
unsafe impl Plain for u64 {}

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
        // A kernel without them goes on with small pages.
        // SAFETY: advice about a mapping that is ours; it changes nothing of its contents.
        unsafe { libc::madvise(mapping.base.as_ptr().cast(), mapping.len, libc::MADV_HUGEPAGE) };
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
        (self.mapping.base, u64::from(self.chunk) * u64::from(self.count))
    }

    /// Copies what lies at `from` to the front of `to`; false where that is not within one chunk, or `to` has no room.
    pub fn copy_out(&self, from: u64, len: u32, to: &mut [u8]) -> bool {
        let Some(to) = to.get_mut(..len as usize) else { return false };
        let Some(at) = self.place(from, to.len()) else { return false };
        // SAFETY: `to.len()` bytes at `at` are inside the mapping, and `to`, which is a reference, is not of it (2). A
        // kernel that still wrote there could at worst change what the bytes are, and any bytes are some.
        unsafe { std::ptr::copy_nonoverlapping(at.as_ptr(), to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies `from` to `to`; false where that is not within one chunk.
    pub fn copy_in(&self, from: &[u8], to: u64) -> bool {
        let Some(at) = self.place(to, from.len()) else { return false };
        // SAFETY: as above, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), at.as_ptr(), from.len()) };
        true
    }

    fn place(&self, at: u64, len: usize) -> Option<NonNull<u8>> {
        let at = usize::try_from(at).ok()?;
        let chunk = self.chunk as usize;
        if (at & (chunk - 1)).checked_add(len)? > chunk || at / chunk >= self.count as usize {
            return None;
        }
        self.mapping.at(at, len)
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
