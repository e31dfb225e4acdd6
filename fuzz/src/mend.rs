//! Puts checksums right: otherwise hardly a mutated packet would get past the first check.

use vxlan::wire::headers::{L4, Network, parse};
use vxlan::wire::{checksum, ethernet};

/// The checksum of the IPv4 header, where there is one.
pub(crate) fn ipv4_checksum(frame: &mut [u8]) {
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

/// The checksum of an ICMPv6 message, where there is a whole one.
pub(crate) fn icmpv6_checksum(frame: &mut [u8]) {
    let Ok(headers) = parse(frame, false) else { return };
    let Network::Ip(ip) = headers.net else { return };
    let L4::Icmpv6 { .. } = ip.l4 else { return };
    let Some(message) = frame.get_mut(usize::from(ip.l4_offset)..ip.frame_len()) else { return };
    message[2..4].fill(0);
    let checksum = checksum::transport(ip.src, ip.dst, ip.protocol, message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}
