//! The packet quoted inside an ICMP error: which connection the error is about.
//!
//! An error is forged as easily as any packet, so it counts only when it quotes a packet of a connection that
//! its receiver has (RFC 5927, RFC 5508). Here the quote is parsed; finding the connection is conntrack's.
//! Anyone may have written these bytes: a header length beyond the quote, a later fragment, an extension
//! header chain without end, all yield `None`. Only the first 8 bytes of the transport header are needed,
//! the least that RFC 792 has quoted.

use std::net::IpAddr;

use vxlan::mtu::Family;
use vxlan::wire::headers::{
    IpHeaders, PROTOCOL_ICMP as ICMP, PROTOCOL_ICMPV6 as ICMPV6, PROTOCOL_SCTP as SCTP, PROTOCOL_TCP as TCP,
    PROTOCOL_UDP as UDP,
};

use super::icmp_error::is_icmp_error;

/// Least MTU believed of a "fragmentation needed" or "packet too big": below, an attacker would make a host
/// send very small packets (RFC 8201 section 6; RFC 791 for the size every host takes).
const LEAST_MTU_V4: u16 = 576;
const LEAST_MTU_V6: u32 = 1_280;

/// Bounds of the extension header walk, as for whole packets.
const MAX_EXTENSIONS: usize = 8;
const MAX_EXTENSION_BYTES: usize = 256;

/// The quoted packet, as it was sent: its source is the host that the error goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedTuple {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Transport protocol, behind all extension headers.
    pub protocol: u8,
    /// Source port; the identifier of an ICMP echo; 0 where the protocol has neither.
    pub src_port: u16,
    /// Destination port; 0 where the protocol has none.
    pub dst_port: u16,
    /// Set for an ICMP echo request, clear for a reply (and for everything else).
    pub is_echo_request: bool,
}

/// Reads the packet that the ICMP error in `bytes` (the frame) quotes; `None` when it is no error, or quotes
/// nothing that can be one of its receiver's packets.
pub fn embedded(headers: &IpHeaders, bytes: &[u8]) -> Option<EmbeddedTuple> {
    if !is_icmp_error(headers) || headers.fragment.is_some() {
        return None;
    }
    let message = bytes.get(usize::from(headers.l4_offset)..headers.frame_len())?;
    let ([kind, code, _, _, rest @ ..], quoted) = message.split_first_chunk::<8>()?;
    let tuple = match headers.family {
        Family::V4 => {
            let [_, _, mtu @ ..] = *rest;
            if [*kind, *code] == [3, 4] && u16::from_be_bytes(mtu) < LEAST_MTU_V4 {
                return None;
            }
            quoted_v4(quoted)?
        }
        Family::V6 => {
            if *kind == 2 && u32::from_be_bytes(*rest) < LEAST_MTU_V6 {
                return None;
            }
            quoted_v6(quoted)?
        }
    };
    // Whoever receives the error sent the packet. (Where addresses are translated, this is asked after it.)
    (tuple.src == headers.dst).then_some(tuple)
}

fn quoted_v4(packet: &[u8]) -> Option<EmbeddedTuple> {
    let [version_ihl, _, len0, len1, _, _, frag0, frag1, _, protocol, _, _, addresses @ ..] =
        packet.first_chunk::<20>()?;
    let header = usize::from(version_ihl & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*len0, *len1]));
    let offset = u16::from_be_bytes([*frag0, *frag1]) & 0x1fff;
    if version_ihl >> 4 != 4 || header < 20 || total < header + 8 || offset != 0 || *protocol == ICMPV6 {
        return None;
    }
    let [s0, s1, s2, s3, d0, d1, d2, d3] = *addresses;
    let (src, dst) = (IpAddr::from([s0, s1, s2, s3]), IpAddr::from([d0, d1, d2, d3]));
    transport(src, dst, *protocol, packet.get(header..)?)
}

fn quoted_v6(packet: &[u8]) -> Option<EmbeddedTuple> {
    let (fixed, mut rest) = packet.split_first_chunk::<40>()?;
    let [version, _, _, _, len0, len1, mut next, _, addresses @ ..] = *fixed;
    let (src, dst) = addresses.split_first_chunk::<16>()?;
    let dst: &[u8; 16] = dst.first_chunk()?;
    let mut left = usize::from(u16::from_be_bytes([len0, len1]));
    if version >> 4 != 6 {
        return None;
    }
    let mut walked = 0;
    for _ in 0..=MAX_EXTENSIONS {
        let header = match next {
            // Hop-by-hop, routing, destination options.
            0 | 43 | 60 => (usize::from(*rest.get(1)?) + 1) * 8,
            // Authentication
            51 => (usize::from(*rest.get(1)?) + 2) * 4,
            44 => {
                let [_, _, offset0, offset1, ..] = rest.first_chunk::<8>()?;
                if u16::from_be_bytes([*offset0, *offset1]) & 0xfff8 != 0 {
                    return None;
                }
                8
            }
            // No next header; IPv4's ICMP
            59 | ICMP => return None,
            _ if left < 8 => return None,
            protocol => return transport((*src).into(), (*dst).into(), protocol, rest),
        };
        walked += header;
        next = *rest.first()?;
        rest = rest.get(header..)?;
        left = left.checked_sub(header)?;
        if walked > MAX_EXTENSION_BYTES {
            return None;
        }
    }
    None
}

/// The ports in the first 8 bytes behind the IP header.
fn transport(src: IpAddr, dst: IpAddr, protocol: u8, bytes: &[u8]) -> Option<EmbeddedTuple> {
    let [a0, a1, b0, b1, c0, c1, _, _] = *bytes.first_chunk::<8>()?;
    let (src_port, dst_port, is_echo_request) = match (protocol, a0, a1) {
        (TCP | UDP | SCTP, ..) => (u16::from_be_bytes([a0, a1]), u16::from_be_bytes([b0, b1]), false),
        (ICMP, 8, 0) | (ICMPV6, 128, 0) => (u16::from_be_bytes([c0, c1]), 0, true),
        (ICMP, 0, 0) | (ICMPV6, 129, 0) => (u16::from_be_bytes([c0, c1]), 0, false),
        // Of ICMP only echo has connections; above all there are no errors about errors.
        (ICMP | ICMPV6, ..) => return None,
        _ => (0, 0, false),
    };
    Some(EmbeddedTuple { src, dst, protocol, src_port, dst_port, is_echo_request })
}
