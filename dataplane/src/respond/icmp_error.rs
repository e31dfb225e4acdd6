//! The ICMP errors that a router owes: RFC 792 and RFC 1812 section 4.3 (IPv4), RFC 1191 (fragmentation
//! needed), RFC 4443 (IPv6).
//!
//! ```text
//!  Ethernet │ IP, TOS 0xc0, from the gateway │ type │ code │ checksum │ MTU or 0 │ the packet it is about, cut
//! ```
//! Quoted is as much as keeps the error within 576 bytes (IPv4) or 1,280 (IPv6), so that the sender's host
//! finds the connection even behind options or extension headers. The caller limits the rate.

use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::wire::headers::{IpHeaders, L4};
use vxlan::wire::ipv4::MIN_HEADER_BYTES as IPV4;
use vxlan::wire::ipv6::HEADER_BYTES as IPV6;

use super::packet::{Ends, is_one_interface, write_icmp};
use crate::buffer::Frame;

const MAX_IPV4: usize = 576;
const MAX_IPV6: usize = 1_280;
const HOP_LIMIT: u8 = 64;

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpError {
    /// Too large for the way out and not to be fragmented: IPv4 type 3 code 4, IPv6 packet too big. An IPv6
    /// sender is never told less than 1,280, which every link must carry.
    FragmentationNeeded {
        /// Largest IP packet that the way out takes.
        mtu: u16,
    },
    /// The TTL or hop limit ran out: IPv4 type 11 code 0, IPv6 type 3 code 0.
    TimeExceeded,
}

/// Makes `reply` the error about `offending`, sent by `from` (the gateway, of the packet's family) and back
/// to the MAC that the packet came from. `false`, and nothing to send, where no error may be sent: about
/// ICMP errors and redirects, about fragments but the first, about packets to a group or broadcast on either
/// layer, or from a source that is not one host.
pub fn icmp_error(
    offending: &Frame,
    headers: &IpHeaders,
    error: IcmpError,
    from: IpAddr,
    our_mac: Mac,
    reply: &mut Frame,
) -> bool {
    let later_fragment = headers.fragment.is_some_and(|fragment| fragment.offset > 0);
    if later_fragment || is_icmp_error(headers) || is_redirect(headers) {
        return false;
    }
    if !is_one_host(headers.src) || !is_one_host(headers.dst) {
        return false;
    }
    write(offending, headers, error, from, our_mac, reply).is_some()
}

/// True for the messages that report a problem with another packet, which they quote.
pub fn is_icmp_error(headers: &IpHeaders) -> bool {
    match headers.l4 {
        // Unreachable, source quench, time exceeded, parameter problem.
        L4::Icmp { icmp_type, .. } => matches!(icmp_type, 3 | 4 | 11 | 12),
        L4::Icmpv6 { icmp_type, .. } => icmp_type < 128,
        _ => false,
    }
}

fn is_redirect(headers: &IpHeaders) -> bool {
    matches!(headers.l4, L4::Icmp { icmp_type: 5, .. } | L4::Icmpv6 { icmp_type: 137, .. })
}

fn is_one_host(address: IpAddr) -> bool {
    let elsewhere = match address {
        // 0.0.0.0/8 and 240.0.0.0/4, which includes the limited broadcast.
        IpAddr::V4(address) => matches!(address.octets(), [0 | 240..=255, ..]),
        IpAddr::V6(_) => false,
    };
    !(elsewhere || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

fn write(
    offending: &Frame,
    headers: &IpHeaders,
    error: IcmpError,
    from: IpAddr,
    our_mac: Mac,
    reply: &mut Frame,
) -> Option<()> {
    let bytes = offending.bytes();
    let (dst_mac, rest) = bytes.split_first_chunk::<6>()?;
    let dst_mac = Mac(*dst_mac);
    let src_mac = Mac(*rest.first_chunk::<6>()?);
    if dst_mac.is_multicast() || !is_one_interface(src_mac) {
        return None;
    }
    let (head, room) = match headers.family {
        Family::V4 => (head_v4(error), MAX_IPV4 - IPV4 - 8),
        Family::V6 => (head_v6(error), MAX_IPV6 - IPV6 - 8),
    };
    let packet = bytes.get(usize::from(headers.l3_offset)..)?;
    let quoted = packet.get(..room.min(headers.ip_len as usize).min(packet.len()))?;
    let ends = Ends { src_mac: our_mac, dst_mac: src_mac, src: from, dst: headers.src };
    write_icmp(reply, ends, HOP_LIMIT, head, quoted)
}

fn head_v4(error: IcmpError) -> [u8; 8] {
    let (kind, code, mtu) = match error {
        IcmpError::FragmentationNeeded { mtu } => (3, 4, mtu),
        IcmpError::TimeExceeded => (11, 0, 0),
    };
    let [mtu_high, mtu_low] = mtu.to_be_bytes();
    [kind, code, 0, 0, 0, 0, mtu_high, mtu_low]
}

fn head_v6(error: IcmpError) -> [u8; 8] {
    let (kind, code, mtu) = match error {
        IcmpError::FragmentationNeeded { mtu } => (2, 0, mtu.max(MAX_IPV6 as u16)),
        IcmpError::TimeExceeded => (3, 0, 0),
    };
    let [mtu_high, mtu_low] = mtu.to_be_bytes();
    [kind, code, 0, 0, 0, 0, mtu_high, mtu_low]
}
