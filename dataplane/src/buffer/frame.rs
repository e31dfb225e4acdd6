//! One frame: bytes with room in front of them, and what the kernel said about them.
//!
//! ```text
//!   0          start                       end        capacity
//!   ├─ headroom ─┼──────── bytes ────────────┼── tailroom ──┤
//! ```
//! Encapsulation moves `start` down into the headroom, decapsulation moves it up; the bytes stay where the
//! kernel wrote them.

use std::net::IpAddr;

/// Bytes kept free in front of a received frame: outer Ethernet, IPv6, UDP and VXLAN (14+40+8+8 = 70),
/// rounded up generously for a vnet header and alignment.
pub const HEADROOM: usize = 128;

/// Largest frame a buffer holds: a 64 KiB IP datagram, its Ethernet header and a VLAN tag, inside VXLAN.
pub const MAX_FRAME: usize = 65_535 + 14 + 4 + 8;

const CAPACITY: usize = HEADROOM + MAX_FRAME + 31;

/// State of the innermost transport checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checksum {
    /// Complete, or at least claimed to be: whoever receives the frame verifies it.
    #[default]
    Complete,
    /// Only the pseudo header is summed (`VIRTIO_NET_HDR_F_NEEDS_CSUM`): the sum over the bytes from `start`
    /// must be stored at `start + offset`. Both count bytes, `start` from the first byte of the frame.
    Partial {
        /// First byte summed, from the start of the frame.
        start: u16,
        /// Where the sum is stored, from `start`.
        offset: u16,
    },
}

/// What kind of segments a super-packet stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4 (`VIRTIO_NET_HDR_GSO_TCPV4`).
    Tcp4,
    /// TCP over IPv6 (`VIRTIO_NET_HDR_GSO_TCPV6`).
    Tcp6,
    /// UDP datagrams of equal size, either family (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    UdpL4,
}

/// A frame that stands for several: `size` bytes of transport payload in each (the last may be shorter).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// How to cut it.
    pub kind: GsoKind,
    /// Transport payload bytes per segment, not 0.
    pub size: u16,
    /// The congestion-window-reduced bit belongs to the first segment only (`VIRTIO_NET_HDR_GSO_ECN`).
    pub ecn: bool,
}

/// The outer addresses of an encapsulated frame, where the kernel strips or builds the outer headers
/// (`udp` underlay). Bytes of such a frame begin at the VXLAN header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer {
    /// The other VTEP: source of a received frame, destination of one to be sent.
    pub peer: IpAddr,
    /// Our own address: destination of a received frame; ignored when sending.
    pub local: IpAddr,
    /// Outer UDP source port: the peer's when received; ours when sending (49152-65535).
    pub source_port: u16,
    /// Outer TOS / traffic class byte, DSCP and ECN.
    pub tos: u8,
}

/// An Ethernet frame (without FCS), or on a datagram underlay a VXLAN packet, with its metadata.
pub struct Frame {
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    /// State of the inner transport checksum.
    pub checksum: Checksum,
    /// Set when the frame is a super-packet.
    pub gso: Option<Gso>,
    /// Set on frames from and to a datagram underlay.
    pub outer: Option<Outer>,
    /// A number by which a tool knows the packet again in what becomes of it; 0 on frames that ports bring.
    pub tag: u64,
    /// How many received packets count as forwarded once this frame has been sent: 1 for most, more where segments were
    /// joined, 0 for an answer and for all pieces of a packet but the last. Set by the pipeline.
    pub packets: u32,
}

impl Frame {
    /// An empty frame with full headroom. Allocates: only pools and tests make frames.
    pub fn new() -> Self {
        Self {
            memory: vec![0; CAPACITY].into_boxed_slice(),
            start: HEADROOM,
            end: HEADROOM,
            checksum: Checksum::Complete,
            gso: None,
            outer: None,
            tag: 0,
            packets: 0,
        }
    }

    /// A frame without memory, to stand where a frame has been moved out. Does not allocate.
    pub fn hollow() -> Self {
        Self {
            memory: Box::default(),
            start: 0,
            end: 0,
            checksum: Checksum::Complete,
            gso: None,
            outer: None,
            tag: 0,
            packets: 0,
        }
    }

    /// True for a [`Frame::hollow`].
    pub fn is_hollow(&self) -> bool {
        self.memory.is_empty()
    }

    /// A frame holding a copy of `bytes`; bytes beyond [`MAX_FRAME`] are left out. For tests and tools.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut frame = Self::new();
        frame.write(bytes);
        frame
    }

    /// Empties the frame and forgets its metadata.
    pub fn reset(&mut self) {
        self.start = HEADROOM.min(self.memory.len());
        self.end = self.start;
        self.checksum = Checksum::Complete;
        self.gso = None;
        self.outer = None;
        self.tag = 0;
        self.packets = 0;
    }

    /// Replaces the contents by a copy of `bytes`, cut at the capacity.
    pub fn write(&mut self, bytes: &[u8]) {
        self.reset();
        let room = self.writable();
        let len = bytes.len().min(room.len());
        if let (Some(to), Some(from)) = (room.get_mut(..len), bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        self.set_len(len);
    }

    /// All memory behind the headroom of an empty frame, for a port to receive into; see [`Frame::set_len`].
    pub fn writable(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..).unwrap_or_default()
    }

    /// Says how many bytes a port wrote into [`Frame::writable`]; clamped to the capacity.
    pub fn set_len(&mut self, len: usize) {
        self.end = self.start.saturating_add(len).min(self.memory.len());
    }

    /// The bytes of the frame.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.start..self.end).unwrap_or_default()
    }

    /// The bytes of the frame, to be changed in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True when there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes free in front.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Grows the frame by `count` bytes at the front and returns them; `None` (and no change) when the
    /// headroom is used up. A partial checksum keeps pointing at the same bytes.
    pub fn push_front(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(count)?;
        let shift = u16::try_from(count).ok()?;
        if let Checksum::Partial { start, offset } = self.checksum {
            self.checksum = Checksum::Partial { start: start.checked_add(shift)?, offset };
        }
        self.start = start;
        self.memory.get_mut(start..start + count)
    }

    /// Takes `count` bytes off the front; `false` (and no change) when the frame is shorter. A partial
    /// checksum that pointed into the bytes taken is forgotten.
    pub fn pull_front(&mut self, count: usize) -> bool {
        if count > self.len() {
            return false;
        }
        self.start += count;
        if let Checksum::Partial { start, offset } = self.checksum {
            self.checksum = match usize::from(start).checked_sub(count) {
                Some(start) => Checksum::Partial { start: start as u16, offset },
                None => Checksum::Complete,
            };
        }
        true
    }

    /// Grows the frame by a copy of `bytes` at the end; `false` (and no change) when they do not fit.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(end) = self.end.checked_add(bytes.len()) else { return false };
        let Some(room) = self.memory.get_mut(self.end..end) else { return false };
        room.copy_from_slice(bytes);
        self.end = end;
        true
    }

    /// Cuts the frame to `len` bytes when it is longer (trailing padding).
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.end = self.start + len;
        }
    }
}

impl Default for Frame {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("len", &self.len())
            .field("checksum", &self.checksum)
            .field("gso", &self.gso)
            .field("outer", &self.outer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushing_and_pulling_keep_a_partial_checksum_on_its_bytes() {
        let mut frame = Frame::from_bytes(&[0; 60]);
        frame.checksum = Checksum::Partial { start: 34, offset: 16 };
        assert!(frame.push_front(50).is_some());
        assert_eq!(frame.checksum, Checksum::Partial { start: 84, offset: 16 });
        assert!(frame.pull_front(50));
        assert_eq!(frame.checksum, Checksum::Partial { start: 34, offset: 16 });
    }

    #[test]
    fn headroom_ends_without_a_panic() {
        let mut frame = Frame::from_bytes(&[1; 10]);
        assert!(frame.push_front(HEADROOM).is_some());
        assert!(frame.push_front(1).is_none());
        assert_eq!(frame.len(), HEADROOM + 10);
        assert!(!frame.pull_front(HEADROOM + 11));
    }

    #[test]
    fn bytes_are_appended_while_there_is_room() {
        let mut frame = Frame::from_bytes(&[1, 2]);
        assert!(frame.append(&[3]) && frame.append(&[]));
        assert_eq!(frame.bytes(), [1, 2, 3]);
        assert!(!frame.append(&vec![0; CAPACITY]));
        assert_eq!(frame.bytes(), [1, 2, 3]);
        assert!(!Frame::hollow().append(&[1]));
    }

    #[test]
    fn oversized_input_is_cut_at_the_capacity() {
        let frame = Frame::from_bytes(&vec![7; 100_000]);
        assert!(frame.len() >= MAX_FRAME && frame.len() < 100_000);
    }
}
