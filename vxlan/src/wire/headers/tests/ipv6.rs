//! IPv6: lengths, the extension header chain, fragments, addresses.

use super::{L4, ParseError, TCP_L4, ip, parse, refused, transport};
use crate::mtu::Family;
use crate::wire::headers::{Fragment, Headers, Network};
use crate::wire::samples::{self, DST_6, SRC_6, icmp, ipv6_frame, ipv6_frame_between, tcp, udp};

/// An extension header of `words` times eight bytes, padded as options.
fn padded(next: u8, words: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::from(words) * 8];
    bytes[..2].copy_from_slice(&[next, words - 1]);
    bytes
}

fn fragment_header(next: u8, offset: u16, more: bool) -> [u8; 8] {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    [next, 0, high, low, 0xca, 0xfe, 0xba, 0xbe]
}

fn chain(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn tcp_packet_is_read_in_full() {
    let ip = ip(&ipv6_frame(6, &tcp(40000, 80, 2)));
    assert_eq!((ip.src, ip.dst, ip.family), (SRC_6.into(), DST_6.into(), Family::V6));
    assert_eq!((ip.protocol, ip.ttl, ip.tos, ip.dont_fragment), (6, 63, 0xb9, true));
    assert_eq!((ip.l3_offset, ip.l4_offset, ip.ip_len), (14, 54, 64));
    assert_eq!((ip.fragment, ip.l4), (None, TCP_L4));
}

#[test]
fn rfc8200_s4_upper_header_is_found_behind_every_extension_header() {
    let segment = tcp(40000, 80, 2);
    let routing_done = [60, 0, 4, 0, 0, 0, 0, 0];
    let authentication = [44, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 9, 9, 9, 9];
    let atomic = fragment_header(60, 0, false);
    let payload = chain(&[
        &padded(43, 1),
        &routing_done,
        &padded(51, 3),
        &authentication,
        &atomic,
        &padded(6, 2),
        &segment,
    ]);
    let frame = ipv6_frame(0, &payload);
    let ip = ip(&frame);
    assert_eq!((ip.protocol, ip.l4, ip.fragment), (6, TCP_L4, None));
    assert_eq!(transport(&frame), segment);
}

#[test]
fn rfc8200_s4_1_hop_by_hop_header_stands_only_first() {
    let payload = chain(&[&padded(0, 1), &padded(17, 1), &udp(1, 2, b"")]);
    assert_eq!(refused(&ipv6_frame(60, &payload)), ParseError::Ipv6ExtensionChain);
    assert_eq!(refused(&ipv6_frame(0, &payload)), ParseError::Ipv6ExtensionChain);
}

#[test]
fn rfc5095_routing_type_zero_is_refused_even_when_done() {
    for segments_left in [0, 1] {
        let payload = chain(&[&[17, 0, 0, segments_left, 0, 0, 0, 0], &udp(1, 2, b"")]);
        assert_eq!(refused(&ipv6_frame(43, &payload)), ParseError::Ipv6ExtensionChain);
    }
}

#[test]
fn source_route_with_segments_left_is_refused_whatever_its_type() {
    for kind in [2, 3, 4, 253] {
        let payload = chain(&[&[17, 0, kind, 1, 0, 0, 0, 0], &udp(1, 2, b"")]);
        assert_eq!(refused(&ipv6_frame(43, &payload)), ParseError::Ipv6ExtensionChain);
    }
}

#[test]
fn chain_of_eight_headers_passes_and_of_nine_is_refused() {
    for (headers, accepted) in [(8, true), (9, false), (100, false)] {
        let mut payload = padded(60, 1).repeat(headers - 1);
        payload.extend(padded(17, 1));
        payload.extend(udp(1, 2, b""));
        let result = parse(&ipv6_frame(60, &payload), false).map(|_| ());
        assert_eq!(result, if accepted { Ok(()) } else { Err(ParseError::Ipv6ExtensionChain) }, "{headers}");
    }
}

#[test]
fn chain_of_256_bytes_passes_and_of_more_is_refused() {
    for (words, accepted) in [(32, true), (33, false)] {
        let payload = chain(&[&padded(17, words), &udp(1, 2, b"")]);
        let result = parse(&ipv6_frame(60, &payload), false).map(|_| ());
        assert_eq!(result, if accepted { Ok(()) } else { Err(ParseError::Ipv6ExtensionChain) }, "{words}");
    }
}

#[test]
fn extension_header_beyond_the_packet_is_refused() {
    for next in [0, 43, 51, 60] {
        let mut payload = padded(17, 2);
        payload[1] = 9;
        assert_eq!(refused(&ipv6_frame(next, &payload)), ParseError::Ipv6ExtensionChain, "{next}");
        for length in 0..8 {
            assert_eq!(refused(&ipv6_frame(next, &payload[..length])), ParseError::Ipv6ExtensionChain);
        }
    }
    assert_eq!(refused(&ipv6_frame(44, &[17; 7])), ParseError::Ipv6ExtensionChain);
}

#[test]
fn authentication_header_counts_words_of_four_bytes() {
    let short = [17, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(refused(&ipv6_frame(51, &chain(&[&short, &udp(1, 2, b"")]))), ParseError::Ipv6ExtensionChain);
    let header = [17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];
    assert_eq!(
        ip(&ipv6_frame(51, &chain(&[&header, &udp(5, 6, b"")]))).l4,
        L4::Udp { src_port: 5, dst_port: 6 }
    );
}

#[test]
fn jumbo_option_and_options_beyond_their_header_are_refused() {
    for options in [[0xc2, 4, 0, 1, 0, 0], [5, 5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 5], [1, 255, 0, 0, 0, 0]] {
        for first in [0, 60] {
            let payload = chain(&[&[17, 0], &options, &udp(1, 2, b"")]);
            assert_eq!(refused(&ipv6_frame(first, &payload)), ParseError::Ipv6ExtensionChain, "{options:?}");
        }
    }
    let router_alert = [17, 0, 5, 2, 0, 0, 1, 0];
    assert!(parse(&ipv6_frame(0, &chain(&[&router_alert, &udp(1, 2, b"")])), false).is_ok());
}

#[test]
fn no_next_header_ends_the_packet_whatever_follows() {
    let ip = ip(&ipv6_frame(59, &tcp(40000, 80, 2)));
    assert_eq!((ip.protocol, ip.l4), (59, L4::Other));
}

#[test]
fn icmp_of_the_wrong_family_and_unknown_protocols_are_other() {
    for protocol in [1, 2, 4, 41, 47, 50, 135, 136, 139, 140, 253, 254, 255] {
        assert_eq!(ip(&ipv6_frame(protocol, &icmp(8))).l4, L4::Other);
    }
    assert_eq!(ip(&ipv6_frame(58, &icmp(129))).l4, L4::Icmpv6 { icmp_type: 129, code: 0, id: 0xbeef });
    assert_eq!(ip(&ipv6_frame(58, &icmp(135))).l4, L4::Icmpv6 { icmp_type: 135, code: 0, id: 0 });
}

#[test]
fn payload_length_beyond_the_frame_is_refused_and_padding_is_reported() {
    let mut frame = ipv6_frame(17, &udp(1, 2, b"xx"));
    let length = frame.len();
    frame[19] += 1;
    assert_eq!(refused(&frame), ParseError::LengthMismatch);
    frame[19] -= 1;
    frame.extend([0xee; 9]);
    assert_eq!(ip(&frame).frame_len(), length);
}

#[test]
fn super_packet_may_have_no_length_and_nothing_else_may() {
    let mut frame = ipv6_frame(6, &chain(&[&tcp(40000, 80, 2), &[0; 3000]]));
    frame[18..20].fill(0);
    assert_eq!(refused(&frame), ParseError::Truncated);
    let Ok(Headers { net: Network::Ip(ip), .. }) = parse(&frame, true) else {
        panic!("super-packet refused")
    };
    assert_eq!((ip.frame_len(), ip.l4), (frame.len(), TCP_L4));
}

#[test]
fn rfc2675_jumbogram_is_refused() {
    let mut frame = ipv6_frame(0, &chain(&[&[17, 0, 0xc2, 4, 0, 1, 0, 0], &udp(1, 2, &[0; 100])]));
    assert_eq!(refused(&frame), ParseError::Ipv6ExtensionChain);
    frame[18..20].fill(0);
    assert_eq!(refused(&frame), ParseError::Ipv6ExtensionChain);
    assert_eq!(parse(&frame, true).unwrap_err(), ParseError::Ipv6ExtensionChain);
    // And the zero UDP length that belongs to one.
    let mut datagram = udp(1, 2, b"abcd");
    datagram[4..6].fill(0);
    assert_eq!(refused(&ipv6_frame(17, &datagram)), ParseError::LengthMismatch);
}

#[test]
fn rfc6946_atomic_fragment_is_a_whole_packet() {
    let ip = ip(&ipv6_frame(44, &chain(&[&fragment_header(6, 0, false), &tcp(40000, 80, 2)])));
    assert_eq!((ip.protocol, ip.fragment, ip.l4), (6, None, TCP_L4));
    let short = chain(&[&fragment_header(6, 0, false), &[0; 8]]);
    assert_eq!(refused(&ipv6_frame(44, &short)), ParseError::Truncated);
}

#[test]
fn second_fragment_header_is_refused() {
    for offset in [0, 8] {
        let atomic_first =
            chain(&[&fragment_header(44, 0, false), &fragment_header(17, offset, true), &[0; 16]]);
        assert_eq!(refused(&ipv6_frame(44, &atomic_first)), ParseError::Ipv6ExtensionChain);
        let first = chain(&[&fragment_header(44, 0, true), &fragment_header(17, offset, true), &[0; 16]]);
        assert_eq!(refused(&ipv6_frame(44, &first)), ParseError::Ipv6ExtensionChain);
    }
}

#[test]
fn rfc7112_first_fragment_without_the_whole_chain_is_refused() {
    let tiny_tcp = chain(&[&fragment_header(6, 0, true), &tcp(1, 2, 2)[..16]]);
    assert_eq!(refused(&ipv6_frame(44, &tiny_tcp)), ParseError::FragmentTiny);
    let cut_options = chain(&[&fragment_header(60, 0, true), &padded(6, 3)[..16]]);
    assert_eq!(refused(&ipv6_frame(44, &cut_options)), ParseError::FragmentTiny);
    let nothing_after_options = chain(&[&fragment_header(60, 0, true), &padded(6, 3)]);
    assert_eq!(refused(&ipv6_frame(44, &nothing_after_options)), ParseError::FragmentTiny);
}

#[test]
fn fragment_length_counts_the_extension_headers_behind_the_fragment_header() {
    // An overlap with the last bytes of this one would be missed if its end were reckoned from the ports.
    let ip =
        ip(&ipv6_frame(44, &chain(&[&fragment_header(60, 0, true), &padded(17, 2), &udp(5, 6, &[0; 8])])));
    assert_eq!(ip.fragment, Some(Fragment { id: 0xcafe_babe, offset: 0, more: true, length: 32 }));
    assert_eq!((ip.protocol, ip.l4_len(), ip.l4), (17, 16, L4::Udp { src_port: 5, dst_port: 6 }));
}

#[test]
fn later_fragment_has_no_ports_and_ends_the_walk() {
    for next in [0, 17, 43, 44, 60] {
        let ip = ip(&ipv6_frame(44, &chain(&[&fragment_header(next, 16, false), &[0xff; 5]])));
        assert_eq!(ip.fragment, Some(Fragment { id: 0xcafe_babe, offset: 16, more: false, length: 5 }));
        assert_eq!((ip.protocol, ip.l4, ip.l4_len()), (next, L4::LaterFragment, 5));
    }
}

#[test]
fn fragments_that_cannot_be_joined_or_reach_into_the_header_are_refused() {
    let result = |next, offset, more, data: &[u8]| {
        parse(&ipv6_frame(44, &chain(&[&fragment_header(next, offset, more), data])), false).map(|_| ())
    };
    assert_eq!(result(17, 8, true, &[0; 12]), Err(ParseError::LengthMismatch));
    assert_eq!(result(17, 8, false, &[]), Err(ParseError::LengthMismatch));
    assert_eq!(result(17, 0xfff8, false, &[0; 7]), Ok(()));
    assert_eq!(result(17, 0xfff8, false, &[0; 8]), Err(ParseError::LengthMismatch));
    // The headers before the fragment header count for the reassembled length.
    let behind_options = chain(&[&padded(44, 1), &fragment_header(17, 0xfff8, false), &[0; 7]]);
    assert_eq!(refused(&ipv6_frame(0, &behind_options)), ParseError::LengthMismatch);
    assert_eq!(result(6, 8, false, &[0; 16]), Err(ParseError::FragmentTiny));
    assert_eq!(result(6, 16, false, &[0; 16]), Err(ParseError::FragmentTiny));
    assert_eq!(result(6, 24, false, &[0; 16]), Ok(()));
}

#[test]
fn rfc9099_s2_3_ipv4_under_another_name_is_refused_on_either_side() {
    let v4 = [0x0a2a, 0x0005];
    let names = [
        [0, 0, 0, 0, 0, 0xffff, v4[0], v4[1]],
        [0, 0, 0, 0, 0, 0, v4[0], v4[1]],
        [0x64, 0xff9b, 0, 0, 0, 0, v4[0], v4[1]],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ];
    for address in names {
        for (src, dst) in [(address, DST_6), (SRC_6, address)] {
            let frame = ipv6_frame_between(src, dst, 17, &udp(1, 2, b""));
            assert_eq!(refused(&frame), ParseError::Ipv6Martian, "{src:x?} {dst:x?}");
        }
    }
}

#[test]
fn groups_are_refused_as_source_and_left_to_the_caller_as_destination() {
    let all_nodes = [0xff02, 0, 0, 0, 0, 0, 0, 1];
    let datagram = udp(1, 2, b"");
    assert_eq!(refused(&ipv6_frame_between(all_nodes, DST_6, 17, &datagram)), ParseError::Ipv6Martian);
    assert!(parse(&ipv6_frame_between(SRC_6, all_nodes, 17, &datagram), false).is_ok());
}

#[test]
fn only_icmpv6_comes_from_the_unspecified_address_and_nothing_goes_there() {
    let solicitation = icmp(135);
    assert!(parse(&ipv6_frame_between([0; 8], DST_6, 58, &solicitation), false).is_ok());
    assert_eq!(refused(&ipv6_frame_between([0; 8], DST_6, 17, &udp(68, 67, b""))), ParseError::Ipv6Martian);
    assert_eq!(refused(&ipv6_frame_between(SRC_6, [0; 8], 58, &solicitation)), ParseError::Ipv6Martian);
}

#[test]
fn samples_of_every_shape_are_accepted() {
    for frame in samples::one_of_each() {
        assert!(parse(&frame, false).is_ok(), "{frame:02x?}");
    }
}
