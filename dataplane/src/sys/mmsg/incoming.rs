//! `recvmmsg(2)` into frames.
//!
//! # Invariants
//! 1. The four arrays have [`MESSAGES`] elements and are never moved or resized while the kernel reads them.
//! 2. Pointers in `headers` and `iovecs` are written at the start of each call and dereferenced only by the
//!    kernel, within that call; between calls they dangle and nobody looks at them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{mem, ptr};

use super::address::Address;
use super::control::{Control, ControlMessages};
use super::{CONTROL_BYTES, MESSAGES};
use crate::buffer::Frame;

/// The arrays of one receiver.
pub struct Incoming {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    addresses: Box<[Address]>,
    control: Box<[Control]>,
}

// SAFETY: by invariant 2 the raw pointers inside mean nothing between calls; all else is plain memory.
unsafe impl Send for Incoming {}

/// What came with one datagram.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// Bytes written to the frame.
    pub len: usize,
    /// The datagram was longer than the frame.
    pub truncated: bool,
    /// Who sent it; unspecified for packet sockets.
    pub from: &'a Address,
    /// Its control messages.
    pub control: ControlMessages<'a>,
}

impl Incoming {
    /// Makes the arrays.
    pub fn new() -> Self {
        // SAFETY: all-zero is a valid `mmsghdr`: numbers and null pointers.
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            headers: vec![header; MESSAGES].into_boxed_slice(),
            iovecs: vec![iovec; MESSAGES].into_boxed_slice(),
            addresses: vec![Address::default(); MESSAGES].into_boxed_slice(),
            control: vec![Control::EMPTY; MESSAGES].into_boxed_slice(),
        }
    }

    /// Receives into the writable memory of `frames`, which are empty, [`MESSAGES`] at the most; never
    /// blocks. How many came; [`Incoming::message`] tells about each. Leaves the frames' lengths alone.
    ///
    /// # Errors
    /// The kernel's; `WouldBlock` where nothing is there.
    pub fn recv(&mut self, fd: BorrowedFd<'_>, frames: &mut [Frame]) -> io::Result<usize> {
        let count = frames.len().min(MESSAGES);
        let slots =
            self.headers.iter_mut().zip(&mut self.iovecs).zip(&mut self.addresses).zip(&mut self.control);
        for ((((header, iovec), address), control), frame) in slots.zip(frames.iter_mut()) {
            let room = frame.writable();
            iovec.iov_len = room.len();
            iovec.iov_base = room.as_mut_ptr().cast();
            let message = &mut header.msg_hdr;
            message.msg_name = address.room().as_mut_ptr().cast();
            message.msg_namelen = Address::ROOM as libc::socklen_t;
            message.msg_iov = ptr::from_mut(iovec);
            message.msg_iovlen = 1;
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = CONTROL_BYTES as _;
            message.msg_flags = 0;
        }
        // SAFETY: the first `count` headers point to memory that is writable for the lengths they state: iovecs,
        // addresses and control memory of `self` (invariant 1) and the frames borrowed for this call.
        let got = unsafe {
            libc::recvmmsg(
                fd.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let Ok(got) = usize::try_from(got) else { return Err(io::Error::last_os_error()) };
        for (header, address) in self.headers.iter().zip(&mut self.addresses).take(got) {
            address.set_len(header.msg_hdr.msg_namelen as usize);
        }
        Ok(got)
    }

    /// What came with the datagram at `index` of the last call.
    pub fn message(&self, index: usize) -> Option<Message<'_>> {
        let header = self.headers.get(index)?;
        #[allow(clippy::unnecessary_cast, reason = "32 bits with musl")]
        let control_len = header.msg_hdr.msg_controllen as usize;
        let control = self.control.get(index)?.0.get(..control_len);
        Some(Message {
            len: header.msg_len as usize,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from: self.addresses.get(index)?,
            control: ControlMessages::new(control.unwrap_or_default()),
        })
    }
}

impl Default for Incoming {
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
    fn datagrams_land_in_frames_with_their_sender() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut incoming = Incoming::new();
        let mut frames: Vec<_> = (0..4).map(|_| Frame::new()).collect();
        let empty = incoming.recv(receiver.as_fd(), &mut frames).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);

        for text in ["one", "", "three"] {
            sender.send_to(text.as_bytes(), receiver.local_addr().unwrap()).unwrap();
        }
        assert_eq!(incoming.recv(receiver.as_fd(), &mut frames).unwrap(), 3);
        for (index, text) in ["one", "", "three"].into_iter().enumerate() {
            let message = incoming.message(index).unwrap();
            assert_eq!(message.from.socket_addr(), Some(sender.local_addr().unwrap()));
            assert!(!message.truncated);
            assert_eq!(message.control.count(), 0);
            frames[index].set_len(message.len);
            assert_eq!(frames[index].bytes(), text.as_bytes());
        }
    }

    #[test]
    fn more_frames_than_the_arrays_hold_are_not_touched() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut frames: Vec<_> = (0..=MESSAGES).map(|_| Frame::new()).collect();
        receiver.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        assert_eq!(Incoming::new().recv(receiver.as_fd(), &mut frames).unwrap(), 1);
    }
}
