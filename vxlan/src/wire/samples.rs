//! Frames for tests, built with `pnet_packet`: another hand than the one that reads them.

use pnet_packet::ip::IpNextHeaderProtocol;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::ipv6::MutableIpv6Packet;
use pnet_packet::tcp::MutableTcpPacket;
use pnet_packet::udp::MutableUdpPacket;

use crate::mac::Mac;
use crate::wire::ethernet::{self, Ethernet};

/// Source and destination of every sample.
pub(crate) const SRC_4: [u8; 4] = [10, 42, 0, 5];
pub(crate) const DST_4: [u8; 4] = [10, 42, 1, 7];
pub(crate) const SRC_6: [u16; 8] = [0x2001, 0xdb8, 0x42, 0, 0, 0, 0, 5];
pub(crate) const DST_6: [u16; 8] = [0x2001, 0xdb8, 0x42, 1, 0, 0, 0, 7];
pub(crate) const SRC_MAC: Mac = Mac([0x0e, 0, 0, 0, 0, 5]);
pub(crate) const DST_MAC: Mac = Mac([0x0e, 0, 0, 0, 0, 7]);

pub(crate) fn frame(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Ethernet { dst: DST_MAC, src: SRC_MAC, ethertype }.to_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame
}

/// An IPv4 header to be varied before its checksum is set.
pub(crate) struct V4<'a> {
    pub(crate) src: [u8; 4],
    pub(crate) dst: [u8; 4],
    pub(crate) protocol: u8,
    pub(crate) options: &'a [u8],
    pub(crate) flags: u8,
    /// In units of eight bytes.
    pub(crate) offset: u16,
    pub(crate) payload: &'a [u8],
}

impl Default for V4<'_> {
    fn default() -> Self {
        Self { src: SRC_4, dst: DST_4, protocol: 17, options: &[], flags: 0, offset: 0, payload: &[] }
    }
}

impl V4<'_> {
    /// The frame with this packet.
    pub(crate) fn frame(&self) -> Vec<u8> {
        assert_eq!(self.options.len() % 4, 0);
        let header = 20 + self.options.len();
        let mut bytes = vec![0; header + self.payload.len()];
        bytes[20..header].copy_from_slice(self.options);
        bytes[header..].copy_from_slice(self.payload);
        let total = bytes.len() as u16;
        let mut packet = MutableIpv4Packet::new(&mut bytes).unwrap();
        packet.set_version(4);
        packet.set_header_length((header / 4) as u8);
        packet.set_dscp(0x2e);
        packet.set_ecn(1);
        packet.set_total_length(total);
        packet.set_identification(0x1234);
        packet.set_flags(self.flags);
        packet.set_fragment_offset(self.offset);
        packet.set_ttl(63);
        packet.set_next_level_protocol(IpNextHeaderProtocol(self.protocol));
        packet.set_source(self.src.into());
        packet.set_destination(self.dst.into());
        let checksum = ipv4::checksum(&packet.to_immutable());
        packet.set_checksum(checksum);
        frame(ethernet::IPV4, &bytes)
    }
}

/// Sets the IPv4 checksum of a frame whose header was changed.
pub(crate) fn fix_ipv4_checksum(frame: &mut [u8]) {
    let mut packet = MutableIpv4Packet::new(&mut frame[14..]).unwrap();
    let checksum = ipv4::checksum(&packet.to_immutable());
    packet.set_checksum(checksum);
}

pub(crate) fn ipv4_frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    V4 { protocol, payload, ..V4::default() }.frame()
}

pub(crate) fn ipv6_frame_between(src: [u16; 8], dst: [u16; 8], next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 40 + payload.len()];
    bytes[40..].copy_from_slice(payload);
    let mut packet = MutableIpv6Packet::new(&mut bytes).unwrap();
    packet.set_version(6);
    packet.set_traffic_class(0xb9);
    packet.set_flow_label(0xa_bcde);
    packet.set_payload_length(payload.len() as u16);
    packet.set_next_header(IpNextHeaderProtocol(next_header));
    packet.set_hop_limit(63);
    packet.set_source(src.into());
    packet.set_destination(dst.into());
    frame(ethernet::IPV6, &bytes)
}

pub(crate) fn ipv6_frame(next_header: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_frame_between(SRC_6, DST_6, next_header, payload)
}

pub(crate) fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 8 + payload.len()];
    bytes[8..].copy_from_slice(payload);
    let length = bytes.len() as u16;
    let mut packet = MutableUdpPacket::new(&mut bytes).unwrap();
    packet.set_source(src_port);
    packet.set_destination(dst_port);
    packet.set_length(length);
    bytes
}

pub(crate) fn tcp(src_port: u16, dst_port: u16, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    let mut packet = MutableTcpPacket::new(&mut bytes).unwrap();
    packet.set_source(src_port);
    packet.set_destination(dst_port);
    packet.set_sequence(0x0102_0304);
    packet.set_acknowledgement(0x0506_0708);
    packet.set_data_offset(6);
    packet.set_flags(flags);
    bytes
}

/// Echo request or whatever `icmp_type` says, identifier 0xbeef.
pub(crate) fn icmp(icmp_type: u8) -> Vec<u8> {
    vec![icmp_type, 0, 0, 0, 0xbe, 0xef, 0, 1]
}

/// An SCTP packet with an INIT chunk.
pub(crate) fn sctp(src_port: u16, dst_port: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&src_port.to_be_bytes());
    bytes.extend_from_slice(&dst_port.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0]);
    bytes.extend_from_slice(&[1, 0, 0, 20]);
    bytes.extend_from_slice(&[0; 16]);
    bytes
}

/// One valid frame of every shape, for mutation.
pub(crate) fn one_of_each() -> Vec<Vec<u8>> {
    let hop_by_hop = [&[17, 0, 5, 2, 0, 0, 0, 0][..], &udp(1, 2, b"x")].concat();
    let first = [&[6, 0, 0, 1, 0, 0, 0, 9][..], &tcp(1, 2, 2)].concat();
    let later = [&[6, 0, 0, 0x19, 0, 0, 0, 9][..], &[7; 16]].concat();
    vec![
        frame(ethernet::ARP, &[0; 28]),
        ipv4_frame(6, &tcp(40000, 80, 2)),
        ipv4_frame(17, &udp(40000, 53, b"query")),
        ipv4_frame(132, &sctp(40000, 5000)),
        ipv4_frame(1, &icmp(8)),
        ipv4_frame(47, &[0; 4]),
        V4 { protocol: 6, options: &[1, 7, 7, 4, 0, 0, 0, 0], payload: &tcp(1, 2, 2), ..V4::default() }
            .frame(),
        V4 { protocol: 6, flags: 1, payload: &tcp(1, 2, 2), ..V4::default() }.frame(),
        V4 { protocol: 6, offset: 3, payload: &[7; 16], ..V4::default() }.frame(),
        ipv6_frame(6, &tcp(40000, 80, 2)),
        ipv6_frame(17, &udp(40000, 53, b"query")),
        ipv6_frame(132, &sctp(40000, 5000)),
        ipv6_frame(58, &icmp(128)),
        ipv6_frame(59, &[]),
        ipv6_frame(0, &hop_by_hop),
        ipv6_frame(44, &first),
        ipv6_frame(44, &later),
    ]
}
