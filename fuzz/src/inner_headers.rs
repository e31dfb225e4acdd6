//! The header walk over arbitrary frames: no panic, and what is reported lies within the frame.
//!
//! The first byte says whether the frame is a super-packet, and whether its IPv4 checksum is to be put right.

use vxlan::wire::headers::{L4, Network, parse};
use vxlan::wire::{ipv4, ipv6};

use crate::mend;

const SUPER_PACKET: u8 = 1;
const RIGHT_CHECKSUM: u8 = 2;

/// One input.
pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut frame = bytes.to_vec();
    if mode & RIGHT_CHECKSUM != 0 {
        mend::ipv4_checksum(&mut frame);
    }
    let Ok(headers) = parse(&frame, mode & SUPER_PACKET != 0) else { return };
    let Network::Ip(ip) = headers.net else { return };

    assert!(ip.frame_len() <= frame.len());
    assert!(ip.l3_offset < ip.l4_offset && usize::from(ip.l4_offset) <= ip.frame_len());
    assert_eq!(ip.l4 == L4::LaterFragment, ip.fragment.is_some_and(|fragment| !fragment.is_first()));
    if let L4::Tcp { header_len, .. } = ip.l4 {
        assert!(usize::from(header_len) <= ip.l4_len());
    }

    // What the pipeline does next to a packet it forwards must leave it one.
    let packet = &mut frame[usize::from(ip.l3_offset)..];
    vxlan::ecn::set_ce(packet);
    let left = if ip.src.is_ipv4() { ipv4::decrement_ttl(packet) } else { ipv6::decrement_ttl(packet) };
    assert_eq!(left == ipv4::Ttl::Expired, ip.ttl <= 1);
    assert!(parse(&frame, mode & SUPER_PACKET != 0).is_ok());
}
