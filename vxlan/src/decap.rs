//! Reading outer headers, for underlays where weir gets whole frames (a raw port on the NIC).
//!
//! In: a frame from the underlay. Out: who sent it and where the VXLAN header begins. The walk is that of
//! [`crate::wire::headers`], with what an outer packet must be beyond it: unicast, UDP, not a fragment (RFC 7348
//! section 4.3: a VTEP may discard them), and with a right UDP checksum where there is one (RFC 7348 section 5;
//! zero is "none", in IPv6 too, RFC 6935).
//!
//! Cost: the headers, and one pass over the payload where a checksum is to be verified. Whether the packet is
//! for this node, by MAC, address and port, is the caller's to say.

use std::net::IpAddr;
use std::ops::Range;

use crate::wire::headers::{self, L4, Network, PROTOCOL_UDP, ParseError};
use crate::wire::{checksum, udp};

/// What the outer headers say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OuterMeta {
    /// Source: the VTEP, if it is one.
    pub src: IpAddr,
    /// Destination.
    pub dst: IpAddr,
    /// UDP source port.
    pub source_port: u16,
    /// UDP destination port.
    pub dest_port: u16,
    /// TOS or traffic class.
    pub tos: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The UDP payload within the frame, from the VXLAN header to the end by the UDP length.
    pub payload: Range<usize>,
}

/// Why a frame is no outer packet.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OuterError {
    /// It ends before its headers do.
    #[error("the outer packet ends before its headers do")]
    Truncated,
    /// A length field contradicts it.
    #[error("an outer length field contradicts the packet")]
    LengthMismatch,
    /// Not untagged IP, or not UDP.
    #[error("the outer packet is not UDP")]
    NotUdp,
    /// An address that may not be on the wire, or a destination that is not one host's.
    #[error("an outer address is not that of a host")]
    Martian,
    /// A fragment.
    #[error("the outer packet is a fragment")]
    Fragment,
    /// The IPv4 header checksum is wrong.
    #[error("the outer IPv4 header checksum is wrong")]
    IpChecksum,
    /// The UDP checksum is there and wrong.
    #[error("the outer UDP checksum is wrong")]
    UdpChecksum,
    /// A field that no valid packet has, source routes and refused extension headers among them.
    #[error("an outer header field has an impossible value")]
    BadHeader,
}

impl From<ParseError> for OuterError {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Truncated => Self::Truncated,
            ParseError::LengthMismatch => Self::LengthMismatch,
            ParseError::BadHeader | ParseError::IpOptions | ParseError::Ipv6ExtensionChain => Self::BadHeader,
            ParseError::IpChecksum => Self::IpChecksum,
            ParseError::Martian | ParseError::Ipv6Martian => Self::Martian,
            ParseError::FragmentTiny => Self::Fragment,
            ParseError::Vlan | ParseError::LengthType | ParseError::UnsupportedEthertype(_) => Self::NotUdp,
        }
    }
}

/// What to do with a non-zero UDP checksum.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub enum UdpChecksum {
    /// Verify it.
    #[default]
    Verify,
    /// Verify it, unless it is the sum of the pseudo header alone: that of a frame which never left the host, from a veth,
    /// where nobody could tell. A right checksum equals that sum once in 65,536 packets, a wrong one too.
    VerifyUnlessPartial,
    /// Leave it: the kernel says that it has verified it, or that it has yet to be filled in (a frame that
    /// never left the host, from a veth).
    Trust,
}

/// Reads the outer headers of a frame and verifies their checksums.
///
/// # Errors
/// See [`OuterError`]: the frame is to be dropped.
///
/// ```
/// use vxlan::decap::{OuterError, parse_outer};
///
/// assert_eq!(parse_outer(&[0; 13]), Err(OuterError::Truncated));
/// ```
pub fn parse_outer(frame: &[u8]) -> Result<OuterMeta, OuterError> {
    parse_outer_with(frame, UdpChecksum::Verify)
}

/// [`parse_outer`], with a say about the UDP checksum.
///
/// # Errors
/// See [`OuterError`]: the frame is to be dropped.
pub fn parse_outer_with(frame: &[u8], udp_checksum: UdpChecksum) -> Result<OuterMeta, OuterError> {
    let headers = headers::parse(frame, false)?;
    let Network::Ip(ip) = headers.net else { return Err(OuterError::NotUdp) };
    if ip.protocol != PROTOCOL_UDP {
        return Err(OuterError::NotUdp);
    }
    if ip.fragment.is_some() {
        return Err(OuterError::Fragment);
    }
    let L4::Udp { src_port, dst_port } = ip.l4 else { return Err(OuterError::NotUdp) };
    if headers.eth.dst.is_multicast() || is_many(ip.dst) || ip.src.is_unspecified() {
        return Err(OuterError::Martian);
    }

    let start = usize::from(ip.l4_offset);
    let datagram = frame.get(start..ip.frame_len()).ok_or(OuterError::Truncated)?;
    let header = udp::parse(datagram)?;
    let datagram = datagram.get(..usize::from(header.length)).ok_or(OuterError::LengthMismatch)?;
    let is_partial = || {
        let length = u32::from(header.length);
        header.checksum == checksum::fold(checksum::pseudo_header(ip.src, ip.dst, PROTOCOL_UDP, length))
    };
    let verify = match udp_checksum {
        UdpChecksum::Verify => true,
        UdpChecksum::VerifyUnlessPartial => !is_partial(),
        UdpChecksum::Trust => false,
    };
    let wrong = || checksum::transport(ip.src, ip.dst, PROTOCOL_UDP, datagram) != 0;
    if header.checksum != 0 && verify && wrong() {
        return Err(OuterError::UdpChecksum);
    }
    Ok(OuterMeta {
        src: ip.src,
        dst: ip.dst,
        source_port: src_port,
        dest_port: dst_port,
        tos: ip.tos,
        ttl: ip.ttl,
        payload: start.saturating_add(udp::HEADER_BYTES)..start.saturating_add(datagram.len()),
    })
}

fn is_many(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
