//! A receive ring: blocks of memory that the kernel fills with frames and hands over whole (`TPACKET_V3`).
//!
//! ```text
//!  block 0 … block 63, 128 KiB each
//!  ├ status, count, offset of the first ┼ frame: header 48 ┼ vnet header ┼ bytes ┼ next frame … ┤
//!            └ the kernel's ─► full, or a millisecond after its first frame ─► ours ─► given back ┘
//! ```
//! No system call and no copy by the receiver but that into its own memory. A frame of up to 64 KiB fits a block; nothing is
//! cut off but what is longer still. Where all blocks are ours or waiting the kernel drops and counts.
//!
//! A block that is not full is handed over all the same when its time is up, so a ring of few frames a millisecond holds as
//! many milliseconds as it has blocks, not as many frames as fit: blocks are as small as one super-packet and its share
//! allow.
//!
//! # Invariants
//! 1. `memory` has `BLOCKS * BLOCK_BYTES` bytes.
//! 2. The kernel writes to a block, its status word apart, only while that word says it is the kernel's. It hands a block
//!    over by a store that is released to us; we hand it back by the store in `ReceiveRing::give_back`, which borrows the
//!    ring mutably, so that no slice of the block is left.
//! 3. `block` is below `BLOCKS`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::mapping::Mapping;
use crate::sys::packet_socket::{PacketSocket, RingVersion, VlanTag, vlan_tag};
use crate::sys::socket;
use crate::sys::vnet::{VNET_LEN, VnetHeader};

/// Bytes of a block: a super-packet of the longest, or two of those that weir has pods make.
const BLOCK_BYTES: usize = 128 << 10;
const BLOCKS: usize = 64;
const RING_BYTES: usize = BLOCK_BYTES * BLOCKS;

/// Milliseconds after which a block is handed over that is not full: the least that is not "as the kernel likes".
const RETIRE_MILLISECONDS: u32 = 1;

/// Where the status word of a block stands, and what it says of a block that is ours.
const STATUS_AT: usize = 8;
const OURS: u32 = libc::TP_STATUS_USER;

/// `struct tpacket3_hdr`.
const HEADER_BYTES: usize = 48;

/// The ring.
#[derive(Debug)]
pub struct ReceiveRing {
    memory: Mapping,
    block: usize,
    /// Frames left in the block, and where the next one begins; none while the block is the kernel's.
    current: Option<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    left: u32,
    offset: usize,
    /// The kernel says of the block that it has dropped frames.
    losing: bool,
}

/// A frame in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot<'a> {
    /// Its vnet header.
    pub vnet: VnetHeader,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The VLAN tag that the kernel took out of it.
    pub vlan: Option<VlanTag>,
    /// Not all of it is there.
    pub truncated: bool,
    /// Frames have been dropped since the losses were last asked for.
    pub losing: bool,
}

impl ReceiveRing {
    /// Gives a socket, which has asked for vnet headers and is not bound yet, a ring to receive by.
    ///
    /// # Errors
    /// The kernel has no rings of this version, or no memory.
    pub fn new(of: &PacketSocket) -> io::Result<Self> {
        of.set_ring_version(RingVersion::V3)?;
        // struct tpacket_req3: size and number of blocks, size and number of frames (here without meaning, but they have
        // to agree), retirement, private bytes, features.
        let wanted =
            [BLOCK_BYTES as u32, BLOCKS as u32, 2048, (RING_BYTES / 2048) as u32, RETIRE_MILLISECONDS, 0, 0];
        let mut request = [0; 28];
        for (to, from) in request.chunks_exact_mut(4).zip(wanted) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        socket::set_bytes(of.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let memory = Mapping::of(of.as_fd(), 0, RING_BYTES)?;
        Ok(Self { memory, block: 0, current: None })
    }

    /// The next frame, if there is one. It stays where it is until this is called again.
    pub fn next_frame(&mut self) -> Option<Slot<'_>> {
        loop {
            if self.current.is_some_and(|place| place.left == 0) {
                self.give_back();
            }
            let place = if let Some(place) = self.current {
                place
            } else {
                // Acquire: pairs with the kernel's write barrier before it hands the block over.
                let status = self.status()?.load(Ordering::Acquire);
                if status & OURS == 0 {
                    return None;
                }
                first(self.bytes(), status & libc::TP_STATUS_LOSING != 0)?
            };
            match frame(self.bytes(), place) {
                Some((_, next)) => {
                    self.current = Some(next);
                    return frame(self.bytes(), place).map(|(slot, _)| slot);
                }
                // A header that makes no sense ends the block, not the process.
                None => self.current = Some(Place { left: 0, ..place }),
            }
        }
    }

    fn status(&self) -> Option<&AtomicU32> {
        self.memory.number(self.block * BLOCK_BYTES + STATUS_AT)
    }

    /// The current block behind its status word, which has to be ours.
    fn bytes(&self) -> &[u8] {
        const LEN: usize = BLOCK_BYTES - STATUS_AT - 4;
        let Some(begin) = self.memory.at(self.block * BLOCK_BYTES + STATUS_AT + 4, LEN) else { return &[] };
        // SAFETY: these bytes lie in the mapping; by invariant 2 nobody writes to them as long as `self` is borrowed.
        unsafe { std::slice::from_raw_parts(begin.as_ptr(), LEN) }
    }

    fn give_back(&mut self) {
        // Release: what was read of the block was read before.
        if let Some(status) = self.status() {
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.block = (self.block + 1) % BLOCKS;
        self.current = None;
    }
}

/// Bytes of a block are counted from its start; `bytes` begin behind its status word.
fn at(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    bytes.get(offset.checked_sub(STATUS_AT + 4)?..)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// How many frames a block has, and where the first one begins.
fn first(block: &[u8], losing: bool) -> Option<Place> {
    Some(Place { left: word(block, 0)?, offset: word(block, 4)? as usize, losing })
}

/// The frame at `place`, and the place of the next.
fn frame(block: &[u8], place: Place) -> Option<(Slot<'_>, Place)> {
    let left = place.left.checked_sub(1)?;
    let all = at(block, place.offset)?;
    let header = all.get(..HEADER_BYTES)?;
    let next = Place { left, offset: place.offset.checked_add(word(header, 0)? as usize)?, ..place };
    let (kept, whole, status) = (word(header, 12)?, word(header, 16)?, word(header, 20)?);
    let mac = usize::from(half(header, 24)?);
    let vnet = all.get(mac.checked_sub(VNET_LEN)?..)?.first_chunk()?;
    let bytes = all.get(mac..)?.get(..kept as usize)?;
    let slot = Slot {
        vnet: *vnet,
        bytes,
        vlan: vlan_tag(status, word(header, 32)? as u16, half(header, 36)?),
        truncated: kept < whole,
        losing: place.losing,
    };
    Some((slot, next))
}

/// Frames dropped since this was last asked.
pub fn losses(of: &PacketSocket) -> u64 {
    // struct tpacket_stats_v3: frames, dropped ones, times the ring was full.
    let mut statistics = [0; 12];
    let asked = socket::value_bytes(of.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut statistics);
    asked.ok().and_then(|_| word(&statistics, 4)).map_or(0, u64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block, behind its status word, with these frames.
    fn block(frames: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0; 36];
        bytes[..4].copy_from_slice(&(frames.len() as u32).to_ne_bytes());
        bytes[4..8].copy_from_slice(&48_u32.to_ne_bytes());
        for (number, payload) in frames.iter().enumerate() {
            let mac = HEADER_BYTES + VNET_LEN;
            let step = (mac + payload.len()).next_multiple_of(16);
            let mut frame = vec![0; step];
            frame[..4].copy_from_slice(&(step as u32).to_ne_bytes());
            frame[12..16].copy_from_slice(&(payload.len() as u32).to_ne_bytes());
            frame[16..20].copy_from_slice(&(payload.len() as u32).to_ne_bytes());
            frame[24..26].copy_from_slice(&(mac as u16).to_ne_bytes());
            frame[HEADER_BYTES..mac].fill(number as u8);
            frame[mac..mac + payload.len()].copy_from_slice(payload);
            bytes.extend(frame);
        }
        bytes
    }

    #[test]
    fn the_frames_of_a_block_come_in_order() {
        let bytes = block(&[b"one", b"", b"three"]);
        let mut place = first(&bytes, false).unwrap();
        for (number, payload) in [&b"one"[..], b"", b"three"].into_iter().enumerate() {
            let (slot, next) = frame(&bytes, place).unwrap();
            assert_eq!((slot.bytes, slot.vnet), (payload, [number as u8; VNET_LEN]));
            assert!(!slot.truncated && !slot.losing && slot.vlan.is_none());
            place = next;
        }
        assert!(frame(&bytes, place).is_none());
    }

    proptest! {
        #[test]
        fn no_block_makes_it_panic_or_read_beyond(
            bytes in prop::collection::vec(any::<u8>(), 0..200), left: u32, offset in 0_usize..300
        ) {
            let _ = first(&bytes, true);
            let mut place = Place { left, offset, losing: false };
            for _ in 0..8 {
                let Some((_, next)) = frame(&bytes, place) else { break };
                place = next;
            }
        }
    }
}
