//! The IPv4 header (RFC 791 section 3.1).
//!
//! ```text
//! | version (4) | IHL (4) | TOS (8) | total length (16) |
//! | identification (16) | flags (3) | fragment offset (13) |
//! | TTL (8) | protocol (8) | header checksum (16) |
//! | source (32) | destination (32) | options (0 to 40 bytes) |
//! ```
//!
//! Accepted: any IHL that holds, a right checksum, a total length within the bytes that are there (what is left
//! over is the link's padding and not the packet's), options that are well-formed and route nothing.
//! The reserved flag is ignored.

use std::net::Ipv4Addr;

use super::checksum;
use super::error::ParseError;
use super::fragment::Fragment;
pub use super::ttl::Ttl;

/// Size of the header without options.
pub const MIN_HEADER_BYTES: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_LSRR: u8 = 131;
const OPTION_SSRR: u8 = 137;

/// An IPv4 header.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Ipv4 {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// May the packet not be fragmented?
    pub dont_fragment: bool,
    /// Bytes of the header with its options: 20 to 60.
    pub header_len: u8,
    /// Bytes of the packet.
    pub total_len: u32,
    /// Its place in a datagram that is in pieces.
    pub fragment: Option<Fragment>,
}

/// The header of a packet. Of a super-packet (`gso`) the total length may be zero: then it is what there is.
///
/// # Errors
/// The rules of the module comment: `Truncated`, `BadHeader`, `LengthMismatch`, `IpChecksum`, `IpOptions`.
/// Addresses are not judged here, see [`is_martian`].
#[inline]
pub fn parse(bytes: &[u8], gso: bool) -> Result<Ipv4, ParseError> {
    let Some(
        &[
            version_ihl,
            tos,
            len0,
            len1,
            id0,
            id1,
            frag0,
            frag1,
            ttl,
            protocol,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            d0,
            d1,
            d2,
            d3,
        ],
    ) = bytes.first_chunk::<MIN_HEADER_BYTES>()
    else {
        return Err(ParseError::Truncated);
    };
    let header_len = (version_ihl & 0x0f) * 4;
    let header_bytes = usize::from(header_len);
    if version_ihl >> 4 != 4 || header_bytes < MIN_HEADER_BYTES {
        return Err(ParseError::BadHeader);
    }
    let header = bytes.get(..header_bytes).ok_or(ParseError::Truncated)?;
    let total_len = match u16::from_be_bytes([len0, len1]) {
        0 if gso => bytes.len(),
        length => usize::from(length),
    };
    let payload_len = total_len.checked_sub(header_bytes).ok_or(ParseError::LengthMismatch)?;
    if total_len > bytes.len() {
        return Err(ParseError::LengthMismatch);
    }
    // Of a known length the sum is a few additions.
    match <&[u8; MIN_HEADER_BYTES]>::try_from(header) {
        Ok(fixed) if checksum::ipv4_header(fixed) == 0 => {}
        Ok(_) => return Err(ParseError::IpChecksum),
        Err(_) => check_longer(header)?,
    }

    let flags = u16::from_be_bytes([frag0, frag1]);
    let offset = (flags & OFFSET_MASK) * 8;
    let more = flags & MORE_FRAGMENTS != 0;
    let fragment = if more || offset != 0 {
        let id = u32::from(u16::from_be_bytes([id0, id1]));
        Some(Fragment::checked(id, offset, more, payload_len, header_bytes)?)
    } else {
        None
    };
    Ok(Ipv4 {
        src: Ipv4Addr::new(s0, s1, s2, s3),
        dst: Ipv4Addr::new(d0, d1, d2, d3),
        protocol,
        ttl,
        tos,
        dont_fragment: flags & DONT_FRAGMENT != 0,
        header_len,
        total_len: u32::try_from(total_len).map_err(|_| ParseError::LengthMismatch)?,
        fragment,
    })
}

/// A header with options: its sum, then they.
#[inline(never)]
fn check_longer(header: &[u8]) -> Result<(), ParseError> {
    if checksum::ipv4_header(header) != 0 {
        return Err(ParseError::IpChecksum);
    }
    check_options(header.get(MIN_HEADER_BYTES..).unwrap_or_default())
}

/// Walks the options: each must have its length, none may be a source route (RFC 7126 sections 4.3, 4.4).
fn check_options(mut options: &[u8]) -> Result<(), ParseError> {
    while let Some((&kind, rest)) = options.split_first() {
        options = match kind {
            OPTION_END => return Ok(()),
            OPTION_NOP => rest,
            OPTION_LSRR | OPTION_SSRR => return Err(ParseError::IpOptions),
            _ => {
                // The length counts the kind and itself.
                let length = rest.first().copied().unwrap_or(0);
                if length < 2 {
                    return Err(ParseError::IpOptions);
                }
                options.get(usize::from(length)..).ok_or(ParseError::IpOptions)?
            }
        };
    }
    Ok(())
}

/// May a packet with these addresses not be on the wire (RFC 1122 section 3.2.1.3, RFC 1812 section 5.3.7)?
/// Multicast and broadcast destinations may. A source of 0.0.0.0 is for the caller to judge by
/// `unspecified_source`: it is allowed in one case, a DHCP client's request.
pub fn is_martian(src: Ipv4Addr, dst: Ipv4Addr, unspecified_source: bool) -> bool {
    let this_network = |address: Ipv4Addr| address.octets()[0] == 0;
    let reserved = |address: Ipv4Addr| address.octets()[0] >= 240;
    let source = src.is_loopback()
        || src.is_multicast()
        || reserved(src)
        || (this_network(src) && !(src.is_unspecified() && unspecified_source));
    let destination = dst.is_loopback() || this_network(dst) || (reserved(dst) && !dst.is_broadcast());
    source || destination
}

/// Counts the TTL of an IPv4 packet down, the header checksum with it (RFC 1624).
pub fn decrement_ttl(ip_packet: &mut [u8]) -> Ttl {
    let Some([_, _, _, _, _, _, _, _, ttl, protocol, high, low]) = ip_packet.first_chunk_mut::<12>() else {
        return Ttl::Expired;
    };
    if *ttl <= 1 {
        return Ttl::Expired;
    }
    let old = u16::from_be_bytes([*ttl, *protocol]);
    *ttl -= 1;
    let new = u16::from_be_bytes([*ttl, *protocol]);
    [*high, *low] = checksum::update16(u16::from_be_bytes([*high, *low]), old, new).to_be_bytes();
    Ttl::Decremented
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{V4, ipv4_frame, udp};
    use proptest::prelude::*;

    #[test]
    fn ttl_that_would_reach_zero_expires_and_the_packet_is_untouched() {
        for ttl in [0, 1] {
            let mut frame = ipv4_frame(17, &udp(1, 2, b""));
            frame[22] = ttl;
            let before = frame.clone();
            assert_eq!(decrement_ttl(&mut frame[14..]), Ttl::Expired);
            assert_eq!(frame, before);
        }
        assert_eq!(decrement_ttl(&mut [0xff; 11]), Ttl::Expired);
    }

    proptest! {
        #[test]
        fn rfc1624_checksum_stays_right_down_to_the_last_hop(src: [u8; 4], dst: [u8; 4], protocol: u8) {
            let mut frame = V4 { src, dst, protocol, ..V4::default() }.frame();
            let packet = &mut frame[14..];
            for left in (1..63).rev() {
                prop_assert_eq!(decrement_ttl(packet), Ttl::Decremented);
                prop_assert_eq!(packet[8], left);
                prop_assert_eq!(checksum::ipv4_header(packet), 0);
                prop_assert_eq!(parse(packet, false).map(|ip| ip.ttl), Ok(left));
            }
            prop_assert_eq!(decrement_ttl(packet), Ttl::Expired);
        }
    }
}
