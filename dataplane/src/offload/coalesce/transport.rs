//! What a transport protocol has to say about two packets being joined.
//!
//! - **TCP** (RFC 9293): in sequence; flags ACK alone, and PSH on the last, which is the last of what its sender had to
//!   say; all else in the header equal, options too.
//! - **UDP** (RFC 768): a checksum, as Linux asks for; at most [`MOST_DATAGRAMS`], which is what Linux joins. Datagrams of a
//!   flow are independent of each other, so those that come one after the other are the next ones.

use vxlan::mtu::Family;
use vxlan::wire::headers::{IpHeaders, L4};
use vxlan::wire::{tcp, udp};

use super::super::checksum::{TCP_CHECKSUM, UDP_CHECKSUM};
use super::super::field;
use crate::buffer::GsoKind;

/// `UDP_GRO_CNT_MAX` of Linux.
const MOST_DATAGRAMS: u16 = 64;

/// Where a UDP header has its length.
const UDP_LENGTH: usize = 4;

/// The transport of a super-packet in the making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp {
        /// Sequence number of the first segment.
        seq: u32,
        /// Bytes of the header with its options.
        header_len: u8,
    },
    Udp,
}

impl Transport {
    /// That of a packet; none where nothing can follow it.
    pub(super) fn begin(bytes: &[u8], headers: &IpHeaders) -> Option<Self> {
        match headers.l4 {
            L4::Tcp { seq, header_len, flags: tcp::ACK, .. } => Some(Self::Tcp { seq, header_len }),
            L4::Udp { .. } if is_summed(bytes, headers)? => Some(Self::Udp),
            _ => None,
        }
    }

    pub(super) fn header_len(self) -> usize {
        match self {
            Self::Tcp { header_len, .. } => header_len.into(),
            Self::Udp => udp::HEADER_BYTES,
        }
    }

    pub(super) fn most_segments(self) -> u16 {
        match self {
            Self::Tcp { .. } => u16::MAX,
            Self::Udp => MOST_DATAGRAMS,
        }
    }

    pub(super) fn checksum_offset(self) -> u16 {
        match self {
            Self::Tcp { .. } => TCP_CHECKSUM,
            Self::Udp => UDP_CHECKSUM,
        }
    }

    pub(super) fn kind(self, family: Family) -> GsoKind {
        match (self, family) {
            (Self::Tcp { .. }, Family::V4) => GsoKind::Tcp4,
            (Self::Tcp { .. }, Family::V6) => GsoKind::Tcp6,
            (Self::Udp, _) => GsoKind::UdpL4,
        }
    }

    /// Whether `next`, whose transport header is at `l4` as that of `whole`, follows `payload` bytes of this one.
    pub(super) fn is_next(
        self,
        whole: &[u8],
        next: &[u8],
        l4: usize,
        headers: &IpHeaders,
        payload: usize,
    ) -> Option<bool> {
        let same =
            |from: usize, to: usize| Some(whole.get(l4 + from..l4 + to)? == next.get(l4 + from..l4 + to)?);
        match (self, headers.l4) {
            (Self::Tcp { seq: first, header_len }, L4::Tcp { seq, flags, .. }) => {
                // Ports; acknowledgment and header length; window; urgent pointer and options. Flags are looked at.
                Some(
                    seq == first.wrapping_add(payload as u32)
                        && flags & !tcp::PSH == tcp::ACK
                        && same(0, 4)?
                        && same(8, 13)?
                        && same(14, 16)?
                        && same(18, header_len.into())?,
                )
            }
            (Self::Udp, L4::Udp { .. }) => Some(same(0, 4)? && is_summed(next, headers)?),
            _ => Some(false),
        }
    }

    /// Takes over from a packet just joined what its last one has to say; whether it was the last.
    pub(super) fn take_over(self, whole: &mut [u8], l4: usize, headers: &IpHeaders) -> bool {
        let (Self::Tcp { .. }, L4::Tcp { flags, .. }) = (self, headers.l4) else { return false };
        let pushed = flags & tcp::PSH != 0;
        if pushed && let Some(flags) = field::byte_mut(whole, l4 + 13) {
            *flags |= tcp::PSH;
        }
        pushed
    }

    /// Writes the length of all, where the header has one.
    pub(super) fn write_length(self, whole: &mut [u8], l4: usize, len: u16) -> Option<()> {
        match self {
            Self::Tcp { .. } => Some(()),
            Self::Udp => field::write_u16(whole, l4 + UDP_LENGTH, len),
        }
    }
}

/// Whether a datagram has a checksum, and says itself how long it is.
fn is_summed(bytes: &[u8], headers: &IpHeaders) -> Option<bool> {
    let l4 = usize::from(headers.l4_offset);
    let summed = field::read_u16(bytes, l4 + usize::from(UDP_CHECKSUM))? != 0;
    Some(summed && usize::from(field::read_u16(bytes, l4 + UDP_LENGTH)?) == headers.l4_len())
}
