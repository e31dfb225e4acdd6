//! IPv4: lengths, options, fragments, addresses, and each transport.

use super::{L4, ParseError, TCP_L4, ip, parse, refused, transport};
use crate::mtu::Family;
use crate::wire::headers::{Fragment, Headers, Network};
use crate::wire::samples::{self, DST_4, SRC_4, V4, icmp, sctp, tcp, udp};

fn v4() -> V4<'static> {
    V4::default()
}

#[test]
fn tcp_packet_is_read_in_full() {
    let segment = tcp(40000, 80, 2);
    let frame = V4 { protocol: 6, flags: 2, payload: &segment, ..v4() }.frame();
    let ip = ip(&frame);
    assert_eq!((ip.src, ip.dst, ip.family), (SRC_4.into(), DST_4.into(), Family::V4));
    assert_eq!((ip.protocol, ip.ttl, ip.tos, ip.dont_fragment), (6, 63, 0xb9, true));
    assert_eq!((ip.l3_offset, ip.l4_offset, ip.ip_len), (14, 34, 44));
    assert_eq!((ip.fragment, ip.l4), (None, TCP_L4));
}

#[test]
fn each_transport_is_told_by_its_protocol_number() {
    let l4 = |protocol, payload: &[u8]| ip(&samples::ipv4_frame(protocol, payload)).l4;
    assert_eq!(l4(17, &udp(5, 6, b"x")), L4::Udp { src_port: 5, dst_port: 6 });
    assert_eq!(l4(132, &sctp(5, 6)), L4::Sctp { src_port: 5, dst_port: 6, chunk: Some(1), vtag: 9 });
    assert_eq!(l4(132, &sctp(5, 6)[..12]), L4::Sctp { src_port: 5, dst_port: 6, chunk: None, vtag: 9 });
    assert_eq!(l4(1, &icmp(8)), L4::Icmp { icmp_type: 8, code: 0, id: 0xbeef });
    assert_eq!(l4(1, &icmp(0)), L4::Icmp { icmp_type: 0, code: 0, id: 0xbeef });
    assert_eq!(l4(1, &icmp(3)), L4::Icmp { icmp_type: 3, code: 0, id: 0 });
    // ICMPv6 in IPv4 is no ICMPv6; protocol 0 is not "any"; UDP-Lite is not UDP.
    for protocol in [0, 2, 4, 41, 47, 50, 51, 58, 136, 255] {
        assert_eq!(l4(protocol, &icmp(128)), L4::Other);
    }
}

#[test]
fn transport_offset_comes_from_ihl_and_not_from_the_ports_in_the_options() {
    // RFC 7126: a parser that takes 20 for granted reads these ports, 53 to 53, in place of the true ones.
    let frame =
        V4 { protocol: 6, options: &[0x94, 4, 0, 0, 1, 1, 1, 0], payload: &tcp(40000, 80, 2), ..v4() }
            .frame();
    assert_eq!(ip(&frame).l4, TCP_L4);
    assert_eq!(transport(&frame), tcp(40000, 80, 2));
}

#[test]
fn source_routes_are_refused_wherever_they_stand() {
    for kind in [131, 137] {
        let options = [1, kind, 7, 4, 10, 0, 0, 1];
        assert_eq!(refused(&V4 { options: &options, ..v4() }.frame()), ParseError::IpOptions);
    }
    // After the end of the list there are no options.
    let ended = [0, 131, 3, 4];
    assert!(parse(&V4 { options: &ended, payload: &udp(1, 2, b""), ..v4() }.frame(), false).is_ok());
}

#[test]
fn malformed_options_are_refused() {
    for options in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 0, 0], [7, 255, 0, 0], [1, 1, 1, 7]] {
        let frame = V4 { options: &options, payload: &udp(1, 2, b""), ..v4() }.frame();
        assert_eq!(refused(&frame), ParseError::IpOptions, "{options:?}");
    }
}

#[test]
fn wrong_header_checksum_is_refused() {
    let good = samples::ipv4_frame(17, &udp(1, 2, b""));
    for bit in 0..16 {
        let mut frame = good.clone();
        frame[24 + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(refused(&frame), ParseError::IpChecksum);
    }
}

fn with_length(total: u16, frame: &mut [u8]) {
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    samples::fix_ipv4_checksum(frame);
}

#[test]
fn total_length_below_the_header_or_beyond_the_frame_is_refused() {
    for total in [0, 1, 19, 31, u16::MAX] {
        let mut frame = samples::ipv4_frame(17, &udp(1, 2, b"xx"));
        with_length(total, &mut frame);
        assert_eq!(refused(&frame), ParseError::LengthMismatch, "{total}");
    }
}

#[test]
fn padding_after_the_packet_is_reported_by_its_length() {
    let mut frame = samples::ipv4_frame(17, &udp(1, 2, b"xx"));
    let length = frame.len();
    frame.resize(60, 0xee);
    let ip = ip(&frame);
    assert_eq!(ip.frame_len(), length);
    assert_eq!(transport(&frame), udp(1, 2, b"xx"));
}

#[test]
fn ihl_below_five_or_beyond_the_packet_is_refused() {
    for ihl in 0..5 {
        let mut frame = samples::ipv4_frame(17, &udp(1, 2, b""));
        frame[14] = 0x40 | ihl;
        assert_eq!(refused(&frame), ParseError::BadHeader);
    }
    let mut frame = samples::ipv4_frame(17, &udp(1, 2, b""));
    frame[14] = 0x4f;
    assert_eq!(refused(&frame), ParseError::Truncated);
    // There, but not within the total length.
    let mut frame = samples::ipv4_frame(17, &udp(1, 2, &[0; 60]));
    frame[14] = 0x4f;
    frame[16..18].copy_from_slice(&59_u16.to_be_bytes());
    assert_eq!(refused(&frame), ParseError::LengthMismatch);
}

#[test]
fn super_packet_may_have_no_length_and_nothing_else_may() {
    let mut frame = samples::ipv4_frame(6, &[&tcp(40000, 80, 2)[..], &[0; 3000]].concat());
    with_length(0, &mut frame);
    assert_eq!(refused(&frame), ParseError::LengthMismatch);
    let Ok(Headers { net: Network::Ip(ip), .. }) = parse(&frame, true) else {
        panic!("super-packet refused")
    };
    assert_eq!((ip.frame_len(), ip.l4), (frame.len(), TCP_L4));
}

#[test]
fn super_packet_beyond_64_kib_is_measured_by_its_frame() {
    let mut frame = V4 { protocol: 6, payload: &tcp(40000, 80, 2), ..v4() }.frame();
    frame.resize(100_000, 0);
    with_length(0, &mut frame);
    let Ok(Headers { net: Network::Ip(ip), .. }) = parse(&frame, true) else {
        panic!("super-packet refused")
    };
    assert_eq!(ip.frame_len(), 100_000);
}

#[test]
fn udp_length_is_held_against_the_packet() {
    for (length, accepted) in
        [(0, false), (7, false), (8, true), (9, true), (12, true), (13, false), (65535, false)]
    {
        let mut datagram = udp(1, 2, b"abcd");
        datagram[4..6].copy_from_slice(&u16::to_be_bytes(length));
        let frame = samples::ipv4_frame(17, &datagram);
        let result = parse(&frame, false);
        assert_eq!(result.is_ok(), accepted, "{length}: {result:?}");
        if !accepted {
            assert_eq!(refused(&frame), ParseError::LengthMismatch);
        }
        assert!(parse(&frame, true).is_ok(), "a super-packet's UDP length is the kernel's own business");
    }
}

#[test]
fn tcp_data_offset_is_held_against_the_header_and_the_packet() {
    for offset in 0..16_u8 {
        let mut segment = tcp(40000, 80, 2);
        segment[12] = offset << 4;
        let result = parse(&samples::ipv4_frame(6, &segment), false).map(|_| ());
        let expected = match offset {
            0..5 => Err(ParseError::BadHeader),
            5 | 6 => Ok(()),
            _ => Err(ParseError::Truncated),
        };
        assert_eq!(result, expected, "{offset}");
    }
}

#[test]
fn rfc1858_tiny_first_fragment_is_refused() {
    for (protocol, whole) in [(6, tcp(1, 2, 2)), (17, udp(1, 2, &[0; 16])), (132, sctp(1, 2)), (1, icmp(8))] {
        let needed = match protocol {
            6 => 24,
            132 => 12,
            _ => 8,
        };
        for length in (8..=24).step_by(8).filter(|&length| length <= whole.len()) {
            let frame = V4 { protocol, flags: 1, payload: &whole[..length], ..v4() }.frame();
            if length < needed {
                assert_eq!(refused(&frame), ParseError::FragmentTiny, "{protocol} {length}");
            } else {
                assert!(ip(&frame).fragment.is_some_and(|fragment| fragment.is_first()));
            }
        }
    }
}

#[test]
fn rfc3128_fragment_that_reaches_into_the_tcp_header_is_refused() {
    let at = |protocol, offset| {
        parse(&V4 { protocol, offset, payload: &[0; 16], ..v4() }.frame(), false).map(|_| ())
    };
    assert_eq!(at(6, 1), Err(ParseError::FragmentTiny));
    assert_eq!(at(6, 2), Err(ParseError::FragmentTiny));
    assert_eq!(at(6, 3), Ok(()));
    assert_eq!(at(132, 1), Err(ParseError::FragmentTiny));
    assert_eq!(at(132, 2), Ok(()));
    assert_eq!(at(17, 1), Ok(()));
}

#[test]
fn fragments_report_their_place_and_only_the_first_has_ports() {
    let datagram = udp(5, 6, &[0; 1000]);
    let first = ip(&V4 { flags: 1, payload: &datagram[..800], ..v4() }.frame());
    assert_eq!(first.fragment, Some(Fragment { id: 0x1234, offset: 0, more: true, length: 800 }));
    assert_eq!(first.l4, L4::Udp { src_port: 5, dst_port: 6 });
    let last = ip(&V4 { offset: 100, payload: &datagram[800..], ..v4() }.frame());
    assert_eq!(last.fragment, Some(Fragment { id: 0x1234, offset: 800, more: false, length: 208 }));
    assert_eq!((last.protocol, last.l4), (17, L4::LaterFragment));
}

#[test]
fn fragments_that_cannot_be_joined_are_refused() {
    let result = |flags, offset, payload: &[u8]| {
        parse(&V4 { flags, offset, payload, ..v4() }.frame(), false).map(|_| ())
    };
    assert_eq!(result(1, 5, &[0; 12]), Err(ParseError::LengthMismatch), "cut within a unit");
    assert_eq!(result(0, 5, &[0; 12]), Ok(()));
    assert_eq!(result(0, 5, &[]), Err(ParseError::LengthMismatch), "empty");
    assert_eq!(result(0, 0x1fff, &[0; 8]), Err(ParseError::LengthMismatch), "ping of death");
    assert_eq!(result(0, 8186, &[0; 27]), Ok(()), "65535 bytes in all");
    assert_eq!(result(0, 8186, &[0; 28]), Err(ParseError::LengthMismatch), "65536 bytes in all");
}

#[test]
fn martian_addresses_are_refused_and_groups_as_destination_are_not() {
    let result = |src: [u8; 4], dst: [u8; 4]| {
        parse(&V4 { src, dst, payload: &udp(1, 2, b""), ..v4() }.frame(), false).map(|_| ())
    };
    for src in
        [[127, 0, 0, 1], [0, 0, 0, 0], [0, 1, 2, 3], [224, 0, 0, 1], [239, 1, 1, 1], [240, 0, 0, 1], [255; 4]]
    {
        assert_eq!(result(src, DST_4), Err(ParseError::Martian), "{src:?}");
    }
    for dst in [[127, 9, 9, 9], [0, 0, 0, 0], [0, 1, 2, 3], [240, 0, 0, 1], [255, 255, 255, 254]] {
        assert_eq!(result(SRC_4, dst), Err(ParseError::Martian), "{dst:?}");
    }
    for dst in [[224, 0, 0, 251], [255; 4], [10, 42, 1, 255]] {
        assert_eq!(result(SRC_4, dst), Ok(()), "{dst:?}");
    }
}

#[test]
fn only_a_dhcp_request_comes_from_the_unspecified_address() {
    let result = |src_port, dst_port, dst| {
        let payload = udp(src_port, dst_port, b"");
        parse(&V4 { src: [0; 4], dst, payload: &payload, ..v4() }.frame(), false).map(|_| ())
    };
    assert_eq!(result(68, 67, [255; 4]), Ok(()));
    assert_eq!(result(67, 68, [255; 4]), Err(ParseError::Martian));
    assert_eq!(result(68, 67, DST_4), Err(ParseError::Martian));
}
