//! IPv4 fragmentation on the way out (RFC 791 section 2.3 and 3.2; RFC 1812 section 4.2.2.7), for packets
//! larger than the way out takes whose DF bit is clear. IPv6 routers never fragment (RFC 8200 section 5).
//!
//! The first piece keeps all options, later ones those whose copy flag is set. A packet that is a fragment
//! already is cut further: offsets count from its own, and its last piece has its MF bit. Cost: one copy of
//! the payload; as many frames as the MTU makes necessary.

use vxlan::mtu::Family;
use vxlan::wire::checksum::ipv4_header;
use vxlan::wire::headers::IpHeaders;
use vxlan::wire::ipv4::MIN_HEADER_BYTES;

use super::checksum::completed;
use super::field;
use crate::buffer::{Batch, Checksum, Frame, Pool};
use crate::drop_reason::DropReason;

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
const OPTION_COPIED: u8 = 0x80;

/// Why a packet could not be fragmented, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FragmentError {
    /// IPv6, DF set, or a super-packet (which is segmented, not fragmented): its sender must be told.
    MayNotFragment,
    /// The MTU leaves no room for 8 bytes behind the header.
    MtuTooSmall,
    /// Header, options or metadata contradict the packet.
    BadHeader,
    /// The pool ran dry after `made` fragments, which are in the batch; the rest is lost.
    NoBuffer {
        /// Fragments made before.
        made: usize,
    },
}

impl FragmentError {
    /// Under which reason the loss is counted.
    pub fn drop_reason(self) -> DropReason {
        match self {
            Self::MayNotFragment | Self::MtuTooSmall => DropReason::TooBig,
            Self::BadHeader => DropReason::BadHeader,
            Self::NoBuffer { .. } => DropReason::NoBuffer,
        }
    }
}

/// Appends fragments of `frame`, IP packets of at most `mtu` bytes, to `out` and says how many. `frame`
/// stays the caller's. A packet that fits is copied as it is; a partial checksum is completed on the way.
pub fn fragment_ipv4(
    frame: &Frame,
    headers: &IpHeaders,
    mtu: u16,
    pool: &mut Pool,
    out: &mut Batch,
) -> Result<usize, FragmentError> {
    if headers.family != Family::V4 || headers.dont_fragment || frame.gso.is_some() {
        return Err(FragmentError::MayNotFragment);
    }
    let whole = Whole::take_apart(frame, headers).ok_or(FragmentError::BadHeader)?;
    let first_room = room(mtu, whole.first_header.len() - whole.l3).ok_or(FragmentError::MtuTooSmall)?;
    let later_room =
        room(mtu, MIN_HEADER_BYTES + whole.copied_options().len()).ok_or(FragmentError::MtuTooSmall)?;

    let mut done = 0;
    let mut made = 0;
    loop {
        let left = whole.payload.get(done..).unwrap_or_default();
        // Nothing is held back for the multiple of 8 when all that is left fits.
        let (fits, step) = if made == 0 { first_room } else { later_room };
        let take = if left.len() <= fits { left.len() } else { step };
        let last = take == left.len();
        let mut piece = pool.take().ok_or(FragmentError::NoBuffer { made })?;
        if whole.fill(&mut piece, done, take, last).is_none() {
            pool.give(piece);
            return Err(FragmentError::BadHeader);
        }
        piece.outer = frame.outer;
        piece.tag = frame.tag;
        out.push(piece);
        made += 1;
        done += take;
        if last {
            return Ok(made);
        }
    }
}

/// Payload bytes behind a header of `header` bytes: in a last fragment, and in one that others follow.
fn room(mtu: u16, header: usize) -> Option<(usize, usize)> {
    let fits = usize::from(mtu).checked_sub(header)?;
    let step = fits & !7;
    (step > 0).then_some((fits, step))
}

/// A packet, taken apart.
struct Whole<'a> {
    l3: usize,
    /// Ethernet header and the IP header with all its options.
    first_header: &'a [u8],
    payload: &'a [u8],
    /// Flags and offset as they are.
    fragment_field: u16,
    copied: [u8; 40],
    copied_len: usize,
    /// The completed checksum and where in the payload it belongs.
    checksum: Option<(usize, [u8; 2])>,
}

impl<'a> Whole<'a> {
    fn take_apart(frame: &'a Frame, headers: &IpHeaders) -> Option<Self> {
        let (l3, l4) = (usize::from(headers.l3_offset), usize::from(headers.l4_offset));
        let packet = frame.bytes().get(..headers.frame_len())?;
        let (first_header, payload) = packet.split_at_checked(l4)?;
        let options = first_header.get(l3.checked_add(MIN_HEADER_BYTES)?..)?;
        let (copied, copied_len) = copied_options(options)?;
        let checksum = match frame.checksum {
            Checksum::Complete => None,
            Checksum::Partial { start, offset } => {
                let value = completed(packet, start, offset)?;
                let at = (usize::from(start) + usize::from(offset)).checked_sub(l4)?;
                Some((at, value.to_be_bytes()))
            }
        };
        let fragment_field = field::read_u16(first_header, l3 + 6)?;
        Some(Self { l3, first_header, payload, fragment_field, copied, copied_len, checksum })
    }

    fn copied_options(&self) -> &[u8] {
        self.copied.get(..self.copied_len).unwrap_or_default()
    }

    /// Writes the fragment of `take` payload bytes from `done` on.
    fn fill(&self, piece: &mut Frame, done: usize, take: usize, last: bool) -> Option<()> {
        let chunk = self.payload.get(done..done.checked_add(take)?)?;
        let header_len = if done == 0 {
            field::assemble(piece, &[self.first_header, chunk])?;
            self.first_header.len().checked_sub(self.l3)?
        } else {
            let fixed = self.first_header.get(..self.l3 + MIN_HEADER_BYTES)?;
            field::assemble(piece, &[fixed, self.copied_options(), chunk])?;
            MIN_HEADER_BYTES + self.copied_len
        };
        let l3 = self.l3;
        let payload_at = l3 + header_len;
        let bytes = piece.bytes_mut();
        *field::byte_mut(bytes, l3)? = 0x40 | u8::try_from(header_len / 4).ok()?;
        field::write_u16(bytes, l3 + 2, u16::try_from(header_len + take).ok()?)?;

        let offset = usize::from(self.fragment_field & OFFSET) + done / 8;
        let offset = u16::try_from(offset).ok().filter(|offset| *offset <= OFFSET)?;
        let flags = self.fragment_field & !OFFSET | if last { 0 } else { MORE };
        field::write_u16(bytes, l3 + 6, flags | offset)?;

        // The field's two bytes can end up in two fragments.
        if let Some((at, value)) = self.checksum {
            for (at, value) in (at..).zip(value) {
                if let Some(inside) = at.checked_sub(done).filter(|inside| *inside < take) {
                    *field::byte_mut(bytes, payload_at + inside)? = value;
                }
            }
        }
        field::write_u16(bytes, l3 + 10, 0)?;
        let checksum = ipv4_header(bytes.get(l3..payload_at)?);
        field::write_u16(bytes, l3 + 10, checksum)
    }
}

/// The options that go into every fragment, padded to whole words; `None` when the options are malformed.
fn copied_options(mut options: &[u8]) -> Option<([u8; 40], usize)> {
    let mut copied = [0; 40];
    let mut len: usize = 0;
    while let Some((&kind, rest)) = options.split_first() {
        let option = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(*rest.first()?),
        };
        if option < 2 && kind != 1 {
            return None;
        }
        let (option, rest) = options.split_at_checked(option)?;
        if kind & OPTION_COPIED != 0 {
            let end = len.checked_add(option.len())?;
            copied.get_mut(len..end)?.copy_from_slice(option);
            len = end;
        }
        options = rest;
    }
    // What is behind stays 0, End of Option List.
    Some((copied, len.next_multiple_of(4)))
}
