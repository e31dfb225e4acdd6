//! A packet from its description, by smoltcp.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};
use vxlan::wire::headers::{self, IpHeaders, Network};

use crate::buffer::{Checksum, Frame};

pub(super) const SRC4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
pub(super) const DST4: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 3);
pub(super) const SRC6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 2);
pub(super) const DST6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 2, 0, 0, 0, 3);

/// What a packet says.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) v6: bool,
    pub(super) tcp: bool,
    pub(super) tos: u8,
    pub(super) id: u16,
    /// Words of IPv4 options, or units of 8 bytes of IPv6 destination options.
    pub(super) ip_options: usize,
    pub(super) tcp_options: usize,
    pub(super) seq: u32,
    pub(super) flags: u8,
    pub(super) payload: Vec<u8>,
}

impl Spec {
    pub(super) fn tcp4(payload: usize) -> Self {
        Self {
            v6: false,
            tcp: true,
            tos: 0,
            id: 7,
            ip_options: 0,
            tcp_options: 3,
            seq: u32::MAX - 100,
            flags: 0x18,
            payload: pattern(payload),
        }
    }

    pub(super) fn udp4(payload: usize) -> Self {
        Self { tcp: false, ..Self::tcp4(payload) }
    }

    fn transport_header(&self) -> usize {
        if self.tcp { 20 + self.tcp_options * 4 } else { 8 }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let upper = self.transport_header() + self.payload.len();
        let l4 = self.l4();
        let mut bytes = vec![0; l4 + upper];
        let mut ethernet = EthernetFrame::new_unchecked(&mut bytes[..]);
        ethernet.set_src_addr(smoltcp::wire::EthernetAddress([2, 0, 0, 0, 0, 1]));
        ethernet.set_dst_addr(smoltcp::wire::EthernetAddress([2, 0, 0, 0, 0, 2]));
        ethernet.set_ethertype(if self.v6 { EthernetProtocol::Ipv6 } else { EthernetProtocol::Ipv4 });
        let (src, dst) = self.addresses();
        let transport = &mut bytes[l4..];
        if self.tcp {
            let header = self.transport_header();
            transport[20..header].fill(1);
            transport[header..].copy_from_slice(&self.payload);
            let mut tcp = TcpPacket::new_unchecked(transport);
            tcp.set_src_port(40_000);
            tcp.set_dst_port(8_080);
            tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(self.seq.cast_signed()));
            tcp.set_ack_number(smoltcp::wire::TcpSeqNumber(99));
            tcp.set_header_len(u8::try_from(header).expect("header"));
            tcp.set_window_len(500);
            tcp.into_inner()[13] = self.flags;
            let mut tcp = TcpPacket::new_unchecked(&mut bytes[l4..]);
            tcp.fill_checksum(&src.into(), &dst.into());
        } else {
            transport[8..].copy_from_slice(&self.payload);
            let mut udp = UdpPacket::new_unchecked(transport);
            udp.set_src_port(40_000);
            udp.set_dst_port(53);
            udp.set_len(u16::try_from(upper).expect("length"));
            udp.fill_checksum(&src.into(), &dst.into());
        }
        self.write_ip(&mut bytes[14..], upper);
        bytes
    }

    fn l4(&self) -> usize {
        14 + if self.v6 { 40 + self.ip_options * 8 } else { 20 + self.ip_options * 4 }
    }

    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        if self.v6 { (SRC6.into(), DST6.into()) } else { (SRC4.into(), DST4.into()) }
    }

    fn write_ip(&self, packet: &mut [u8], upper: usize) {
        let protocol = if self.tcp { IpProtocol::Tcp } else { IpProtocol::Udp };
        if self.v6 {
            let options = self.ip_options * 8;
            if let Some((last, before)) = packet[40..40 + options].split_first_mut() {
                *last = u8::from(protocol);
                before[0] = u8::try_from(self.ip_options - 1).expect("options");
                // The rest is zeros, Pad1.
            }
            let mut ip = Ipv6Packet::new_unchecked(packet);
            ip.set_version(6);
            ip.set_traffic_class(self.tos);
            ip.set_payload_len(u16::try_from(options + upper).expect("length"));
            ip.set_next_header(if options > 0 { IpProtocol::Ipv6Opts } else { protocol });
            ip.set_hop_limit(64);
            ip.set_src_addr(SRC6);
            ip.set_dst_addr(DST6);
        } else {
            let header = 20 + self.ip_options * 4;
            packet[20..header].fill(1);
            let mut ip = Ipv4Packet::new_unchecked(packet);
            ip.set_version(4);
            ip.set_header_len(u8::try_from(header).expect("header"));
            ip.set_dscp(self.tos >> 2);
            ip.set_ecn(self.tos & 3);
            ip.set_total_len(u16::try_from(header + upper).expect("length"));
            ip.set_ident(self.id);
            ip.set_hop_limit(64);
            ip.set_next_header(protocol);
            ip.set_src_addr(SRC4);
            ip.set_dst_addr(DST4);
            ip.fill_checksum();
        }
    }

    /// The frame as a pod's kernel hands it over: only the pseudo header is summed.
    pub(super) fn partial(&self) -> Frame {
        let mut frame = Frame::from_bytes(&self.bytes());
        let start = self.l4();
        let offset = if self.tcp { 16 } else { 6 };
        let (src, dst) = self.addresses();
        let len = self.transport_header() + self.payload.len();
        let protocol = if self.tcp { 6 } else { 17 };
        let mut pseudo: Vec<u8> = [src, dst].iter().flat_map(|address| octets(*address)).collect();
        pseudo.extend([0, protocol]);
        pseudo.extend(u16::try_from(len).expect("length").to_be_bytes());
        frame.bytes_mut()[start + offset..start + offset + 2]
            .copy_from_slice(&plain_sum(&pseudo).to_be_bytes());
        frame.checksum = Checksum::Partial {
            start: u16::try_from(start).expect("start"),
            offset: u16::try_from(offset).expect("offset"),
        };
        frame
    }
}

pub(super) fn specs(payload: std::ops::Range<usize>) -> impl Strategy<Value = Spec> {
    (any::<[bool; 2]>(), any::<(u8, u16, u32, u8)>(), 0_usize..4, 0_usize..11, payload).prop_map(
        |([v6, tcp], (tos, id, seq, flags), ip_options, tcp_options, payload)| Spec {
            v6,
            tcp,
            tos,
            id,
            ip_options,
            tcp_options,
            seq,
            flags,
            payload: pattern(payload),
        },
    )
}

pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub(super) fn ip_headers(frame: &Frame) -> IpHeaders {
    match headers::parse(frame.bytes(), frame.gso.is_some()).expect("valid frame").net {
        Network::Ip(headers) => headers,
        Network::Arp => unreachable!("these tests build IP packets"),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RFC 1071 word by word.
pub(super) fn plain_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
