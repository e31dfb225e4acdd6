//! A ring's memory: mapped with the ring's making, unmapped with its end.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};

use crate::sys::packet_socket::PacketSocket;

/// The ring of a packet socket as it lies in memory.
///
/// # Invariant
/// `start` begins a mapping of `len` bytes, readable, writable and page-aligned, from [`Memory::map`] to the drop.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is its owner's alone, and nothing in it is tied to a thread.
unsafe impl Send for Memory {}

impl Memory {
    /// Maps the one ring that the socket has, of `len` bytes.
    pub(super) fn map(of: &PacketSocket, len: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let fd = of.as_fd().as_raw_fd();
        // SAFETY: a new mapping of the ring, wherever the kernel likes; nothing that exists is touched.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// The address `offset` bytes into it, if `bytes` from there on lie in it.
    pub(super) fn at(&self, offset: usize, bytes: usize) -> Option<*mut u8> {
        let end = offset.checked_add(bytes)?;
        (end <= self.len).then(|| self.start.as_ptr().wrapping_add(offset))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: by the invariant the mapping is there, and with its owner its last user is gone.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
