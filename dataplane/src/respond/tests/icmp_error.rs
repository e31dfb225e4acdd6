//! ICMP errors: what they say, and about what none is sent.

use std::net::IpAddr;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, Icmpv4Packet, Icmpv6Packet, Icmpv6Repr, Icmpv6TimeExceeded, Ipv4Packet, Ipv6Packet,
};

use super::{
    FAR4, FAR6, GATEWAY4, GATEWAY6, OUR_MAC, POD_MAC, POD4, POD6, frame, ip_frame, ip_headers, udp_frame,
};
use crate::buffer::Frame;
use crate::respond::{IcmpError, embedded, icmp_error, is_icmp_error};

const ERRORS: [IcmpError; 2] = [IcmpError::FragmentationNeeded { mtu: 1_450 }, IcmpError::TimeExceeded];

fn reply_to(bytes: &[u8], error: IcmpError) -> Option<Frame> {
    let offending = frame(bytes);
    let headers = ip_headers(bytes);
    let from: IpAddr = if headers.src.is_ipv4() { GATEWAY4.into() } else { GATEWAY6.into() };
    let mut reply = frame(&[0xaa; 2_000]);
    icmp_error(&offending, &headers, error, from, OUR_MAC, &mut reply).then_some(reply)
}

#[test]
fn rfc792_errors_quote_the_packet_and_carry_the_mtu() {
    let offending = udp_frame(false, 100);
    for (error, kind, code, mtu) in [(ERRORS[0], 3, 4, 1_450_u16), (ERRORS[1], 11, 0, 0)] {
        let reply = reply_to(&offending, error).expect("reply");
        let ethernet = EthernetFrame::new_checked(reply.bytes()).expect("ethernet");
        assert_eq!((ethernet.dst_addr().0, ethernet.src_addr().0), (POD_MAC.0, OUR_MAC.0));
        let ip = Ipv4Packet::new_checked(ethernet.payload()).expect("ip");
        assert!(ip.verify_checksum());
        assert_eq!((ip.src_addr(), ip.dst_addr(), ip.hop_limit()), (GATEWAY4, POD4, 64));
        assert_eq!((ip.dscp(), ip.ecn()), (0x30, 0));
        let icmp = Icmpv4Packet::new_checked(ip.payload()).expect("icmp");
        assert!(icmp.verify_checksum());
        assert_eq!((u8::from(icmp.msg_type()), icmp.msg_code()), (kind, code));
        assert_eq!(ip.payload()[4..8], [&[0, 0][..], &mtu.to_be_bytes()].concat());
        assert_eq!(ip.payload()[8..], offending[14..]);
    }
}

#[test]
fn rfc4443_errors_quote_the_packet_and_carry_the_mtu() {
    let offending = udp_frame(true, 100);
    for error in ERRORS {
        let reply = reply_to(&offending, error).expect("reply");
        let ethernet = EthernetFrame::new_checked(reply.bytes()).expect("ethernet");
        let ip = Ipv6Packet::new_checked(ethernet.payload()).expect("ip");
        assert_eq!((ip.src_addr(), ip.dst_addr(), ip.hop_limit()), (GATEWAY6, POD6, 64));
        assert_eq!(ip.traffic_class(), 0xc0);
        let icmp = Icmpv6Packet::new_checked(ip.payload()).expect("icmp");
        let repr = Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &ChecksumCapabilities::default());
        match (error, repr.expect("valid")) {
            (IcmpError::FragmentationNeeded { .. }, Icmpv6Repr::PktTooBig { mtu, .. }) => {
                assert_eq!(mtu, 1_450);
            }
            (IcmpError::TimeExceeded, Icmpv6Repr::TimeExceeded { reason, .. }) => {
                assert_eq!(reason, Icmpv6TimeExceeded::HopLimitExceeded);
            }
            (error, repr) => panic!("{error:?} became {repr:?}"),
        }
        assert_eq!(ip.payload()[8..], offending[14..]);
    }
}

#[test]
fn a_long_packet_is_quoted_up_to_576_and_1280_bytes() {
    for (v6, most) in [(false, 576), (true, 1_280)] {
        let reply = reply_to(&udp_frame(v6, 4_000), IcmpError::TimeExceeded).expect("reply");
        assert_eq!(reply.len() - 14, most);
        assert!(super::headers::parse(reply.bytes(), false).is_ok());
    }
}

#[test]
fn padding_is_not_quoted() {
    let mut offending = udp_frame(false, 1);
    offending.resize(60, 0xee);
    let reply = reply_to(&offending, IcmpError::TimeExceeded).expect("reply");
    assert_eq!(reply.len(), 14 + 20 + 8 + 29);
}

#[test]
fn an_ipv6_sender_is_never_told_less_than_1280() {
    let reply =
        reply_to(&udp_frame(true, 1_400), IcmpError::FragmentationNeeded { mtu: 900 }).expect("reply");
    assert_eq!(reply.bytes()[14 + 40 + 4..][..4], [0, 0, 5, 0]);
}

#[test]
fn rfc1812_s4_3_2_7_nothing_is_sent_about_what_may_not_be_answered() {
    let icmp = |kind: u8| {
        ip_frame(
            POD4.into(),
            FAR4.into(),
            1,
            9,
            [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &[0; 28]].concat(),
            Some(2),
        )
    };
    let icmp6 = |kind: u8| {
        ip_frame(
            POD6.into(),
            FAR6.into(),
            58,
            9,
            [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &[0; 48]].concat(),
            Some(2),
        )
    };
    for kind in [3, 4, 5, 11, 12] {
        assert!(reply_to(&icmp(kind), IcmpError::TimeExceeded).is_none(), "{kind}");
    }
    for kind in [1, 2, 3, 4, 100, 127, 137] {
        assert!(reply_to(&icmp6(kind), IcmpError::TimeExceeded).is_none(), "{kind}");
    }
    assert!(reply_to(&icmp(8), IcmpError::TimeExceeded).is_some());
    assert!(reply_to(&icmp6(128), IcmpError::TimeExceeded).is_some());

    let mut to_group = udp_frame(false, 10);
    to_group[0] |= 1;
    assert!(reply_to(&to_group, IcmpError::TimeExceeded).is_none());

    let headers = ip_headers(&udp_frame(false, 10));
    let mut reply = Frame::new();
    for (src, dst) in [
        ("0.0.0.0", "10.0.0.1"),
        ("0.1.2.3", "10.0.0.1"),
        ("127.0.0.1", "10.0.0.1"),
        ("224.0.0.5", "10.0.0.1"),
        ("240.0.0.1", "10.0.0.1"),
        ("255.255.255.255", "10.0.0.1"),
        ("10.0.0.1", "224.0.0.251"),
        ("10.0.0.1", "255.255.255.255"),
        ("::", "fd00::1"),
        ("::1", "fd00::1"),
        ("ff02::1", "fd00::1"),
        ("fd00::1", "ff02::fb"),
    ] {
        let headers = super::IpHeaders {
            src: src.parse().expect("address"),
            dst: dst.parse().expect("address"),
            ..headers
        };
        let offending = frame(&udp_frame(false, 10));
        let sent =
            icmp_error(&offending, &headers, IcmpError::TimeExceeded, GATEWAY4.into(), OUR_MAC, &mut reply);
        assert!(!sent, "{src} -> {dst}");
    }
}

#[test]
fn later_fragments_are_not_answered_and_first_ones_are() {
    for (field, answered) in [(0x2000_u16, true), (0x2001, false), (0x0001, false)] {
        let mut offending = udp_frame(false, 40);
        offending[20..22].copy_from_slice(&field.to_be_bytes());
        offending[24..26].fill(0);
        let checksum = super::ipv4_header(&offending[14..34]);
        offending[24..26].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(reply_to(&offending, IcmpError::TimeExceeded).is_some(), answered, "{field:#x}");
    }
}

proptest! {
    #[test]
    fn every_error_is_a_valid_packet_whose_quote_is_found_again(
        v6: bool, payload in 0_usize..3_000, error in 0_usize..2,
    ) {
        let offending = udp_frame(v6, payload);
        let reply = reply_to(&offending, ERRORS[error]).expect("reply");
        let headers = ip_headers(reply.bytes());
        prop_assert!(is_icmp_error(&headers));
        let quoted = embedded(&headers, reply.bytes()).expect("quote");
        let original = ip_headers(&offending);
        prop_assert_eq!((quoted.src, quoted.dst, quoted.protocol), (original.src, original.dst, 17));
        prop_assert_eq!((quoted.src_port, quoted.dst_port), (40_000, 53));
    }

    #[test]
    fn a_frame_cut_anywhere_never_panics(v6: bool, cut in 0_usize..200) {
        let bytes = udp_frame(v6, 100);
        let headers = ip_headers(&bytes);
        let from: IpAddr = if v6 { GATEWAY6.into() } else { GATEWAY4.into() };
        let cut = &bytes[..cut.min(bytes.len())];
        let _ = icmp_error(&frame(cut), &headers, ERRORS[0], from, OUR_MAC, &mut Frame::new());
    }
}
