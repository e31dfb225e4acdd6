//! Frames and captures, byte by byte.

use vxlan::wire::checksum;

pub(super) const SOME_MAC: [u8; 6] = [0x02, 0x99, 0, 0, 0, 1];
pub(super) const OTHER_MAC: [u8; 6] = [0x02, 0x99, 0, 0, 0, 2];
pub(super) const SYN: u8 = 2;
pub(super) const ACK: u8 = 16;

pub(super) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&OTHER_MAC[..], &SOME_MAC, &ethertype.to_be_bytes(), payload].concat()
}

pub(super) fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, fragment: u16, l4: &[u8]) -> Vec<u8> {
    let mut header = [0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..4].copy_from_slice(&(20 + l4.len() as u16).to_be_bytes());
    header[6..8].copy_from_slice(&fragment.to_be_bytes());
    header[12..16].copy_from_slice(&src);
    header[16..20].copy_from_slice(&dst);
    let sum = checksum::ipv4_header(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header[..], l4].concat()
}

pub(super) fn udp_packet(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len() as u16;
    let header = [ports.0, ports.1, len, 0].map(u16::to_be_bytes).concat();
    ipv4(src, dst, 17, 0, &[&header[..], payload].concat())
}

pub(super) fn udp(src: [u8; 4], dst: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
    ethernet(0x0800, &udp_packet(src, dst, ports, b"question"))
}

pub(super) fn tcp(src: [u8; 4], dst: [u8; 4], ports: (u16, u16), flags: u8, payload: usize) -> Vec<u8> {
    let mut l4 = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    l4.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    l4.resize(20 + payload, 7);
    ethernet(0x0800, &ipv4(src, dst, 6, 0x4000, &l4))
}

/// `inner` in VXLAN between two nodes, with an outer checksum.
pub(super) fn tunnel(src: [u8; 4], dst: [u8; 4], inner: &[u8]) -> Vec<u8> {
    let mut datagram = [50_000_u16, 8472, 16 + inner.len() as u16, 0].map(u16::to_be_bytes).concat();
    datagram.extend([8, 0, 0, 0, 0, 0, 1, 0]);
    datagram.extend(inner);
    let sum = checksum::transport(src.into(), dst.into(), 17, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ethernet(0x0800, &ipv4(src, dst, 17, 0, &datagram))
}

/// A pcap with this link type; each packet with its stamp in nanoseconds and its original length.
pub(super) fn pcap(link: u32, packets: &[(u64, Vec<u8>, usize)]) -> Vec<u8> {
    let mut file = [0xa1b2_3c4d_u32, 0x0004_0002, 0, 0, 65_535, link].map(u32::to_le_bytes).concat();
    for (time, bytes, original) in packets {
        let (seconds, fraction) = (time / 1_000_000_000, time % 1_000_000_000);
        let header = [seconds as u32, fraction as u32, bytes.len() as u32, *original as u32];
        file.extend(header.map(u32::to_le_bytes).concat());
        file.extend(bytes);
    }
    file
}
