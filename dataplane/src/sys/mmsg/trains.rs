//! `sendmmsg(2)` of trains: datagrams of one size to one destination as one message, which the kernel cuts again as
//! late as it can (`UDP_SEGMENT`, udp(7)).
//!
//! ```text
//!  frames   1458 1458 1458 … 1458 300      one message: one iovec each, segment size 1458
//!  wire     one datagram each              (or none before the receiving socket, where nobody needs them apart)
//! ```
//! One trip through the network stack for up to [`TRAIN_FRAMES`] datagrams. What it earns is in the `lab bench`
//! of a TCP stream between nodes.
//!
//! # Invariants
//! 1. The arrays have [`MESSAGES`] (iovecs: times [`TRAIN_FRAMES`]) elements and are never moved or resized while the
//!    kernel reads them.
//! 2. Pointers in `headers` and `iovecs` are written at the start of each call and dereferenced only by the
//!    kernel, within that call; between calls they dangle and nobody looks at them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::{mem, ptr};

use super::MESSAGES;
use super::address::Address;
use super::control::Control;

/// Most frames of a train: what every kernel with `UDP_SEGMENT` takes (`UDP_MAX_SEGMENTS`, 64 before Linux 6.9).
pub const TRAIN_FRAMES: usize = 64;

/// Most bytes of a train: the largest UDP payload over IPv4.
pub const TRAIN_BYTES: usize = 65_507;

/// Frames of equal length, the last of which may be shorter, to one destination.
#[derive(Debug, Clone)]
pub struct Train<I> {
    /// Where to.
    pub to: Address,
    /// Traffic class: level, kind and value of the control message that sets it.
    pub class: (i32, i32, u8),
    /// Length of the first frame.
    pub segment: u16,
    /// The frames, [`TRAIN_FRAMES`] at the most; more are left out.
    pub frames: I,
}

/// The arrays of one sender.
pub struct Trains {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    addresses: Box<[Address]>,
    control: Box<[Control]>,
}

// SAFETY: by invariant 2 the raw pointers inside mean nothing between calls; all else is plain memory.
unsafe impl Send for Trains {}

impl Trains {
    /// Makes the arrays.
    pub fn new() -> Self {
        // SAFETY: all-zero is a valid `mmsghdr`: numbers and null pointers.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![header; MESSAGES].into_boxed_slice(),
            iovecs: vec![iovec; MESSAGES * TRAIN_FRAMES].into_boxed_slice(),
            addresses: vec![Address::default(); MESSAGES].into_boxed_slice(),
            control: vec![Control::EMPTY; MESSAGES].into_boxed_slice(),
        }
    }

    /// Sends the first [`MESSAGES`] of `trains`; never blocks. How many trains the kernel took, in order: fewer than
    /// given when it refused the next one, and the next call then tells why. A train is taken whole or not at all.
    ///
    /// # Errors
    /// The kernel's reason to refuse the first train.
    pub fn send<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        fd: BorrowedFd<'_>,
        trains: impl Iterator<Item = Train<I>>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let slots = self
            .headers
            .iter_mut()
            .zip(self.iovecs.chunks_mut(TRAIN_FRAMES))
            .zip(&mut self.addresses)
            .zip(&mut self.control);
        for ((((header, iovecs), address), control), train) in slots.zip(trains) {
            let mut frames = 0_usize;
            for (iovec, bytes) in iovecs.iter_mut().zip(train.frames) {
                iovec.iov_base = bytes.as_ptr().cast_mut().cast();
                iovec.iov_len = bytes.len();
                frames += 1;
            }
            *address = train.to;
            let (level, kind, value) = train.class;
            let mut used = control.write_int(level, kind, i32::from(value));
            if frames > 1 {
                used = control.write(used, libc::SOL_UDP, libc::UDP_SEGMENT, &train.segment.to_ne_bytes());
            }
            let parts = iovecs.get_mut(..frames).unwrap_or_default();
            super::address(&mut header.msg_hdr, parts, Some(address), Some((control, used)));
            count += 1;
        }
        // SAFETY: each of the `count` headers is of `self` and points to memory that is readable for the lengths it
        // states: arrays of `self` (invariant 1) and bytes that outlive the call by `'a`.
        unsafe { super::send(fd, &mut self.headers, count) }
    }
}

impl Default for Trains {
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
    fn a_train_arrives_as_the_datagrams_it_was_made_of() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Address::new(receiver.local_addr().unwrap());
        let class = (libc::IPPROTO_IP, libc::IP_TOS, 0xb8);
        let frames: [&[u8]; 3] = [b"abc", b"def", b"g"];
        let single: [&[u8]; 1] = [b"alone"];
        let trains = [
            Train { to, class, segment: 3, frames: frames.iter().copied() },
            Train { to, class, segment: 5, frames: single.iter().copied() },
        ];
        assert_eq!(Trains::new().send(sender.as_fd(), trains.into_iter()).unwrap(), 2);
        let mut buffer = [0; 64];
        for expected in [&b"abc"[..], b"def", b"g", b"alone"] {
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
    }
}
