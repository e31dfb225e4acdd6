//! The IPv6 header (RFC 8200 section 3); its extension headers are walked in `ipv6_chain`.
//!
//! ```text
//! | version (4) | traffic class (8) | flow label (20) |
//! | payload length (16) | next header (8) | hop limit (8) |
//! | source (128) | destination (128) |
//! ```
//!
//! The payload length must lie within the bytes that are there; what is left over is padding. Jumbograms
//! (RFC 2675) are refused.

use std::net::Ipv6Addr;

use super::error::ParseError;
use super::fragment::Fragment;
use super::ipv6_chain;
pub use super::ttl::Ttl;

/// Size of the header.
pub const HEADER_BYTES: usize = 40;

/// An IPv6 header and the end of its extension headers.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Ipv6 {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// The protocol after the extension headers. Of a later fragment, which does not hold them all, what its
    /// fragment header says.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Where the bytes of `protocol` begin, from the start of the packet.
    pub upper_offset: u16,
    /// Bytes of the packet, the 40 of the header among them.
    pub packet_len: u32,
    /// Its place in a datagram that is in pieces; `None` for an atomic fragment (RFC 6946).
    pub fragment: Option<Fragment>,
}

/// The header of a packet. Of a super-packet (`gso`) the payload length may be zero: then it is what there is.
///
/// # Errors
/// `Truncated`, `BadHeader`, `LengthMismatch`, `Ipv6ExtensionChain`, `FragmentTiny`. Addresses are not judged
/// here, see [`is_martian`].
#[inline]
pub fn parse(bytes: &[u8], gso: bool) -> Result<Ipv6, ParseError> {
    let Some((&[v0, v1, _, _, len0, len1, next_header, hop_limit], rest)) = bytes.split_first_chunk::<8>()
    else {
        return Err(ParseError::Truncated);
    };
    let Some((src, rest)) = rest.split_first_chunk::<16>() else { return Err(ParseError::Truncated) };
    let Some((dst, rest)) = rest.split_first_chunk::<16>() else { return Err(ParseError::Truncated) };
    if v0 >> 4 != 6 {
        return Err(ParseError::BadHeader);
    }
    let payload_len = match u16::from_be_bytes([len0, len1]) {
        0 if gso => rest.len(),
        length => usize::from(length),
    };
    let payload = rest.get(..payload_len).ok_or(ParseError::LengthMismatch)?;
    let chain = ipv6_chain::end(next_header, payload)?;
    let packet_len = HEADER_BYTES.saturating_add(payload_len);
    Ok(Ipv6 {
        src: Ipv6Addr::from(*src),
        dst: Ipv6Addr::from(*dst),
        protocol: chain.protocol,
        hop_limit,
        traffic_class: (v0 << 4) | (v1 >> 4),
        upper_offset: (HEADER_BYTES as u16).saturating_add(chain.offset),
        packet_len: u32::try_from(packet_len).map_err(|_| ParseError::LengthMismatch)?,
        fragment: chain.fragment,
    })
}

/// May a packet with these addresses not be on the wire (RFC 4291 section 2.5, RFC 9099 section 2.3)? Multicast
/// destinations may. The unspecified source is for the caller to judge by `unspecified_source`: only ICMPv6
/// (duplicate address detection, multicast listeners) comes from it.
#[inline]
pub fn is_martian(src: Ipv6Addr, dst: Ipv6Addr, unspecified_source: bool) -> bool {
    let source =
        if src.is_unspecified() { !unspecified_source } else { embeds_ipv4(src) || src.is_multicast() };
    source || embeds_ipv4(dst)
}

/// `::/96` (compatible; the loopback and the unspecified address lie there too), `::ffff:0:0/96` (mapped) and
/// `64:ff9b::/96` (NAT64): IPv4 under another name, by which it would escape the rules for its own.
#[inline]
fn embeds_ipv4(address: Ipv6Addr) -> bool {
    const NAT64: u128 = 0x64_ff9b << 64;
    matches!(address.to_bits() >> 32, 0 | 0xffff | NAT64)
}

/// Counts the hop limit of an IPv6 packet down.
pub fn decrement_ttl(ip_packet: &mut [u8]) -> Ttl {
    let Some([_, _, _, _, _, _, _, hop_limit]) = ip_packet.first_chunk_mut::<8>() else {
        return Ttl::Expired;
    };
    if *hop_limit <= 1 {
        return Ttl::Expired;
    }
    *hop_limit -= 1;
    Ttl::Decremented
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::{ipv6_frame, udp};

    #[test]
    fn hop_limit_that_would_reach_zero_expires_and_the_packet_is_untouched() {
        for hop_limit in [0, 1] {
            let mut frame = ipv6_frame(17, &udp(1, 2, b""));
            frame[21] = hop_limit;
            let before = frame.clone();
            assert_eq!(decrement_ttl(&mut frame[14..]), Ttl::Expired);
            assert_eq!(frame, before);
        }
        assert_eq!(decrement_ttl(&mut [0xff; 7]), Ttl::Expired);
    }

    #[test]
    fn hop_limit_is_counted_down_by_one() {
        let mut frame = ipv6_frame(17, &udp(1, 2, b""));
        assert_eq!(decrement_ttl(&mut frame[14..]), Ttl::Decremented);
        assert_eq!(parse(&frame[14..], false).map(|ip| ip.hop_limit), Ok(62));
    }
}
