//! What weir says itself, read back by smoltcp, and what it must not be moved to say.

mod arp;
mod embedded;
mod icmp_error;
mod ndp;
mod rogue;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vxlan::mac::Mac;
use vxlan::wire::checksum::{ipv4_header, transport};
use vxlan::wire::headers::{self, IpHeaders, Network};

use crate::buffer::Frame;

const POD_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0xfe]);
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);
const POD4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const FAR4: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 3);
const POD6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 2);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 2, 0, 0, 0, 3);

fn ip_headers(bytes: &[u8]) -> IpHeaders {
    match headers::parse(bytes, false).expect("valid frame").net {
        Network::Ip(headers) => headers,
        Network::Arp => unreachable!("an IP packet was built"),
    }
}

/// A frame with one IP packet, from the pod to us; `upper` gets its checksum at `checksum_at`, if any.
fn ip_frame(
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    hop_limit: u8,
    mut upper: Vec<u8>,
    checksum_at: Option<usize>,
) -> Vec<u8> {
    if let Some(at) = checksum_at {
        upper[at..at + 2].fill(0);
        let checksum = match (src, protocol) {
            // ICMP over IPv4 has no pseudo header.
            (IpAddr::V4(_), 1) => ipv4_header(&upper),
            _ => transport(src, dst, protocol, &upper),
        };
        upper[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }
    let mut frame = [OUR_MAC.0, POD_MAC.0].concat();
    frame.extend(ip_packet(src, dst, protocol, hop_limit, upper.len()));
    frame.extend(upper);
    frame
}

/// Ethertype and IP header.
fn ip_packet(src: IpAddr, dst: IpAddr, protocol: u8, hop_limit: u8, upper: usize) -> Vec<u8> {
    let len = |header: usize| u16::try_from(header + upper).expect("length").to_be_bytes();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let [high, low] = len(20);
            let mut header = vec![0x45, 0, high, low, 0, 1, 0, 0, hop_limit, protocol, 0, 0];
            header.extend([src.octets(), dst.octets()].concat());
            let checksum = ipv4_header(&header).to_be_bytes();
            header[10..12].copy_from_slice(&checksum);
            [&[0x08, 0x00][..], &header].concat()
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let [high, low] = len(0);
            let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0, high, low, protocol, hop_limit];
            header.extend([src.octets(), dst.octets()].concat());
            header
        }
        _ => unreachable!("one family"),
    }
}

/// A UDP packet of the pod to another node's pod.
fn udp_frame(v6: bool, payload: usize) -> Vec<u8> {
    let (src, dst): (IpAddr, IpAddr) =
        if v6 { (POD6.into(), FAR6.into()) } else { (POD4.into(), FAR4.into()) };
    let len = u16::try_from(8 + payload).expect("length").to_be_bytes();
    let mut upper = vec![0x9c, 0x40, 0, 53, len[0], len[1], 0, 0];
    upper.resize(8 + payload, 0x5a);
    ip_frame(src, dst, 17, 1, upper, Some(6))
}

fn frame(bytes: &[u8]) -> Frame {
    Frame::from_bytes(bytes)
}
