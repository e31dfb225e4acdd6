//! A template: a whole frame, built once, and the places in it that are patched for each frame.
//!
//! ```text
//!  | outer Ethernet, IP, UDP, VXLAN | Ethernet | IP | UDP | stamp | zeros |
//!                ▲ source port                  ▲ source  ▲ ports, stamp
//! ```
//! Each 16-bit word that changes is put into the checksums that cover it (RFC 1624). The sum over an inner packet
//! whose own checksums are right does not change with its ports or its stamp, so the outer checksum follows only where
//! the source address does.

use dataplane::buffer::Frame;
use vxlan::encap::write_outer;
use vxlan::mac::Mac;
use vxlan::wire::checksum::update16;

use super::shape::{ETHERNET, FCS, Kind, Shape, ShapeError};
use super::stamp::STAMP_BYTES;
use crate::generate::frame;

/// Segments that ask for a connection.
const SYN: u8 = 2;
/// Source ports of the tunnel (RFC 7348 section 5).
const FIRST_OUTER_PORT: u16 = 49_152;

/// What is written into a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch {
    /// Added to the source address.
    pub(super) source: u16,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) stamp: [u8; STAMP_BYTES],
    /// Whether it is the destination's, and which.
    pub(super) mac: Option<(bool, Mac)>,
}

/// A frame to be patched.
pub(super) struct Template {
    bytes: Vec<u8>,
    outer: Option<Outer>,
    ip: usize,
    is_v4: bool,
    l4: usize,
    is_tcp: bool,
}

/// The UDP header of the tunnel.
struct Outer {
    udp: usize,
    has_checksum: bool,
}

impl Template {
    /// A frame of `size` bytes with FCS, or the least that has room for a stamp.
    pub(super) fn new(shape: &Shape, size: usize) -> Result<Self, ShapeError> {
        let is_v4 = shape.ends.dst.is_ipv4();
        let is_tcp = shape.kind == Kind::SynFlood;
        let size = if is_tcp { size.max(64) } else { size.max(shape.least_size()) };
        let ends = frame::Ends {
            src_mac: shape.ends.src_mac,
            dst_mac: shape.ends.dst_mac,
            src: shape.ends.src.addr(),
            dst: shape.ends.dst,
        };
        let header = if is_v4 { 20 } else { 40 };
        let room = size.saturating_sub(FCS);
        let mut bytes = Vec::with_capacity(room.saturating_add(shape.tunnel_bytes()));
        if is_tcp {
            frame::tcp(&ends, 0, 0, (0, 0), SYN, 0, &mut bytes);
        } else {
            let payload = room.saturating_sub(ETHERNET + header + 8);
            frame::udp(&ends, 0, 0, payload, &mut bytes);
        }
        // Padding behind the packet, where it is shorter than the frame.
        bytes.resize(room.max(bytes.len()), 0);
        let mut start = 0;
        let mut outer = None;
        if let Some(config) = &shape.tunnel {
            start = shape.tunnel_bytes();
            let mut room = vec![0; start];
            write_outer(&mut room, &bytes, config).map_err(ShapeError::Tunnel)?;
            let udp = ETHERNET + if config.dst.is_ipv4() { 20 } else { 40 };
            let has_checksum = room.get(udp + 6..udp + 8).is_some_and(|sum| sum != [0, 0]);
            outer = Some(Outer { udp, has_checksum });
            room.extend_from_slice(&bytes);
            bytes = room;
            // The port is patched in from zero.
            let mut zero = Words::of(&mut bytes);
            let sum = zero.replace(udp, 0, zero.at(udp + 6));
            if has_checksum {
                zero.put(udp + 6, sum);
            }
        }
        let ip = start + ETHERNET;
        Ok(Self { bytes, outer, ip, is_v4, l4: ip + header, is_tcp })
    }

    /// Writes a frame.
    pub(super) fn write(&self, frame: &mut Frame, patch: &Patch) {
        frame.write(&self.bytes);
        let mut words = Words::of(frame.bytes_mut());
        let sum_at = if self.is_tcp { self.l4 + 16 } else { self.l4 + 6 };
        let mut sum = words.at(sum_at);
        let mut outer_sum = self.outer.as_ref().map_or(0, |outer| words.at(outer.udp + 6));
        if patch.source != 0 {
            let at = if self.is_v4 { self.ip + 14 } else { self.ip + 22 };
            let (old, new) = (words.at(at), words.at(at).wrapping_add(patch.source));
            sum = words.replace(at, new, sum);
            if self.is_v4 {
                let header = words.at(self.ip + 10);
                words.put(self.ip + 10, update16(header, old, new));
                // Address and header checksum cancel out; the transport's checksum is what is left.
                outer_sum = update16(outer_sum, new, old);
            }
        }
        if let Some((destination, Mac([m0, m1, m2, m3, m4, m5]))) = patch.mac {
            let at = self.ip - ETHERNET + if destination { 0 } else { 6 };
            for (number, word) in [[m0, m1], [m2, m3], [m4, m5]].into_iter().enumerate() {
                outer_sum = words.replace(at + 2 * number, u16::from_be_bytes(word), outer_sum);
            }
        }
        sum = words.replace(self.l4, patch.src_port, sum);
        sum = words.replace(self.l4 + 2, patch.dst_port, sum);
        if self.is_tcp {
            // The first sequence number: whatever the stamp has for a number.
            let [_, _, _, _, n0, n1, n2, n3, ..] = patch.stamp;
            sum = words.replace(self.l4 + 4, u16::from_be_bytes([n0, n1]), sum);
            sum = words.replace(self.l4 + 6, u16::from_be_bytes([n2, n3]), sum);
        } else {
            for (number, word) in patch.stamp.chunks_exact(2).enumerate() {
                let [high, low] = word.first_chunk().copied().unwrap_or_default();
                sum = words.replace(self.l4 + 8 + 2 * number, u16::from_be_bytes([high, low]), sum);
            }
            // Zero would say that there is no checksum.
            sum = if sum == 0 { 0xffff } else { sum };
        }
        words.put(sum_at, sum);
        if let Some(outer) = &self.outer {
            let port = FIRST_OUTER_PORT | entropy(patch);
            outer_sum = words.replace(outer.udp, port, outer_sum);
            if outer.has_checksum {
                words.put(outer.udp + 6, if outer_sum == 0 { 0xffff } else { outer_sum });
            }
        }
    }
}

/// Fourteen bits that follow from the flow.
fn entropy(patch: &Patch) -> u16 {
    let flow = u32::from(patch.source) << 16 ^ u32::from(patch.src_port) ^ u32::from(patch.dst_port) << 7;
    (flow.wrapping_mul(0x9e37_79b1) >> 18) as u16
}

/// The 16-bit words of a frame. What lies outside reads as zero and is not written.
struct Words<'a>(&'a mut [u8]);

impl<'a> Words<'a> {
    fn of(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    fn at(&self, at: usize) -> u16 {
        let word = self.0.get(at..).and_then(|bytes| bytes.first_chunk());
        word.map_or(0, |word| u16::from_be_bytes(*word))
    }

    fn put(&mut self, at: usize, value: u16) {
        if let Some(word) = self.0.get_mut(at..).and_then(|bytes| bytes.first_chunk_mut()) {
            *word = value.to_be_bytes();
        }
    }

    /// Writes a word that `sum` covers; the checksum after it.
    fn replace(&mut self, at: usize, value: u16, sum: u16) -> u16 {
        let old = self.at(at);
        self.put(at, value);
        update16(sum, old, value)
    }
}
