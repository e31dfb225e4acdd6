//! A TAP that takes encapsulated super-packets whole: the kernel cuts inner segments, or leaves them uncut as far as
//! the way allows.
//!
//! ```text
//!   0                     10        12         20         22         24
//!   ├ virtio_net_hdr ──────┼ buffers ┼ (hash) ──┼ outer UDP ┼ inner IP ┤ outer Ethernet, IP, UDP, VXLAN, inner frame …
//! ```
//! `struct virtio_net_hdr_v1_hash_tunnel` of `linux/virtio_net.h` and `TUN_F_UDP_TUNNEL_GSO` (Linux 6.17). The first
//! ten bytes are those of [`super::vnet`] in host byte order, the two offsets at the end little-endian; all offsets
//! count from the outer Ethernet header.

use std::fs::File;
use std::io;

use super::tun;
use super::vnet;
use crate::buffer::{Checksum, Frame};

/// Length of the header.
pub const HEADER_LEN: usize = 24;

/// The header as bytes.
pub type TunnelHeader = [u8; HEADER_LEN];

const FLAG_OUTER_CHECKSUM: u8 = 8;
const TYPE_OVER_IPV4: u8 = 0x20;
const TYPE_OVER_IPV6: u8 = 0x40;

const UDP_BYTES: usize = 8;
const VXLAN_BYTES: usize = 8;
const ETHERNET_BYTES: usize = 14;

/// Opens up to `count` queues of the TAP `name`, making it where it does not exist; see [`tun::open_queues`].
///
/// # Errors
/// What [`tun::open_queues`] says, and `EINVAL` from a kernel that takes no encapsulated super-packets.
pub fn open_queues(name: &str, count: usize) -> io::Result<Vec<File>> {
    let queues = tun::open_queues(name, count)?;
    for tap in &queues {
        tun::set_vnet_len(tap, HEADER_LEN)?;
        tun::try_tunnel_offload(tap)?;
    }
    Ok(queues)
}

/// The outer headers as the vnet header has to know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outer {
    /// Where the outer UDP header begins, from the outer Ethernet header.
    pub udp: usize,
    /// Whether the outer IP header is IPv6.
    pub ipv6: bool,
    /// Whether the outer UDP checksum is wanted; the field then holds the sum of the pseudo header.
    pub checksum: bool,
}

/// The header for an encapsulated super-packet whose bytes begin at the VXLAN header. `None` where it is none, its
/// inner checksum is complete, or an offset is out of range.
pub fn encode(frame: &Frame, outer: Outer) -> Option<TunnelHeader> {
    let (Some(_), Checksum::Partial { start, .. }) = (frame.gso, frame.checksum) else { return None };
    let vxlan = outer.udp.checked_add(UDP_BYTES)?;
    let inner_ip = vxlan.checked_add(VXLAN_BYTES + ETHERNET_BYTES)?;
    let shift = u16::try_from(vxlan).ok()?;

    let mut header = [0; HEADER_LEN];
    let (inner, tunnel) = header.split_first_chunk_mut::<{ vnet::VNET_LEN }>()?;
    *inner = vnet::encode(frame);
    let [flags, kind, headers0, headers1, _, _, start0, start1, _, _] = inner;
    *flags |= if outer.checksum { FLAG_OUTER_CHECKSUM } else { 0 };
    *kind |= if outer.ipv6 { TYPE_OVER_IPV6 } else { TYPE_OVER_IPV4 };
    // How long all headers are is a hint; 0 says that nobody knows.
    let headers = match u16::from_ne_bytes([*headers0, *headers1]) {
        0 => 0,
        headers => headers.checked_add(shift)?,
    };
    [*headers0, *headers1] = headers.to_ne_bytes();
    [*start0, *start1] = start.checked_add(shift)?.to_ne_bytes();

    let [udp0, udp1] = u16::try_from(outer.udp).ok()?.to_le_bytes();
    let [ip0, ip1] = u16::try_from(inner_ip).ok()?.to_le_bytes();
    *tunnel.last_chunk_mut()? = [udp0, udp1, ip0, ip1];
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Gso, GsoKind};

    fn super_packet(checksum: Checksum, gso: bool) -> Frame {
        let mut frame = Frame::from_bytes(&[0x50; 5000]);
        frame.checksum = checksum;
        frame.gso = gso.then_some(Gso { kind: GsoKind::Tcp4, size: 1398, ecn: false });
        frame
    }

    const PARTIAL: Checksum = Checksum::Partial { start: 42, offset: 16 };

    #[test]
    fn offsets_count_from_the_outer_ethernet_header() {
        let frame = super_packet(PARTIAL, true);
        let header = encode(&frame, Outer { udp: 34, ipv6: false, checksum: true }).unwrap();
        let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        // VXLAN begins at 42, the inner IP header at 64, the inner TCP header at 84: 42 + 8 + 14 + 20.
        assert_eq!((header[0], header[1]), (1 | 8, 1 | 0x20));
        assert_eq!((word(2), word(4), word(6), word(8)), (42 + 42 + 20, 1398, 84, 16));
        assert_eq!(header[10..20], [0; 10]);
        assert_eq!(header[20..], [34, 0, 64, 0]);
    }

    #[test]
    fn over_ipv6_and_without_outer_checksum() {
        let header = encode(&super_packet(PARTIAL, true), Outer { udp: 54, ipv6: true, checksum: false });
        let header = header.unwrap();
        assert_eq!((header[0], header[1]), (1, 1 | 0x40));
        assert_eq!(header[20..], [54, 0, 84, 0]);
    }

    #[test]
    fn what_is_no_super_packet_or_is_summed_already_is_refused() {
        let outer = Outer { udp: 34, ipv6: false, checksum: true };
        assert_eq!(encode(&super_packet(PARTIAL, false), outer), None);
        assert_eq!(encode(&super_packet(Checksum::Complete, true), outer), None);
        let far = Checksum::Partial { start: u16::MAX - 10, offset: 16 };
        assert_eq!(encode(&super_packet(far, true), outer), None);
    }
}
