//! `sendmmsg(2)` from frames.
//!
//! # Invariants
//! 1. The arrays have [`MESSAGES`] elements and are never moved or resized while the kernel reads them.
//! 2. Pointers in `headers` and `iovecs` are written at the start of each call and dereferenced only by the
//!    kernel, within that call; between calls they dangle and nobody looks at them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::{mem, ptr};

use super::MESSAGES;
use super::address::Address;
use super::control::Control;
use crate::sys::vnet::{VNET_LEN, VnetHeader};

/// One datagram to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// What goes before the bytes: the vnet header on packet sockets.
    pub prefix: Option<VnetHeader>,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Where to, unless the socket knows.
    pub to: Option<Address>,
    /// Traffic class: level, kind and value of the control message that sets it.
    pub class: Option<(i32, i32, u8)>,
}

/// The arrays of one sender.
pub struct Outgoing {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[[libc::iovec; 2]]>,
    prefixes: Box<[VnetHeader]>,
    addresses: Box<[Address]>,
    control: Box<[Control]>,
}

// SAFETY: by invariant 2 the raw pointers inside mean nothing between calls; all else is plain memory.
unsafe impl Send for Outgoing {}

impl Outgoing {
    /// Makes the arrays.
    pub fn new() -> Self {
        // SAFETY: all-zero is a valid `mmsghdr`: numbers and null pointers.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![header; MESSAGES].into_boxed_slice(),
            iovecs: vec![[iovec; 2]; MESSAGES].into_boxed_slice(),
            prefixes: vec![[0; VNET_LEN]; MESSAGES].into_boxed_slice(),
            addresses: vec![Address::default(); MESSAGES].into_boxed_slice(),
            control: vec![Control::EMPTY; MESSAGES].into_boxed_slice(),
        }
    }

    /// Sends the first [`MESSAGES`] of `datagrams`; never blocks. How many the kernel took, in order: fewer
    /// than given when it refused the next one, and the next call then tells why.
    ///
    /// # Errors
    /// The kernel's reason to refuse the first datagram.
    pub fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = Datagram<'a>>,
    ) -> io::Result<usize> {
        let mut count = 0;
        let slots = self
            .headers
            .iter_mut()
            .zip(&mut self.iovecs)
            .zip(&mut self.prefixes)
            .zip(&mut self.addresses)
            .zip(&mut self.control);
        for (((((header, iovecs), prefix), address), control), datagram) in slots.zip(datagrams) {
            let [first, second] = &mut *iovecs;
            if let Some(bytes) = datagram.prefix {
                *prefix = bytes;
            }
            first.iov_base = prefix.as_mut_ptr().cast();
            first.iov_len = datagram.prefix.map_or(0, |prefix| prefix.len());
            second.iov_base = datagram.bytes.as_ptr().cast_mut().cast();
            second.iov_len = datagram.bytes.len();

            let to = datagram.to.map(|to| {
                *address = to;
                &mut *address
            });
            let control = datagram.class.map(|(level, kind, value)| {
                let used = control.write_int(level, kind, i32::from(value));
                (control, used)
            });
            super::address(&mut header.msg_hdr, iovecs, to, control);
            count += 1;
        }
        // SAFETY: each of the `count` headers is of `self` and points to memory that is readable for the lengths it
        // states: arrays of `self` (invariant 1) and bytes that outlive the call by `'a`.
        unsafe { super::send(fd, &mut self.headers, count) }
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    fn plain(bytes: &[u8], to: Address) -> Datagram<'_> {
        Datagram { prefix: None, bytes, to: Some(to), class: Some((libc::IPPROTO_IP, libc::IP_TOS, 0xb8)) }
    }

    #[test]
    fn datagrams_leave_in_order_with_their_prefix() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Address::new(receiver.local_addr().unwrap());
        let datagrams = [plain(b"one", to), Datagram { prefix: Some([b'-'; VNET_LEN]), ..plain(b"two", to) }];
        assert_eq!(Outgoing::new().send(sender.as_fd(), datagrams.into_iter()).unwrap(), 2);
        let mut buffer = [0; 64];
        for expected in [&b"one"[..], b"----------two"] {
            let len = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..len], expected);
        }
    }

    #[test]
    fn a_refused_datagram_stops_the_call_and_the_next_call_says_why() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Address::new(receiver.local_addr().unwrap());
        let huge = vec![0; 65_535];
        let datagrams = [plain(b"one", to), plain(&huge, to), plain(b"three", to)];
        let mut outgoing = Outgoing::new();
        assert_eq!(outgoing.send(sender.as_fd(), datagrams.into_iter()).unwrap(), 1);
        let error = outgoing.send(sender.as_fd(), datagrams.into_iter().skip(1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        assert_eq!(outgoing.send(sender.as_fd(), datagrams.into_iter().skip(2)).unwrap(), 1);
    }
}
