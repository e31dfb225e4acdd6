//! Packets written byte by byte, so that each can be wrong in one place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EtherTypes.
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const ARP: u16 = 0x0806;
/// Protocol numbers.
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;

/// An Ethernet frame.
pub(crate) fn ethernet(dst: [u8; 6], src: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [&dst[..], &src[..], &ethertype.to_be_bytes()[..]].concat();
    frame.extend_from_slice(payload);
    frame
}

/// An IPv4 packet with that TTL.
pub(crate) fn ipv4(src: Ipv4Addr, dst: Ipv4Addr, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0x12, 0x34, 0, 0, ttl, protocol, 0, 0];
    packet.extend_from_slice(&src.octets());
    packet.extend_from_slice(&dst.octets());
    let sum = internet_sum(&packet).to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
    packet.extend_from_slice(payload);
    packet
}

/// An IPv6 packet.
pub(crate) fn ipv6(src: Ipv6Addr, dst: Ipv6Addr, hops: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, hops];
    packet.extend_from_slice(&src.octets());
    packet.extend_from_slice(&dst.octets());
    packet.extend_from_slice(payload);
    packet
}

/// A packet of the addresses' family.
pub(crate) fn ip(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => (IPV4, ipv4(src, dst, 64, protocol, payload)),
        (IpAddr::V6(src), IpAddr::V6(dst)) => (IPV6, ipv6(src, dst, 64, protocol, payload)),
        _ => panic!("{src} and {dst} are of two families"),
    }
}

/// A UDP datagram with its checksum.
pub(crate) fn udp(src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram =
        [src_port, dst_port, length, 0].iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    datagram.extend_from_slice(payload);
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let pseudo = [octets(src), octets(dst), vec![0, UDP], length.to_be_bytes().to_vec()].concat();
    let sum = internet_sum(&[pseudo, datagram.clone()].concat());
    datagram[6..8].copy_from_slice(&if sum == 0 { u16::MAX } else { sum }.to_be_bytes());
    datagram
}

/// An ICMP echo request.
pub(crate) fn echo_request(identifier: u16) -> Vec<u8> {
    let [high, low] = identifier.to_be_bytes();
    let mut message = vec![8, 0, 0, 0, high, low, 0, 1, b'w', b'e', b'i', b'r'];
    let sum = internet_sum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// A VXLAN header with that flags byte, before a frame.
pub(crate) fn vxlan(flags: u8, vni: u32, frame: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    let mut packet = vec![flags, 0, 0, 0, a, b, c, 0];
    packet.extend_from_slice(frame);
    packet
}

/// RFC 1071.
fn internet_sum(bytes: &[u8]) -> u16 {
    let mut sum = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
