//! What the metadata of a received frame may say, and what it says where nobody could tell us.
//!
//! The vnet header that comes with a frame from a TAP or packet socket is the sender's word: a pod with a
//! packet socket of its own can put any offset there, and completing a checksum *writes* at that offset. If
//! it could point at the destination port, policy would judge one packet and the receiver get another.
//! [`accept_metadata`] lets it point at the checksum of the packet's own transport header, or at bytes that
//! no decision rests on (a tunnel inside the pod leaves the sum of its inner packet to us).
//!
//! A UDP socket has no metadata at all: over a veth underlay the kernel's vxlan device hands us encapsulated
//! frames whose inner checksum is partial and whose TCP segments are up to 64 KiB long. [`detect_partial`]
//! and [`detect_gso`] recognise both by their bytes.

use vxlan::mtu::Family;
use vxlan::wire::checksum::{fold, pseudo_header};
use vxlan::wire::headers::{IpHeaders, L4};
use vxlan::wire::{sctp, udp};

use super::checksum::{TCP_CHECKSUM, UDP_CHECKSUM};
use super::crc32c::crc32c;
use super::field;
use super::segment::{MAX_TCP_SEGMENTS, MAX_UDP_SEGMENTS, TCP_CWR};
use crate::buffer::{Checksum, Frame, Gso, GsoKind};

const ICMP_CHECKSUM: u16 = 2;
const SCTP_CHECKSUM: u16 = 8;

/// Holds the offload metadata a port brought against the headers; `false` where the frame must be dropped
/// as malformed.
///
/// A partial SCTP checksum is completed here: it is a CRC that nobody further along would know how to finish.
#[must_use]
pub fn accept_metadata(frame: &mut Frame, headers: &IpHeaders) -> bool {
    if frame.gso.is_some_and(|gso| !gso_fits(gso, headers)) {
        return false;
    }
    let Checksum::Partial { start, offset } = frame.checksum else { return true };
    if headers.fragment.is_some() {
        return false;
    }
    if is_own_checksum(headers, start, offset) {
        return match headers.l4 {
            L4::Sctp { .. } => complete_sctp(frame, headers).is_some(),
            _ => true,
        };
    }
    frame.gso.is_none() && is_payload(headers, start, offset)
}

/// Marks a frame whose TCP or UDP checksum is the bare pseudo-header sum as [`Checksum::Partial`].
///
/// A complete checksum equals that sum once in 65,536 frames; completing it again then yields the same
/// value, so a wrong guess does no harm.
pub fn detect_partial(frame: &mut Frame, headers: &IpHeaders) {
    if frame.checksum != Checksum::Complete || headers.fragment.is_some() {
        return;
    }
    let start = usize::from(headers.l4_offset);
    let len = headers.l4_len();
    let offset = match headers.l4 {
        L4::Tcp { .. } => TCP_CHECKSUM,
        // A datagram shorter than its packet (RFC 9868) is summed shorter too: no kernel leaves that to others.
        L4::Udp { .. } if field::read_u16(frame.bytes(), start + 4).map(usize::from) == Some(len) => {
            UDP_CHECKSUM
        }
        _ => return,
    };
    let Some(stored) = field::read_u16(frame.bytes(), start + usize::from(offset)) else { return };
    let sum = pseudo_header(headers.src, headers.dst, headers.protocol, len as u32);
    // Over UDP 0 is "no checksum"; the sum itself is never 0, as no address is all zeros.
    if stored != 0 && stored == fold(sum) {
        frame.checksum = Checksum::Partial { start: headers.l4_offset, offset };
    }
}

/// Marks a TCP packet larger than `mtu` (the tunnel's) as a super-packet of segments that just fit.
///
/// The sender's real segment size is not known; segments that fill the MTU are what it would have used.
pub fn detect_gso(frame: &mut Frame, headers: &IpHeaders, mtu: u16) {
    if frame.gso.is_some() || headers.fragment.is_some() || headers.ip_len <= u32::from(mtu) {
        return;
    }
    let L4::Tcp { flags, header_len, .. } = headers.l4 else { return };
    let kind = match headers.family {
        Family::V4 => GsoKind::Tcp4,
        Family::V6 => GsoKind::Tcp6,
    };
    let size = headers
        .l4_offset
        .checked_sub(headers.l3_offset)
        .and_then(|ip_header| mtu.checked_sub(ip_header)?.checked_sub(u16::from(header_len)))
        .unwrap_or_default();
    if size > 0 {
        frame.gso = Some(Gso { kind, size, ecn: flags & TCP_CWR != 0 });
    }
}

/// True when `gso` is a way to cut this very packet, into no more pieces than an honest sender makes.
pub(super) fn gso_fits(gso: Gso, headers: &IpHeaders) -> bool {
    let (most, header_len) = match (gso.kind, headers.family, headers.l4) {
        (GsoKind::Tcp4, Family::V4, L4::Tcp { header_len, .. })
        | (GsoKind::Tcp6, Family::V6, L4::Tcp { header_len, .. }) => {
            (MAX_TCP_SEGMENTS, usize::from(header_len))
        }
        (GsoKind::UdpL4, _, L4::Udp { .. }) => (MAX_UDP_SEGMENTS, udp::HEADER_BYTES),
        _ => return false,
    };
    let payload = headers.l4_len().saturating_sub(header_len);
    headers.fragment.is_none() && gso.size > 0 && payload.div_ceil(usize::from(gso.size)) <= most
}

/// True when the metadata names the checksum field of the packet's own transport header.
pub(super) fn is_own_checksum(headers: &IpHeaders, start: u16, offset: u16) -> bool {
    start == headers.l4_offset && checksum_field(headers.l4) == Some(offset)
}

fn checksum_field(l4: L4) -> Option<u16> {
    match l4 {
        L4::Tcp { .. } => Some(TCP_CHECKSUM),
        L4::Udp { .. } => Some(UDP_CHECKSUM),
        L4::Sctp { .. } => Some(SCTP_CHECKSUM),
        L4::Icmp { .. } | L4::Icmpv6 { .. } => Some(ICMP_CHECKSUM),
        L4::Other | L4::LaterFragment => None,
    }
}

/// True when the field written lies within the packet but behind every byte that a decision rests on.
fn is_payload(headers: &IpHeaders, start: u16, offset: u16) -> bool {
    let judged = match headers.l4 {
        L4::Tcp { header_len, .. } => usize::from(header_len),
        // With the operation of a DHCP message, by which a rogue server is known.
        L4::Udp { .. } => udp::HEADER_BYTES + 1,
        // With the header of the first chunk.
        L4::Sctp { .. } => sctp::HEADER_BYTES + 4,
        // Of an unknown protocol nothing is looked at.
        L4::Other => 0,
        // The packet quoted in an ICMP error is matched with a connection.
        L4::Icmp { .. } | L4::Icmpv6 { .. } | L4::LaterFragment => return false,
    };
    let written = usize::from(start) + usize::from(offset);
    start >= headers.l4_offset
        && written >= usize::from(headers.l4_offset) + judged
        && written + 2 <= headers.frame_len()
}

fn complete_sctp(frame: &mut Frame, headers: &IpHeaders) -> Option<()> {
    let packet = frame.bytes_mut().get_mut(usize::from(headers.l4_offset)..headers.frame_len())?;
    let (ports_and_tag, rest) = packet.split_first_chunk_mut::<8>()?;
    let (checksum, chunks) = rest.split_first_chunk_mut::<4>()?;
    *checksum = crc32c(&[&*ports_and_tag, &[0; 4], chunks]).to_le_bytes();
    frame.checksum = Checksum::Complete;
    Some(())
}
