//! The header walk over arbitrary frames: no panic, and what is reported lies within the frame.
//!
//! `cargo +nightly fuzz run inner_headers`. The first byte says whether the frame is a super-packet, and whether
//! its IPv4 checksum is to be put right: else hardly an input would get past it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vxlan::wire::headers::{L4, Network, parse};
use vxlan::wire::{checksum, ethernet, ipv4, ipv6};

const SUPER_PACKET: u8 = 1;
const RIGHT_CHECKSUM: u8 = 2;

fuzz_target!(|input: &[u8]| {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut frame = bytes.to_vec();
    if mode & RIGHT_CHECKSUM != 0 {
        put_checksum_right(&mut frame);
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
});

fn put_checksum_right(frame: &mut [u8]) {
    if !matches!(ethernet::parse(frame), Some((header, _)) if header.ethertype == ethernet::IPV4) {
        return;
    }
    let Some(packet) = frame.get_mut(ethernet::HEADER_BYTES..) else { return };
    let length = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    let Some(header) = packet.get_mut(..length).filter(|header| header.len() >= 20) else { return };
    header[10..12].fill(0);
    let checksum = checksum::ipv4_header(header);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}
