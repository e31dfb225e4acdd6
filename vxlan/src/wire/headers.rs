//! The walk over all headers of a frame: the pipeline's parse stage, and the place where hostile bytes arrive.
//!
//! ```text
//! Ethernet ─► ARP (its content is read elsewhere)
//!          ─► IPv4 ─► options ──────────┐
//!          ─► IPv6 ─► extension headers ┴─► TCP │ UDP │ SCTP │ ICMP │ ICMPv6 │ other │ later fragment
//! ```
//!
//! A frame that passes has headers that lie within it, lengths that agree with one another, addresses that may
//! be on the wire, and the protocol that policy is about. What a caller still has to judge: MAC addresses,
//! multicast and broadcast destinations, whose the addresses are, and what `L4::Other` and ARP may do.
//!
//! Bytes after the IP packet are the link's padding; [`IpHeaders::frame_len`] says where to cut them off, so
//! that they are never forwarded.
//!
//! Follows RFC 791, 8200, 1858 and 3128 (tiny fragments), 5095 (routing type 0), 6946 (atomic fragments), 7112
//! (whole chain in the first fragment), 7126 (IPv4 options), 9099 (addresses). Cost: one pass over the
//! headers, payload bytes are not read; no allocation; extension headers are bounded (8, 256 bytes).

use std::net::{IpAddr, Ipv4Addr};

use super::{ethernet, icmp, ipv4, ipv6, sctp, tcp, udp};
use crate::mtu::Family;

pub use super::error::ParseError;
pub use super::ethernet::Ethernet;
pub use super::fragment::Fragment;

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Protocol number of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// Protocol number of SCTP.
pub const PROTOCOL_SCTP: u8 = 132;

const DHCP_CLIENT: u16 = 68;
const DHCP_SERVER: u16 = 67;

/// The headers of a frame.
///
/// ```
/// use vxlan::wire::headers::{self, ParseError};
///
/// // A VLAN tag, even of VLAN 0, is not looked behind.
/// let tagged = [&[0x0e; 12][..], &[0x81, 0x00, 0, 0, 0x08, 0x00], &[0; 46]].concat();
/// assert_eq!(headers::parse(&tagged, false).unwrap_err(), ParseError::Vlan);
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Headers {
    /// The Ethernet header.
    pub eth: Ethernet,
    /// What it carries.
    pub net: Network,
}

/// What a frame carries.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum Network {
    /// ARP, unread.
    Arp,
    /// An IP packet.
    Ip(IpHeaders),
}

/// The headers of an IP packet.
///
/// ```
/// use vxlan::wire::headers::{L4, Network, ParseError, parse};
///
/// let frame = [
///     &[0x0e, 0, 0, 0, 0, 7, 0x0e, 0, 0, 0, 0, 5, 0x08, 0x00][..],
///     &[0x45, 0, 0, 29, 0, 0, 0, 0, 64, 17, 0x65, 0x71, 10, 42, 0, 5, 10, 42, 1, 7],
///     &[0x9c, 0x40, 0, 53, 0, 9, 0, 0, b'?'],
///     b"padding",
/// ]
/// .concat();
/// let Network::Ip(ip) = parse(&frame, false)?.net else { return Ok(()) };
/// assert_eq!(ip.l4, L4::Udp { src_port: 40000, dst_port: 53 });
/// assert_eq!(frame.get(ip.frame_len()..), Some(&b"padding"[..]));
/// # Ok::<(), ParseError>(())
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct IpHeaders {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// The family of both.
    pub family: Family,
    /// The protocol, in IPv6 the one after the extension headers. (Of a later IPv6 fragment, what its
    /// fragment header says: the rest of the chain is in the first fragment.)
    pub protocol: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TOS or traffic class.
    pub tos: u8,
    /// May routers not fragment it? Always so in IPv6.
    pub dont_fragment: bool,
    /// Where the IP header begins in the frame.
    pub l3_offset: u16,
    /// Where `protocol` begins in the frame; in a later fragment, where its piece of the datagram begins.
    pub l4_offset: u16,
    /// Bytes of the IP packet by its own length field, from `l3_offset`.
    pub ip_len: u32,
    /// Its place in a datagram that is in pieces.
    pub fragment: Option<Fragment>,
    /// The transport header.
    pub l4: L4,
}

impl IpHeaders {
    /// Bytes of the frame without the padding after the IP packet.
    pub const fn frame_len(&self) -> usize {
        (self.l3_offset as usize).saturating_add(self.ip_len as usize)
    }

    /// Bytes after `l4_offset` that are the packet's.
    pub const fn l4_len(&self) -> usize {
        self.frame_len().saturating_sub(self.l4_offset as usize)
    }
}

/// A transport header, as far as policy and connection tracking need it.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum L4 {
    /// TCP.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// The control bits ([`tcp::SYN`] and so on).
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgment number.
        ack: u32,
        /// Bytes of the header with its options.
        header_len: u8,
    },
    /// UDP.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// SCTP.
    Sctp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Type of the first chunk, where there is one.
        chunk: Option<u8>,
        /// Verification tag.
        vtag: u32,
    },
    /// ICMP in IPv4.
    Icmp {
        /// Message type.
        icmp_type: u8,
        /// Message code.
        code: u8,
        /// Identifier of an echo message, else 0.
        id: u16,
    },
    /// ICMPv6 in IPv6.
    Icmpv6 {
        /// Message type.
        icmp_type: u8,
        /// Message code.
        code: u8,
        /// Identifier of an echo message, else 0.
        id: u16,
    },
    /// Any other protocol (also ICMP in the wrong family).
    Other,
    /// A fragment that is not the first: there is no transport header in it.
    LaterFragment,
}

/// Reads the headers of a frame. With `gso` the frame is a super-packet that the kernel handed over in one
/// piece: length fields that cannot hold its size may be zero.
///
/// # Errors
/// See [`ParseError`]: the frame is to be dropped.
#[inline]
pub fn parse(frame: &[u8], gso: bool) -> Result<Headers, ParseError> {
    let (eth, packet) = ethernet::parse(frame).ok_or(ParseError::Truncated)?;
    match eth.ethertype {
        ethernet::IPV4 => parse_ipv4(eth, packet, gso),
        ethernet::IPV6 => parse_ipv6(eth, packet, gso),
        ethernet::ARP => Ok(Headers { eth, net: Network::Arp }),
        length if length < ethernet::FIRST_TYPE => Err(ParseError::LengthType),
        tag if ethernet::is_vlan(tag) => Err(ParseError::Vlan),
        other => Err(ParseError::UnsupportedEthertype(other)),
    }
}

const L3_OFFSET: u16 = ethernet::HEADER_BYTES as u16;

// Both make the whole of the result: what is copied right after it was written in pieces stalls the processor.
#[inline]
fn parse_ipv4(eth: Ethernet, packet: &[u8], gso: bool) -> Result<Headers, ParseError> {
    let ip = ipv4::parse(packet, gso)?;
    let payload =
        packet.get(usize::from(ip.header_len)..ip.total_len as usize).ok_or(ParseError::LengthMismatch)?;
    let l4 = parse_l4(Family::V4, ip.protocol, payload, ip.fragment, gso)?;

    let asks_for_address = matches!(l4, L4::Udp { src_port: DHCP_CLIENT, dst_port: DHCP_SERVER })
        && (ip.dst == Ipv4Addr::BROADCAST);
    if ipv4::is_martian(ip.src, ip.dst, asks_for_address) {
        return Err(ParseError::Martian);
    }
    let ip = IpHeaders {
        src: ip.src.into(),
        dst: ip.dst.into(),
        family: Family::V4,
        protocol: ip.protocol,
        ttl: ip.ttl,
        tos: ip.tos,
        dont_fragment: ip.dont_fragment,
        l3_offset: L3_OFFSET,
        l4_offset: L3_OFFSET.saturating_add(u16::from(ip.header_len)),
        ip_len: ip.total_len,
        fragment: ip.fragment,
        l4,
    };
    Ok(Headers { eth, net: Network::Ip(ip) })
}

#[inline]
fn parse_ipv6(eth: Ethernet, packet: &[u8], gso: bool) -> Result<Headers, ParseError> {
    let ip = ipv6::parse(packet, gso)?;
    let payload =
        packet.get(usize::from(ip.upper_offset)..ip.packet_len as usize).ok_or(ParseError::LengthMismatch)?;
    let l4 = parse_l4(Family::V6, ip.protocol, payload, ip.fragment, gso)?;

    if ipv6::is_martian(ip.src, ip.dst, matches!(l4, L4::Icmpv6 { .. })) {
        return Err(ParseError::Ipv6Martian);
    }
    let ip = IpHeaders {
        src: ip.src.into(),
        dst: ip.dst.into(),
        family: Family::V6,
        protocol: ip.protocol,
        ttl: ip.hop_limit,
        tos: ip.traffic_class,
        dont_fragment: true,
        l3_offset: L3_OFFSET,
        l4_offset: L3_OFFSET.saturating_add(ip.upper_offset),
        ip_len: ip.packet_len,
        fragment: ip.fragment,
        l4,
    };
    Ok(Headers { eth, net: Network::Ip(ip) })
}

#[allow(
    clippy::inline_always,
    reason = "through memory the result comes in pieces, which stalls: 7 of 20 ns"
)]
#[inline(always)]
fn parse_l4(
    family: Family,
    protocol: u8,
    payload: &[u8],
    fragment: Option<Fragment>,
    gso: bool,
) -> Result<L4, ParseError> {
    let goes_on_elsewhere = match fragment {
        // RFC 3128: it would write over the transport header that policy has judged.
        Some(fragment) if !fragment.is_first() && fragment.offset < header_bytes(protocol) => {
            return Err(ParseError::FragmentTiny);
        }
        Some(fragment) if !fragment.is_first() => return Ok(L4::LaterFragment),
        Some(_) => true,
        None => false,
    };
    match read_l4(family, protocol, payload, goes_on_elsewhere, gso) {
        Err(ParseError::Truncated) if goes_on_elsewhere => Err(ParseError::FragmentTiny),
        read => read,
    }
}

/// The least a first fragment must have held.
const fn header_bytes(protocol: u8) -> u32 {
    match protocol {
        PROTOCOL_TCP => tcp::MIN_HEADER_BYTES as u32,
        PROTOCOL_SCTP => sctp::HEADER_BYTES as u32,
        _ => 8,
    }
}

#[allow(clippy::inline_always, reason = "as above")]
#[inline(always)]
fn read_l4(
    family: Family,
    protocol: u8,
    payload: &[u8],
    goes_on_elsewhere: bool,
    gso: bool,
) -> Result<L4, ParseError> {
    Ok(match (protocol, family) {
        (PROTOCOL_TCP, _) => {
            let tcp::Tcp { src_port, dst_port, flags, seq, ack, header_len } = tcp::parse(payload)?;
            L4::Tcp { src_port, dst_port, flags, seq, ack, header_len }
        }
        (PROTOCOL_UDP, _) => {
            let header = udp::parse(payload)?;
            // The kernel writes into a super-packet's field what it likes, and segmentation writes it anew.
            if !gso {
                udp::check_length(&header, (!goes_on_elsewhere).then_some(payload.len()))?;
            }
            L4::Udp { src_port: header.src_port, dst_port: header.dst_port }
        }
        (PROTOCOL_SCTP, _) => {
            let sctp::Sctp { src_port, dst_port, vtag, chunk } = sctp::parse(payload)?;
            L4::Sctp { src_port, dst_port, chunk, vtag }
        }
        (PROTOCOL_ICMP, Family::V4) => {
            let icmp::Icmp { icmp_type, code, id } = icmp::parse_v4(payload)?;
            L4::Icmp { icmp_type, code, id }
        }
        (PROTOCOL_ICMPV6, Family::V6) => {
            let icmp::Icmp { icmp_type, code, id } = icmp::parse_v6(payload)?;
            L4::Icmpv6 { icmp_type, code, id }
        }
        _ => L4::Other,
    })
}

#[cfg(test)]
mod tests;
