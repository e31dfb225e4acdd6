//! Many datagrams per system call: `recvmmsg(2)` and `sendmmsg(2)` over frames.
//!
//! [`Incoming`] receives into frames of the pool and afterwards answers what came with each of them: length,
//! sender, control messages. [`Outgoing`] sends frames with a prefix (the vnet header), a destination and a
//! traffic class each; [`Trains`] sends frames of one size to one destination as one message that the kernel cuts
//! (`UDP_SEGMENT`); [`Gather`] sends messages of a prefix and many pieces. All hold the arrays that the kernel reads and writes, made once; a call allocates
//! nothing. Up to [`MESSAGES`] datagrams per call.
//!
//! Addresses and control messages are read as plain bytes: that part is safe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use control::Control;

mod address;
mod control;
mod gather;
mod incoming;
mod outgoing;
mod trains;

pub use address::Address;
pub use control::{ControlMessage, ControlMessages};
pub use gather::{Gather, Gathered, Prefix};
pub use incoming::{Incoming, Message};
pub use outgoing::{Datagram, Outgoing};
pub use trains::{TRAIN_BYTES, TRAIN_FRAMES, Train, Trains};

/// Most datagrams of one call.
pub const MESSAGES: usize = crate::buffer::BATCH_FRAMES;

/// Room for the control messages of one datagram: the most that is asked for is packet info, traffic class,
/// the loss counter and the segment size, 112 bytes.
const CONTROL_BYTES: usize = 128;

/// Points `message` at what is to be sent, at where to, and at the bytes of control messages in use. What it points at
/// has to stay where it is until the call that sends it has returned.
fn address(
    message: &mut libc::msghdr,
    parts: &mut [libc::iovec],
    to: Option<&mut Address>,
    control: Option<(&mut Control, usize)>,
) {
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = parts.len() as _;
    (message.msg_name, message.msg_namelen) = to.map_or((ptr::null_mut(), 0), |to| {
        let len = to.bytes().len() as libc::socklen_t;
        (to.room().as_mut_ptr().cast(), len)
    });
    (message.msg_control, message.msg_controllen) =
        control.map_or((ptr::null_mut(), 0), |(control, used)| (control.0.as_mut_ptr().cast(), used as _));
    message.msg_flags = 0;
}

/// Sends the first `count` messages of `headers`; never blocks. How many the kernel took, in order: fewer than given when
/// it refused the next one, and the next call then tells why.
///
/// # Errors
/// The kernel's reason to refuse the first.
///
/// # Safety
/// `headers` has `count` elements, and what each points at is readable for the lengths it states.
unsafe fn send(fd: BorrowedFd<'_>, headers: &mut [libc::mmsghdr], count: usize) -> io::Result<usize> {
    if count == 0 {
        return Ok(0);
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the caller vouches for the headers. The kernel writes to `msg_len` alone.
    let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count as _, flags as _) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
