//! Cutting a super-packet into the packets it stands for (what `tcp_gso_segment` and `__udp_gso_segment` do
//! in Linux).
//!
//! ```text
//!  Ethernet │ IP │ TCP seq=s │ payload ................................ │
//!  Ethernet │ IP │ TCP s     │ size │   id   FIN, PSH off
//!  Ethernet │ IP │ TCP s+ size      │ size │   id+1   CWR off too
//!  Ethernet │ IP │ TCP s+2*size            │ rest │   id+2   FIN, PSH as they were
//! ```
//! Every header before the payload is copied to each segment, options and extension headers included;
//! lengths, IPv4 identification, sequence number, flags and all checksums are set anew. Each segment is a
//! complete frame. Cost: the payload is copied once and summed once. Bounds: at most [`MAX_TCP_SEGMENTS`] or
//! [`MAX_UDP_SEGMENTS`] frames from one, as many as the pool has.

use vxlan::mtu::Family;
use vxlan::wire::checksum::{ipv4_header, transport};
use vxlan::wire::headers::{IpHeaders, L4};
use vxlan::wire::{tcp, udp};

use super::classify::{gso_fits, is_own_checksum};
use super::field;
use crate::buffer::{Batch, Checksum, Frame, Pool};
use crate::drop_reason::DropReason;

/// Most segments of one TCP super-packet: 64 KiB in pieces of 48 bytes, the smallest that Linux sends
/// (`TCP_MIN_SND_MSS`). A smaller size is a pod's attempt to turn one frame into very many.
pub const MAX_TCP_SEGMENTS: usize = 65_535_usize.div_ceil(48);

/// Most datagrams of one UDP super-packet (`UDP_MAX_SEGMENTS` in Linux).
pub const MAX_UDP_SEGMENTS: usize = 128;

/// The congestion-window-reduced bit (RFC 3168).
pub(super) const TCP_CWR: u8 = 0x80;

/// Why a super-packet could not be cut, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentError {
    /// The pool ran dry after `made` segments, which are in the batch; the rest is lost.
    NoBuffer {
        /// Segments made before.
        made: usize,
    },
    /// The metadata is missing or contradicts the headers; nothing was made.
    BadMetadata,
    /// The super-packet's complete checksum was wrong. Nothing was made: new checksums would hide the damage.
    BadChecksum,
}

impl SegmentError {
    /// Under which reason the loss is counted.
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::NoBuffer { .. } => DropReason::NoBuffer,
            Self::BadMetadata => DropReason::LengthMismatch,
            Self::BadChecksum => DropReason::BadHeader,
        }
    }
}

/// Appends the segments of `frame` to `out` and says how many; the frame goes back to the pool in any case.
///
/// `headers` are those of `frame` as it is now.
pub fn segment(
    frame: Frame,
    headers: &IpHeaders,
    pool: &mut Pool,
    out: &mut Batch,
) -> Result<usize, SegmentError> {
    let result = match Cut::plan(&frame, headers) {
        Ok(cut) => cut.run(&frame, pool, out),
        Err(error) => Err(error),
    };
    pool.give(frame);
    result
}

/// One super-packet, taken apart.
struct Cut<'a> {
    headers: &'a IpHeaders,
    /// Everything before the payload.
    header: &'a [u8],
    payload: &'a [u8],
    size: usize,
    kind: Transport,
}

#[derive(Clone, Copy)]
enum Transport {
    Tcp { seq: u32 },
    Udp { checksum: bool },
}

impl<'a> Cut<'a> {
    fn plan(frame: &'a Frame, headers: &'a IpHeaders) -> Result<Self, SegmentError> {
        let gso = frame.gso.filter(|gso| gso_fits(*gso, headers)).ok_or(SegmentError::BadMetadata)?;
        let (header_len, kind) = match headers.l4 {
            L4::Tcp { header_len, seq, .. } => (usize::from(header_len), Transport::Tcp { seq }),
            _ => (udp::HEADER_BYTES, Transport::Udp { checksum: true }),
        };
        let l4 = usize::from(headers.l4_offset);
        let packet = frame.bytes().get(..headers.frame_len()).ok_or(SegmentError::BadMetadata)?;
        let (header, payload) = packet.split_at_checked(l4 + header_len).ok_or(SegmentError::BadMetadata)?;
        let datagram = packet.get(l4..).ok_or(SegmentError::BadMetadata)?;
        let mut cut = Self { headers, header, payload, size: usize::from(gso.size), kind };
        match frame.checksum {
            Checksum::Partial { start, offset } if is_own_checksum(headers, start, offset) => {}
            Checksum::Partial { .. } => return Err(SegmentError::BadMetadata),
            Checksum::Complete if cut.is_without_checksum(datagram) => {
                cut.kind = Transport::Udp { checksum: false };
            }
            Checksum::Complete => {
                if transport(headers.src, headers.dst, headers.protocol, datagram) != 0 {
                    return Err(SegmentError::BadChecksum);
                }
            }
        }
        Ok(cut)
    }

    fn is_without_checksum(&self, datagram: &[u8]) -> bool {
        matches!(self.kind, Transport::Udp { .. }) && field::read_u16(datagram, 6) == Some(0)
    }

    fn run(&self, frame: &Frame, pool: &mut Pool, out: &mut Batch) -> Result<usize, SegmentError> {
        // A super-packet without payload is one packet.
        let count = self.payload.len().div_ceil(self.size).max(1);
        let mut chunks = self.payload.chunks(self.size);
        for index in 0..count {
            let chunk = chunks.next().unwrap_or_default();
            let mut piece = pool.take().ok_or(SegmentError::NoBuffer { made: index })?;
            if self.fill(&mut piece, chunk, index, index + 1 == count).is_none() {
                pool.give(piece);
                return Err(SegmentError::BadMetadata);
            }
            piece.outer = frame.outer;
            piece.tag = frame.tag;
            out.push(piece);
        }
        Ok(count)
    }

    /// Writes the segment number `index`. `None` only where the plan was wrong about the headers.
    fn fill(&self, piece: &mut Frame, chunk: &[u8], index: usize, last: bool) -> Option<()> {
        field::assemble(piece, &[self.header, chunk])?;
        let (l3, l4) = (usize::from(self.headers.l3_offset), usize::from(self.headers.l4_offset));
        let bytes = piece.bytes_mut();
        let ip_len = u16::try_from(bytes.len().checked_sub(l3)?).ok()?;
        match self.headers.family {
            Family::V4 => {
                let id = field::read_u16(self.header, l3 + 4)?.wrapping_add(index as u16);
                field::write_u16(bytes, l3 + 2, ip_len)?;
                field::write_u16(bytes, l3 + 4, id)?;
                field::write_u16(bytes, l3 + 10, 0)?;
                let checksum = ipv4_header(bytes.get(l3..l4)?);
                field::write_u16(bytes, l3 + 10, checksum)?;
            }
            Family::V6 => field::write_u16(bytes, l3 + 4, ip_len.checked_sub(40)?)?,
        }
        let checksum_at = match self.kind {
            Transport::Tcp { seq } => {
                let before = index.wrapping_mul(self.size) as u32;
                field::write_u32(bytes, l4 + 4, seq.wrapping_add(before))?;
                let flags = field::byte_mut(bytes, l4 + 13)?;
                if !last {
                    *flags &= !(tcp::FIN | tcp::PSH);
                }
                if index > 0 {
                    *flags &= !TCP_CWR;
                }
                l4 + 16
            }
            Transport::Udp { checksum } => {
                let len = u16::try_from(bytes.len().checked_sub(l4)?).ok()?;
                field::write_u16(bytes, l4 + 4, len)?;
                if !checksum {
                    return Some(());
                }
                l4 + 6
            }
        };
        field::write_u16(bytes, checksum_at, 0)?;
        let headers = self.headers;
        let value = match (transport(headers.src, headers.dst, headers.protocol, bytes.get(l4..)?), self.kind)
        {
            // Over UDP that would mean "no checksum" (RFC 768).
            (0, Transport::Udp { .. }) => 0xffff,
            (value, _) => value,
        };
        field::write_u16(bytes, checksum_at, value)
    }
}
