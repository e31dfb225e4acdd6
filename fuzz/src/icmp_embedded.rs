//! ICMP errors read and written: no panic; a quoted packet is one its receiver sent; an error about a packet is valid,
//! bounded, goes to its sender, is never about another error, and quotes what it is about.
//!
//! The first byte chooses the error to write; the IPv4 checksum is put right.

use std::net::IpAddr;

use dataplane::buffer::Frame;
use dataplane::respond::{IcmpError, embedded, icmp_error, is_icmp_error};
use vxlan::mac::Mac;
use vxlan::wire::headers::{L4, Network, parse};

use crate::mend;

const GATEWAY_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 1]);
const ERRORS: [IcmpError; 2] = [IcmpError::FragmentationNeeded { mtu: 1450 }, IcmpError::TimeExceeded];

/// One input.
pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    mend::ipv4_checksum(&mut bytes);
    let Ok(headers) = parse(&bytes, false) else { return };
    let Network::Ip(ip) = headers.net else { return };

    if let Some(quoted) = embedded(&ip, &bytes) {
        assert!(is_icmp_error(&ip), "only an error quotes");
        assert_eq!(quoted.src, ip.dst, "its receiver sent what is quoted");
        assert_eq!(quoted.src.is_ipv4(), quoted.dst.is_ipv4());
    }

    let (from, limit) = match ip.src {
        IpAddr::V4(_) => (IpAddr::from([10, 244, 1, 1]), 14 + 576),
        IpAddr::V6(_) => (IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, 1]), 14 + 1280),
    };
    let offending = Frame::from_bytes(&bytes);
    let mut reply = Frame::new();
    let error = ERRORS[usize::from(mode) % ERRORS.len()];
    if !icmp_error(&offending, &ip, error, from, GATEWAY_MAC, &mut reply) {
        return;
    }
    assert!(!is_icmp_error(&ip), "no error about an error");
    assert!(reply.len() <= limit, "{} bytes", reply.len());
    let answer = parse(reply.bytes(), false).expect("an error is a valid frame");
    let Network::Ip(about) = answer.net else { panic!("of IP") };
    assert_eq!((answer.eth.src, answer.eth.dst), (GATEWAY_MAC, headers.eth.src));
    assert_eq!((about.src, about.dst), (from, ip.src));
    assert!(is_icmp_error(&about));

    // The sender's host has to find its connection, as weir would have to.
    let ports = match ip.l4 {
        L4::Tcp { src_port, dst_port, .. }
        | L4::Udp { src_port, dst_port }
        | L4::Sctp { src_port, dst_port, .. } => (src_port, dst_port),
        _ => return,
    };
    let quoted = embedded(&about, reply.bytes()).expect("the quote reaches to the ports");
    assert_eq!((quoted.src, quoted.dst, quoted.protocol), (ip.src, ip.dst, ip.protocol));
    assert_eq!((quoted.src_port, quoted.dst_port), ports);
}
