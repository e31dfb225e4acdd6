//! Putting packets of one flow together again: the reverse of [`segment`](super::segment()) (what `tcp_gro_receive` and
//! `udp_gro_receive` do in Linux).
//!
//! ```text
//!  Ethernet │ IP │ TCP seq=s        │ size │ ─┐
//!  Ethernet │ IP │ TCP s+ size      │ size │  ├─► Ethernet │ IP │ TCP seq=s │ size size rest │   size beside it
//!  Ethernet │ IP │ TCP s+2*size PSH │ rest │ ─┘
//! ```
//! For a port that takes super-packets, the receiving kernel then does its work once for all of them: one write into a
//! TAP instead of dozens. Datagrams stay datagrams: a socket that has not asked for more gets them one by one. Only packets
//! that a segmenter could have made from one are joined: whoever cuts the result again gets the same packets
//! back, the identification of IPv4 packets that nobody may fragment excepted (RFC 6864). So: headers equal but for
//! lengths, checksums and sequence number; no IP options or extension headers; all of one size, and only the last shorter;
//! what a transport asks beside that is in [`Transport`]. A checksum that is complete is verified before its packet is
//! joined, since the joint one is left to the receiver. Cost: the payload is summed once and copied once.

mod open;
mod transport;

pub use open::Open;

use vxlan::mtu::Family;
use vxlan::wire::checksum::{fold, ipv4_header, pseudo_header, transport};
use vxlan::wire::headers::IpHeaders;

use super::classify::is_own_checksum;
use super::field;
use crate::buffer::{Checksum, Frame, Gso};
use transport::Transport;

/// Largest IP packet, and for simplicity the largest IPv6 payload less a header.
const MOST_BYTES: usize = 65_535;

/// A super-packet in the making; it lives beside the frame that holds it.
#[derive(Debug, Clone, Copy)]
pub struct Joint {
    headers: IpHeaders,
    transport: Transport,
    /// Payload of the first packet.
    size: usize,
    /// Payload so far.
    payload: usize,
    /// Packets so far.
    segments: u16,
    /// Whether the first packet's checksum is known to be right.
    verified: bool,
    /// The last packet was the last.
    shut: bool,
}

impl Joint {
    /// A super-packet of one packet; none where nothing can follow it.
    pub fn begin(frame: &Frame, headers: &IpHeaders) -> Option<Self> {
        let transport = Transport::begin(frame.bytes(), headers)?;
        let payload = headers.l4_len().checked_sub(transport.header_len()).filter(|payload| *payload > 0)?;
        let alone = frame.gso.is_none()
            && frame.len() == headers.frame_len()
            && headers.fragment.is_none()
            && usize::from(headers.l4_offset.checked_sub(headers.l3_offset)?) == plain_header(headers);
        (alone && u16::try_from(payload).is_ok()).then_some(Self {
            headers: *headers,
            transport,
            size: payload,
            payload,
            segments: 1,
            verified: false,
            shut: false,
        })
    }

    /// Appends `next` to `whole`, which holds what has been joined so far. `false`, and no change: it does not follow.
    pub fn join(&mut self, whole: &mut Frame, next: &Frame, headers: &IpHeaders) -> bool {
        self.follows(whole, next, headers).is_some_and(|payload| {
            if !self.verified && !is_right(whole, &self.headers) {
                self.shut = true;
                return false;
            }
            self.verified = true;
            if !is_right(next, headers) || !whole.append(payload) {
                return false;
            }
            self.payload += payload.len();
            self.segments += 1;
            let last =
                self.transport.take_over(whole.bytes_mut(), usize::from(self.headers.l4_offset), headers);
            self.shut = last || payload.len() < self.size || self.segments >= self.transport.most_segments();
            true
        })
    }

    /// Writes down what has been joined: lengths, a checksum to be completed by whoever takes the frame, and how to
    /// cut it.
    pub fn close(self, whole: &mut Frame) {
        if self.segments < 2 {
            return;
        }
        // Every offset below was read from before: headers of this very frame.
        let _ = self.write_down(whole);
    }

    /// The payload of `next`, if it is the next packet.
    fn follows<'a>(&self, whole: &Frame, next: &'a Frame, headers: &IpHeaders) -> Option<&'a [u8]> {
        let begin = usize::from(self.headers.l4_offset) + self.transport.header_len();
        let payload = next.bytes().get(begin..headers.frame_len())?;
        let fits = !self.shut
            && next.gso.is_none()
            && next.len() == headers.frame_len()
            && headers.l4_offset == self.headers.l4_offset
            && headers.l3_offset == self.headers.l3_offset
            && headers.fragment.is_none()
            && !payload.is_empty()
            && payload.len() <= self.size
            && whole.len() + payload.len() <= MOST_BYTES;
        (fits && self.same_headers(whole.bytes(), next.bytes(), headers)?).then_some(payload)
    }

    /// Whether all header fields are equal that two segments of one packet share.
    fn same_headers(&self, whole: &[u8], next: &[u8], headers: &IpHeaders) -> Option<bool> {
        let same = |from: usize, to: usize| Some(whole.get(from..to)? == next.get(from..to)?);
        let (l3, l4) = (usize::from(self.headers.l3_offset), usize::from(self.headers.l4_offset));
        let network = match self.headers.family {
            Family::V4 => {
                let id = field::read_u16(whole, l3 + 4)?.wrapping_add(self.segments);
                // Version, TOS; flags, TTL, protocol; addresses.
                (self.headers.dont_fragment || field::read_u16(next, l3 + 4)? == id)
                    && same(l3, l3 + 2)?
                    && same(l3 + 6, l3 + 10)?
                    && same(l3 + 12, l3 + 20)?
            }
            // Version, class, flow label; next header, hop limit, addresses.
            Family::V6 => same(l3, l3 + 4)? && same(l3 + 6, l3 + 40)?,
        };
        Some(same(0, l3)? && network && self.transport.is_next(whole, next, l4, headers, self.payload)?)
    }

    fn write_down(&self, whole: &mut Frame) -> Option<()> {
        let headers = &self.headers;
        let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
        let bytes = whole.bytes_mut();
        let ip_len = bytes.len().checked_sub(l3)?;
        match headers.family {
            Family::V4 => {
                field::write_u16(bytes, l3 + 2, u16::try_from(ip_len).ok()?)?;
                field::write_u16(bytes, l3 + 10, 0)?;
                let checksum = ipv4_header(bytes.get(l3..l4)?);
                field::write_u16(bytes, l3 + 10, checksum)?;
            }
            Family::V6 => field::write_u16(bytes, l3 + 4, u16::try_from(ip_len.checked_sub(40)?).ok()?)?,
        }
        let len = u16::try_from(bytes.len().checked_sub(l4)?).ok()?;
        self.transport.write_length(bytes, l4, len)?;
        let sum = fold(pseudo_header(headers.src, headers.dst, headers.protocol, len.into()));
        let offset = self.transport.checksum_offset();
        field::write_u16(bytes, l4 + usize::from(offset), sum)?;
        whole.checksum = Checksum::Partial { start: headers.l4_offset, offset };
        let kind = self.transport.kind(headers.family);
        whole.gso = Some(Gso { kind, size: u16::try_from(self.size).ok()?, ecn: false });
        Some(())
    }
}

/// Bytes of an IP header without options or extension headers.
fn plain_header(headers: &IpHeaders) -> usize {
    match headers.family {
        Family::V4 => 20,
        Family::V6 => 40,
    }
}

/// Whether the checksum is right, or still to be completed by whoever takes the frame.
fn is_right(frame: &Frame, headers: &IpHeaders) -> bool {
    match frame.checksum {
        Checksum::Partial { start, offset } => is_own_checksum(headers, start, offset),
        Checksum::Complete => {
            let segment = frame.bytes().get(usize::from(headers.l4_offset)..headers.frame_len());
            segment.is_some_and(|segment| transport(headers.src, headers.dst, headers.protocol, segment) == 0)
        }
    }
}
