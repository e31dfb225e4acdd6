//! The packet quoted in an ICMP error, as an attacker would write it.

use std::net::IpAddr;

use proptest::prelude::*;

use super::{FAR4, FAR6, GATEWAY4, GATEWAY6, POD4, POD6, ip_frame, ip_headers, ip_packet, udp_frame};
use crate::respond::{EmbeddedTuple, embedded};

/// Reads the quote of an IPv4 error (to the pod) of this type.
fn read_v4(head: [u8; 8], quoted: &[u8]) -> Option<EmbeddedTuple> {
    let upper = [&head[..], quoted].concat();
    let bytes = ip_frame(GATEWAY4.into(), POD4.into(), 1, 64, upper, Some(2));
    embedded(&ip_headers(&bytes), &bytes)
}

fn read_v6(head: [u8; 8], quoted: &[u8]) -> Option<EmbeddedTuple> {
    let upper = [&head[..], quoted].concat();
    let bytes = ip_frame(GATEWAY6.into(), POD6.into(), 58, 64, upper, Some(2));
    embedded(&ip_headers(&bytes), &bytes)
}

const UNREACHABLE4: [u8; 8] = [3, 3, 0, 0, 0, 0, 0, 0];
const UNREACHABLE6: [u8; 8] = [1, 4, 0, 0, 0, 0, 0, 0];

fn quote(src: IpAddr, dst: IpAddr, protocol: u8, upper: &[u8]) -> Vec<u8> {
    let mut packet = ip_packet(src, dst, protocol, 64, upper.len());
    packet.drain(..2);
    packet.extend(upper);
    packet
}

#[test]
fn eight_bytes_of_transport_header_are_enough_and_seven_are_not() {
    let (v4, v6) = (udp_frame(false, 500), udp_frame(true, 500));
    let expected = |src: IpAddr, dst: IpAddr| EmbeddedTuple {
        src,
        dst,
        protocol: 17,
        src_port: 40_000,
        dst_port: 53,
        is_echo_request: false,
    };
    let [far4, far6]: [IpAddr; 2] = [FAR4.into(), FAR6.into()];
    assert_eq!(read_v4(UNREACHABLE4, &v4[14..14 + 28]), Some(expected(POD4.into(), far4)));
    assert_eq!(read_v6(UNREACHABLE6, &v6[14..14 + 48]), Some(expected(POD6.into(), far6)));
    for cut in 0..28 {
        assert_eq!(read_v4(UNREACHABLE4, &v4[14..14 + cut]), None, "{cut}");
    }
    for cut in 0..48 {
        assert_eq!(read_v6(UNREACHABLE6, &v6[14..14 + cut]), None, "{cut}");
    }
}

#[test]
fn an_echo_gives_its_identifier_and_direction() {
    let [pod, far]: [IpAddr; 2] = [POD4.into(), FAR4.into()];
    let request =
        read_v4(UNREACHABLE4, &quote(pod, far, 1, &[8, 0, 0, 0, 0x12, 0x34, 0, 1])).expect("request");
    assert_eq!((request.src_port, request.dst_port, request.is_echo_request), (0x1234, 0, true));
    let reply = read_v4(UNREACHABLE4, &quote(pod, far, 1, &[0, 0, 0, 0, 0x12, 0x34, 0, 1])).expect("reply");
    assert!(!reply.is_echo_request);
    let [pod, far]: [IpAddr; 2] = [POD6.into(), FAR6.into()];
    let request =
        read_v6(UNREACHABLE6, &quote(pod, far, 58, &[128, 0, 0, 0, 0x12, 0x34, 0, 1])).expect("request");
    assert!(request.is_echo_request);
}

#[test]
fn rfc5927_a_quote_that_its_receiver_did_not_send_is_refused() {
    let [pod, far, gateway]: [IpAddr; 3] = [POD4.into(), FAR4.into(), GATEWAY4.into()];
    assert!(read_v4(UNREACHABLE4, &quote(pod, far, 6, &[0; 8])).is_some());
    assert_eq!(read_v4(UNREACHABLE4, &quote(far, pod, 6, &[0; 8])), None);
    assert_eq!(read_v4(UNREACHABLE4, &quote(gateway, far, 6, &[0; 8])), None);
}

#[test]
fn lies_about_lengths_fragments_and_versions_are_refused() {
    let good = quote(POD4.into(), FAR4.into(), 6, &[0; 20]);
    let with = |at: usize, value: u8| {
        let mut quote = good.clone();
        quote[at] = value;
        quote
    };
    for (name, quote) in [
        ("version", with(0, 0x65)),
        ("header length below 20", with(0, 0x44)),
        ("header length beyond the quote", with(0, 0x4f)),
        ("total length", with(3, 27)),
        ("later fragment", with(7, 1)),
        ("ICMPv6 in IPv4", with(9, 58)),
    ] {
        assert_eq!(read_v4(UNREACHABLE4, &quote), None, "{name}");
    }
    // An error about an error, or about a message that opens no connection.
    for kind in [3, 5, 11, 13] {
        let quote = quote(POD4.into(), FAR4.into(), 1, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(read_v4(UNREACHABLE4, &quote), None, "{kind}");
    }
}

#[test]
fn extension_headers_in_a_quote_are_walked_within_bounds() {
    let chain = |headers: usize| {
        let mut upper = Vec::new();
        for index in 1..=headers {
            upper.extend([if index == headers { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        upper.extend([0x9c, 0x40, 0, 53, 0, 8, 0, 0]);
        quote(POD6.into(), FAR6.into(), 60, &upper)
    };
    assert_eq!(read_v6(UNREACHABLE6, &chain(8)).map(|tuple| tuple.dst_port), Some(53));
    assert_eq!(read_v6(UNREACHABLE6, &chain(9)), None);
    let fragment = |offset: u8| {
        let upper = [&[17, 0, 0, offset, 0, 0, 0, 9][..], &[0x9c, 0x40, 0, 53, 0, 8, 0, 0]].concat();
        quote(POD6.into(), FAR6.into(), 44, &upper)
    };
    assert!(read_v6(UNREACHABLE6, &fragment(1)).is_some());
    assert_eq!(read_v6(UNREACHABLE6, &fragment(8)), None);
}

#[test]
fn an_mtu_below_what_every_link_carries_is_not_believed() {
    let (v4, v6) = (udp_frame(false, 20), udp_frame(true, 20));
    for (mtu, believed) in [(0_u16, false), (575, false), (576, true), (1_450, true)] {
        let [high, low] = mtu.to_be_bytes();
        assert_eq!(read_v4([3, 4, 0, 0, 0, 0, high, low], &v4[14..]).is_some(), believed, "{mtu}");
    }
    for (mtu, believed) in [(0_u32, false), (1_279, false), (1_280, true), (65_536, true)] {
        let [m0, m1, m2, m3] = mtu.to_be_bytes();
        assert_eq!(read_v6([2, 0, 0, 0, m0, m1, m2, m3], &v6[14..]).is_some(), believed, "{mtu}");
    }
}

#[test]
fn what_is_no_error_quotes_nothing() {
    let bytes = udp_frame(false, 100);
    assert_eq!(embedded(&ip_headers(&bytes), &bytes), None);
    for kind in [0, 5, 8, 13] {
        assert_eq!(read_v4([kind, 0, 0, 0, 0, 0, 0, 0], &bytes[14..]), None);
    }
}

proptest! {
    #[test]
    fn arbitrary_quotes_never_panic(kind: u8, code: u8, v6: bool, quote in prop::collection::vec(any::<u8>(), 0..200)) {
        let head = [kind, code, 0, 0, 0, 0, 0xff, 0xff];
        let tuple = if v6 { read_v6(head, &quote) } else { read_v4(head, &quote) };
        if let Some(tuple) = tuple {
            prop_assert_eq!(tuple.src, if v6 { IpAddr::from(POD6) } else { POD4.into() });
        }
    }
}
