//! `sendmmsg(2)` of messages that are gathered from many places: a prefix of their own, then bytes of several frames.
//!
//! # Invariants
//! 1. The arrays have [`MESSAGES`] (iovecs: times [`PARTS`]) elements and are never moved or resized while the kernel reads
//!    them.
//! 2. Pointers in `headers` and `iovecs` are written at the start of each call and dereferenced only by the
//!    kernel, within that call; between calls they dangle and nobody looks at them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::{mem, ptr};

use super::{MESSAGES, TRAIN_FRAMES};

/// Most bytes of a prefix: a vnet header, and Ethernet, IPv6 and UDP.
pub(super) const PREFIX_BYTES: usize = 10 + 14 + 40 + 8;

/// The prefix and the frames.
const PARTS: usize = 1 + TRAIN_FRAMES;

/// What goes in front of a message's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Prefix {
    bytes: [u8; PREFIX_BYTES],
    len: usize,
}

impl Prefix {
    /// Of these pieces, one after the other, cut where one must end (72 bytes).
    pub fn new(pieces: &[&[u8]]) -> Self {
        let mut bytes = [0; PREFIX_BYTES];
        let all = pieces.iter().copied().flatten();
        let len = bytes.iter_mut().zip(all).map(|(to, from)| *to = *from).count();
        Self { bytes, len }
    }
}

/// A message to be sent.
#[derive(Debug, Clone)]
pub struct Gathered<I> {
    /// Its first bytes.
    pub prefix: Prefix,
    /// The others, in up to [`TRAIN_FRAMES`] pieces; more are left out.
    pub pieces: I,
}

/// The arrays of one sender.
pub struct Gather {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    prefixes: Box<[[u8; PREFIX_BYTES]]>,
}

// SAFETY: by invariant 2 the raw pointers inside mean nothing between calls; all else is plain memory.
unsafe impl Send for Gather {}

impl Gather {
    /// Makes the arrays.
    pub fn new() -> Self {
        // SAFETY: all-zero is a valid `mmsghdr`: numbers and null pointers.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![header; MESSAGES].into_boxed_slice(),
            iovecs: vec![iovec; MESSAGES * PARTS].into_boxed_slice(),
            prefixes: vec![[0; PREFIX_BYTES]; MESSAGES].into_boxed_slice(),
        }
    }

    /// Sends the first [`MESSAGES`] of `messages`; never blocks. How many the kernel took, in order: fewer than given when
    /// it refused the next one, and the next call then tells why. A message is taken whole or not at all.
    ///
    /// # Errors
    /// The kernel's reason to refuse the first.
    pub fn send<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        fd: BorrowedFd<'_>,
        messages: impl Iterator<Item = Gathered<I>>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let slots = self.headers.iter_mut().zip(self.iovecs.chunks_mut(PARTS)).zip(&mut self.prefixes);
        for (((header, iovecs), prefix), message) in slots.zip(messages) {
            *prefix = message.prefix.bytes;
            let Some((first, others)) = iovecs.split_first_mut() else { break };
            first.iov_base = prefix.as_mut_ptr().cast();
            first.iov_len = message.prefix.len.min(PREFIX_BYTES);
            let mut parts = 1_usize;
            for (iovec, bytes) in others.iter_mut().zip(message.pieces) {
                iovec.iov_base = bytes.as_ptr().cast_mut().cast();
                iovec.iov_len = bytes.len();
                parts += 1;
            }
            super::address(&mut header.msg_hdr, iovecs.get_mut(..parts).unwrap_or_default(), None, None);
            count += 1;
        }
        // SAFETY: each of the `count` headers is of `self` and points to memory that is readable for the lengths it
        // states: arrays of `self` (invariant 1) and bytes that outlive the call by `'a`.
        unsafe { super::send(fd, &mut self.headers, count) }
    }
}

impl Default for Gather {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    #[test]
    fn a_message_is_its_prefix_and_then_its_pieces() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let pieces: [&[u8]; 3] = [b"one", b"", b"three"];
        let messages = [
            Gathered { prefix: Prefix::new(&[b"<", b"-"]), pieces: pieces.iter().copied() },
            Gathered { prefix: Prefix::new(&[]), pieces: pieces.iter().copied() },
        ];
        assert_eq!(Gather::new().send(sender.as_fd(), messages.into_iter()).unwrap(), 2);
        let mut buffer = [0; 64];
        for expected in [&b"<-onethree"[..], b"onethree"] {
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
    }
}
