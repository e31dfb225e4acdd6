//! Packets written by hand, field by field, and read back with smoltcp: a second opinion on every byte.

use std::net::IpAddr;

use smoltcp::wire::{
    EthernetFrame, Icmpv4Packet, Icmpv6Packet, IpAddress, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};
use vxlan::mac::Mac;
use vxlan::wire::checksum;
use vxlan::wire::headers::{self, IpHeaders, Network};

use super::world::{B_VTEP, BLUE_MAC, C_VTEP, C_VTEP_6, GATEWAY_MAC, GREEN_MAC, OWN_VTEP, OWN_VTEP_6};

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;

/// An IP packet in an Ethernet frame. IPv4: `options` are its options; IPv6: its extension headers, the first of
/// type `extension`. Checksums are filled in by [`Ip::frame`].
#[derive(Debug, Clone)]
pub(super) struct Ip {
    pub(super) dst_mac: Mac,
    pub(super) src_mac: Mac,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) protocol: u8,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) id: u16,
    /// IPv4's flags and fragment offset.
    pub(super) fragment: u16,
    pub(super) extension: u8,
    pub(super) options: Vec<u8>,
    pub(super) l4: Vec<u8>,
    /// Fill in the transport checksum (not that of fragments).
    pub(super) sum_l4: bool,
}

pub(super) const DONT_FRAGMENT: u16 = 0x4000;
pub(super) const MORE_FRAGMENTS: u16 = 0x2000;

impl Ip {
    /// From blue's wire to the gateway.
    pub(super) fn new(src: IpAddr, dst: IpAddr, protocol: u8, l4: Vec<u8>) -> Self {
        Self {
            dst_mac: GATEWAY_MAC,
            src_mac: BLUE_MAC,
            src,
            dst,
            protocol,
            ttl: 64,
            tos: 0,
            id: 0x1234,
            fragment: 0,
            extension: protocol,
            options: Vec::new(),
            l4,
            sum_l4: true,
        }
    }

    pub(super) fn between(self, src_mac: Mac, dst_mac: Mac) -> Self {
        Self { dst_mac, src_mac, ..self }
    }

    /// From green's wire to the gateway.
    pub(super) fn by_green(self) -> Self {
        self.between(GREEN_MAC, GATEWAY_MAC)
    }

    /// From the node's TAP.
    pub(super) fn by_node(self) -> Self {
        self.between(GATEWAY_MAC, OWN_VTEP)
    }

    /// Inside the tunnel, from node-b.
    pub(super) fn by_b(self) -> Self {
        self.between(B_VTEP, OWN_VTEP)
    }

    /// Inside the tunnel, from node-c: IPv6 from its second device.
    pub(super) fn by_c(self) -> Self {
        if self.src.is_ipv6() { self.between(C_VTEP_6, OWN_VTEP_6) } else { self.between(C_VTEP, OWN_VTEP) }
    }

    pub(super) fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    pub(super) fn tos(self, tos: u8) -> Self {
        Self { tos, ..self }
    }

    pub(super) fn df(self) -> Self {
        Self { fragment: DONT_FRAGMENT, ..self }
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        [&self.dst_mac.0[..], &self.src_mac.0, &self.packet()].concat()
    }

    /// Ethertype and IP packet.
    fn packet(&self) -> Vec<u8> {
        let mut l4 = self.l4.clone();
        let at = match self.protocol {
            6 => 16,
            17 => 6,
            1 | 58 => 2,
            _ => usize::MAX,
        };
        if self.sum_l4 && l4.len() >= at.saturating_add(2) {
            let sum = if self.protocol == 1 {
                !checksum::fold(checksum::sum(&l4))
            } else {
                checksum::transport(self.src, self.dst, self.protocol, &l4)
            };
            let sum = if sum == 0 && self.protocol == 17 { 0xffff } else { sum };
            l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let header_len = 20 + self.options.len();
                let total = (header_len + l4.len()) as u16;
                let mut header = vec![0x40 | (header_len / 4) as u8, self.tos];
                header.extend_from_slice(&total.to_be_bytes());
                header.extend_from_slice(&self.id.to_be_bytes());
                header.extend_from_slice(&self.fragment.to_be_bytes());
                header.extend_from_slice(&[self.ttl, self.protocol, 0, 0]);
                header.extend_from_slice(&src.octets());
                header.extend_from_slice(&dst.octets());
                header.extend_from_slice(&self.options);
                sum_header(&mut header);
                [&[0x08, 0x00][..], &header, &l4].concat()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let len = (self.options.len() + l4.len()) as u16;
                let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
                header.extend_from_slice(&len.to_be_bytes());
                header.extend_from_slice(&[self.extension, self.ttl]);
                header.extend_from_slice(&src.octets());
                header.extend_from_slice(&dst.octets());
                [&[0x86, 0xdd][..], &header, &self.options, &l4].concat()
            }
            _ => panic!("one family"),
        }
    }

    /// The IP packet alone, as an ICMP error quotes it.
    pub(super) fn quoted(&self) -> Vec<u8> {
        self.packet()[2..].to_vec()
    }

    /// This packet cut into fragments of at most `size` payload bytes (a multiple of 8).
    pub(super) fn fragments(&self, size: usize) -> Vec<Ip> {
        let whole = self.quoted();
        let header = if self.src.is_ipv4() { 20 } else { 40 } + self.options.len();
        let l4 = &whole[header..];
        let count = l4.len().div_ceil(size);
        let piece = |(position, bytes): (usize, &[u8])| {
            let more = position + 1 < count;
            self.fragment_of(position * size, more, bytes)
        };
        l4.chunks(size).enumerate().map(piece).collect()
    }

    /// A fragment of a datagram like this one, with any bytes.
    pub(super) fn fragment_of(&self, offset: usize, more: bool, bytes: &[u8]) -> Ip {
        let offset = offset as u16;
        let mut piece = Self { l4: bytes.to_vec(), sum_l4: false, ..self.clone() };
        if self.src.is_ipv4() {
            piece.fragment = (offset / 8) | if more { MORE_FRAGMENTS } else { 0 };
        } else {
            let word = (offset | u16::from(more)).to_be_bytes();
            let id = u32::from(self.id).to_be_bytes();
            piece.extension = 44;
            piece.options = [&[self.protocol, 0, word[0], word[1]][..], &id].concat();
        }
        piece
    }
}

/// Writes the checksum of an IPv4 header.
pub(super) fn sum_header(header: &mut [u8]) {
    header[10..12].copy_from_slice(&[0, 0]);
    let sum = checksum::ipv4_header(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub(super) fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

pub(super) fn tcp(src_port: u16, dst_port: u16, flags: u8) -> Vec<u8> {
    tcp_with(src_port, dst_port, flags, &[])
}

pub(super) fn tcp_with(src_port: u16, dst_port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let ports = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    [
        &ports[..],
        &1000_u32.to_be_bytes(),
        &2000_u32.to_be_bytes(),
        &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
        payload,
    ]
    .concat()
}

/// An SCTP packet with one chunk.
pub(super) fn sctp(src_port: u16, dst_port: u16, tag: u32, chunk: u8, body: &[u8]) -> Vec<u8> {
    let len = (4 + body.len()) as u16;
    let ports = [src_port.to_be_bytes(), dst_port.to_be_bytes()].concat();
    [&ports[..], &tag.to_be_bytes(), &[0; 4], &[chunk, 0], &len.to_be_bytes(), body].concat()
}

/// Echo request or reply of the family of `address`: protocol and message.
pub(super) fn echo(address: IpAddr, request: bool, id: u16) -> (u8, Vec<u8>) {
    let (protocol, kind) = match (address, request) {
        (IpAddr::V4(_), true) => (1, 8),
        (IpAddr::V4(_), false) => (1, 0),
        (IpAddr::V6(_), true) => (58, 128),
        (IpAddr::V6(_), false) => (58, 129),
    };
    (protocol, [&[kind, 0, 0, 0][..], &id.to_be_bytes(), &[0, 1], b"abcdefgh"].concat())
}

/// An ICMP error that quotes `about`: protocol and message.
pub(super) fn icmp_error(kind: u8, code: u8, rest: u32, about: &Ip) -> (u8, Vec<u8>) {
    let protocol = if about.src.is_ipv4() { 1 } else { 58 };
    (protocol, [&[kind, code, 0, 0][..], &rest.to_be_bytes(), &about.quoted()].concat())
}

/// The IP headers of a frame that came out.
#[track_caller]
pub(super) fn ip(frame: &[u8]) -> IpHeaders {
    match headers::parse(frame, false).expect("valid headers").net {
        Network::Ip(ip) => ip,
        Network::Arp => panic!("ARP"),
    }
}

/// The transport part of a frame.
#[track_caller]
pub(super) fn l4(frame: &[u8]) -> &[u8] {
    let headers = ip(frame);
    &frame[usize::from(headers.l4_offset)..headers.frame_len()]
}

#[track_caller]
pub(super) fn macs(frame: &[u8]) -> (Mac, Mac) {
    let frame = EthernetFrame::new_checked(frame).expect("an Ethernet frame");
    (Mac(frame.src_addr().0), Mac(frame.dst_addr().0))
}

/// Holds a whole packet to smoltcp: lengths, header checksum, transport checksum, nothing behind it.
#[track_caller]
pub(super) fn assert_valid(frame: &[u8]) {
    let headers = ip(frame);
    assert_eq!(headers.frame_len(), frame.len(), "no bytes after the packet");
    let packet = &frame[14..];
    let (src, dst) = (IpAddress::from(headers.src), IpAddress::from(headers.dst));
    if headers.src.is_ipv4() {
        assert!(Ipv4Packet::new_checked(packet).expect("IPv4").verify_checksum(), "header checksum");
    } else {
        Ipv6Packet::new_checked(packet).expect("IPv6");
    }
    if headers.fragment.is_some() {
        return;
    }
    let l4 = l4(frame);
    let right = match headers.protocol {
        6 => TcpPacket::new_checked(l4).expect("TCP").verify_checksum(&src, &dst),
        17 => UdpPacket::new_checked(l4).expect("UDP").verify_checksum(&src, &dst),
        1 => Icmpv4Packet::new_checked(l4).expect("ICMP").verify_checksum(),
        58 => match (headers.src, headers.dst) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                Icmpv6Packet::new_checked(l4).expect("ICMPv6").verify_checksum(&src, &dst)
            }
            _ => true,
        },
        _ => true,
    };
    assert!(right, "transport checksum");
}
