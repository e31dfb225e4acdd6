//! Memory that is shared with the kernel: mappings of descriptors, and fresh ones that the kernel is told of.
//!
//! # Invariants
//! 1. `base` is the start of a mapping of `len` bytes, readable and writable, that is this value's alone and lives as long
//!    as it. It begins at a page.
//! 2. No reference to bytes that the kernel may write to meanwhile is made: they are copied through pointers, or are atomics.
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
    pub(super) fn at(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
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

    /// Copies the bytes at `offset` to all of `to`; false where they would be outside.
    pub(super) fn copy_out(&self, offset: usize, to: &mut [u8]) -> bool {
        let Some(at) = self.at(offset, to.len()) else { return false };
        // SAFETY: the bytes are inside the mapping (1), and `to`, which is a reference, is not of it (2). A kernel that still
        // wrote there could at worst change what the bytes are, and any bytes are some.
        unsafe { std::ptr::copy_nonoverlapping(at.as_ptr(), to.as_mut_ptr(), to.len()) };
        true
    }

    /// Copies `from` to `offset`; false where that would be outside.
    pub(super) fn copy_in(&self, offset: usize, from: &[u8]) -> bool {
        let Some(at) = self.at(offset, from.len()) else { return false };
        // SAFETY: as above, the other way round.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), at.as_ptr(), from.len()) };
        true
    }

    /// Where it begins.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Has it lie on huge pages, if the kernel can make some.
    pub(super) fn wish_for_huge_pages(&self) {
        // A kernel without them goes on with small pages.
        // SAFETY: advice about a mapping that is ours; it changes nothing of its contents.
        unsafe { libc::madvise(self.base.as_ptr().cast(), self.len, libc::MADV_HUGEPAGE) };
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

fn invalid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidInput)
}
