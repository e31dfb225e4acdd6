//! A transmit ring: slots that are filled with frames, and sent by one system call (`PACKET_TX_RING`, `TPACKET_V2`).
//!
//! ```text
//!  slot: status ┼ length ┼ … 32 ┼ vnet header ┼ the frame
//!   available ─► filled, "send" ─► the call: the kernel makes a packet of it ─► available
//!                     └ refused: says so, and neither it nor what follows is sent: all are taken back
//! ```
//! The kernel goes through the slots in their order and stops at the first that it does not send, where it goes on with the
//! next call. So slots that were not sent are filled anew, from that one on.
//!
//! # Invariants
//! 1. `memory` has [`SLOTS`] slots of `slot_bytes` each.
//! 2. The kernel reads a slot, its status word apart, only while that word says "send" or "being sent"; it says so from our
//!    store of "send", or until the kernel has stored something else. A slot is written to only when its word says
//!    "available", as loaded or stored by us just before.
//! 3. `head` is below [`SLOTS`]: the slot at which the kernel goes on.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::mapping::Mapping;
use crate::sys::packet_socket::{PacketSocket, RingVersion};
use crate::sys::socket;
use crate::sys::vnet::{VNET_LEN, VnetHeader};

/// Slots: those of a batch, and some that a card has not sent yet.
const SLOTS: usize = 256;
/// Least bytes of a slot.
const LEAST: usize = 2048;
/// Bytes of the memory's blocks, each of which is contiguous; and most of a slot.
const BLOCK_BYTES: usize = 1 << 16;

/// What the kernel is to copy of a frame: as much as its vnet header counts as headers. It pins the pages of the rest, which
/// for the frames of most interfaces costs more than to copy them whole.
const COPIED_BYTES: usize = 2048;

/// Where the parts of a slot stand (`struct tpacket2_hdr`): status word, length, vnet header; behind it the frame.
const STATUS_AT: usize = 0;
const LENGTH_AT: usize = 4;
const VNET_AT: usize = 32;
const FRAME_AT: usize = VNET_AT + VNET_LEN;

/// What a status word says.
const AVAILABLE: u32 = libc::TP_STATUS_AVAILABLE;
const SEND: u32 = libc::TP_STATUS_SEND_REQUEST;
const REFUSED: u32 = libc::TP_STATUS_WRONG_FORMAT;

/// The ring, and its socket.
#[derive(Debug)]
pub struct TransmitRing {
    socket: PacketSocket,
    memory: Mapping,
    slot_bytes: usize,
    /// The longest frame: unlike a message, the kernel sends one that is longer than the interface takes, and it is lost.
    frame_bytes: usize,
    head: usize,
}

impl TransmitRing {
    /// A ring that sends through the interface of that index, in the current namespace, frames of up to `frame_bytes`,
    /// which is what the interface takes, and of somewhat less than 64 KiB.
    ///
    /// # Errors
    /// The kernel has no such rings, or no memory; a capability is missing.
    pub fn open(index: u32, frame_bytes: usize) -> io::Result<Self> {
        let frame_bytes = frame_bytes.min(BLOCK_BYTES - FRAME_AT);
        let slot_bytes = (FRAME_AT + frame_bytes).next_power_of_two().max(LEAST);
        let socket = PacketSocket::open()?;
        socket.set_ring_version(RingVersion::V2)?;
        let len = SLOTS * slot_bytes;
        // struct tpacket_req: size and number of blocks, size and number of frames.
        let wanted = [BLOCK_BYTES, len / BLOCK_BYTES, slot_bytes, SLOTS];
        let mut request = [0; 16];
        for (to, from) in request.chunks_exact_mut(4).zip(wanted) {
            to.copy_from_slice(&(from as u32).to_ne_bytes());
        }
        socket::set_bytes(socket.as_fd(), libc::SOL_PACKET, libc::PACKET_TX_RING, &request)?;
        let memory = Mapping::of(socket.as_fd(), 0, len)?;
        socket.bind_to_send(index)?;
        Ok(Self { socket, memory, slot_bytes, frame_bytes, head: 0 })
    }

    /// Bytes of the longest frame that may be sent.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Sends the first of `frames`, as many as there is room for; never blocks. How many the kernel took, in order: fewer
    /// than given when there was no room or it refused the next one, and the next call then tells why.
    ///
    /// # Errors
    /// The kernel's reason to refuse the first; `EAGAIN` where there is no room for it.
    pub fn send<'a>(&mut self, frames: impl Iterator<Item = (VnetHeader, &'a [u8])>) -> io::Result<usize> {
        let mut filled = 0;
        for (vnet, bytes) in frames.take(SLOTS) {
            if !self.fill(filled, vnet, bytes) {
                break;
            }
            filled += 1;
        }
        if filled == 0 {
            return Err(no_room());
        }
        // SAFETY: no message but what the ring holds; the call takes numbers and null pointers.
        let called = unsafe {
            let (fd, flags) = (self.socket.as_fd().as_raw_fd(), libc::MSG_DONTWAIT);
            libc::sendto(fd, std::ptr::null(), 0, flags, std::ptr::null(), 0)
        };
        let error = (called < 0).then(io::Error::last_os_error);
        let taken = self.take_back(filled);
        match error {
            Some(error) if taken == 0 => Err(error),
            None if taken == 0 => Err(no_room()),
            _ => Ok(taken),
        }
    }

    /// The status word of the slot `ahead` of the head.
    fn status(&self, ahead: usize) -> Option<&AtomicU32> {
        self.memory.number(self.offset(ahead) + STATUS_AT)
    }

    fn offset(&self, ahead: usize) -> usize {
        (self.head + ahead) % SLOTS * self.slot_bytes
    }

    /// Fills the slot `ahead` of the head, if it is free and the frame fits.
    fn fill(&mut self, ahead: usize, vnet: VnetHeader, bytes: &[u8]) -> bool {
        // Acquire: the kernel is done with what the slot held.
        let is_free = self.status(ahead).is_some_and(|status| status.load(Ordering::Acquire) == AVAILABLE);
        if !is_free || bytes.len() > self.frame_bytes {
            return false;
        }
        let [flags, kind, _, _, s0, s1, c0, c1, o0, o1] = vnet;
        let [h0, h1] = (bytes.len().min(COPIED_BYTES) as u16).to_ne_bytes();
        let vnet = [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1];
        let length = ((VNET_LEN + bytes.len()) as u32).to_ne_bytes();
        let parts: [(usize, &[u8]); 3] = [(LENGTH_AT, &length), (VNET_AT, &vnet), (FRAME_AT, bytes)];
        let slot = self.offset(ahead);
        let whole = parts.iter().all(|(at, part)| self.memory.copy_in(slot + at, part));
        if whole && let Some(status) = self.status(ahead) {
            // Release: what was filled in is there for whoever sees the word.
            status.store(SEND, Ordering::Release);
        }
        whole
    }

    /// Frees the slots that were not sent, and goes on behind those that were: how many.
    fn take_back(&mut self, filled: usize) -> usize {
        let waits = |status: &AtomicU32| matches!(status.load(Ordering::Acquire), SEND | REFUSED);
        let taken =
            (0..filled).take_while(|&ahead| self.status(ahead).is_some_and(|word| !waits(word))).count();
        for ahead in taken..filled {
            if let Some(status) = self.status(ahead) {
                status.store(AVAILABLE, Ordering::Release);
            }
        }
        self.head = (self.head + taken) % SLOTS;
        taken
    }
}

fn no_room() -> io::Error {
    io::Error::from_raw_os_error(libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::netlink::Netlink;
    use crate::sys::netns::Netns;

    /// A ring on the loopback of a namespace of its own; `None`, said aloud, where there may be none.
    fn ring() -> Option<TransmitRing> {
        let open = || {
            let netlink = Netlink::open()?;
            let link = netlink.link("lo")?.ok_or(io::ErrorKind::NotFound)?;
            netlink.set_up(link.index, true)?;
            TransmitRing::open(link.index, 1514)
        };
        match Netns::run_in_new(open) {
            Ok(ring) => Some(ring.unwrap()),
            Err(error) => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "namespaces are needed under CI: {error}"
                );
                println!("skipped: no right to make a network namespace ({error})");
                None
            }
        }
    }

    fn frames(count: usize) -> impl Iterator<Item = (VnetHeader, &'static [u8])> {
        std::iter::repeat_n(([0; VNET_LEN], &[0x02; 60][..]), count)
    }

    #[test]
    fn what_the_interface_still_holds_is_room_for_nobody() {
        let Some(mut ring) = ring() else { return };
        assert_eq!(ring.send(frames(10)).unwrap(), 10);
        let hold =
            |ring: &TransmitRing, ahead, word| ring.status(ahead).unwrap().store(word, Ordering::Release);
        hold(&ring, 3, libc::TP_STATUS_SENDING);
        assert_eq!(ring.send(frames(10)).unwrap(), 3);
        let error = ring.send(frames(10)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        hold(&ring, 0, AVAILABLE);
        assert_eq!(ring.send(frames(10)).unwrap(), 10);
    }

    #[test]
    fn no_more_than_all_slots_are_filled_and_the_next_call_goes_on() {
        let Some(mut ring) = ring() else { return };
        for _ in 0..5 {
            assert_eq!(ring.send(frames(SLOTS + 100)).unwrap(), SLOTS);
            assert_eq!(ring.send(frames(100)).unwrap(), 100);
        }
        assert_eq!(ring.send(frames(0)).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        assert_eq!(ring.frame_bytes(), 1514);
    }
}
