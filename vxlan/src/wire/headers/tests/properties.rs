//! Whatever the bytes: no panic, and what is reported lies within the frame. Agreement with other parsers.

use pnet_packet::Packet;
use pnet_packet::ipv4::Ipv4Packet;
use pnet_packet::ipv6::Ipv6Packet;
use pnet_packet::tcp::TcpPacket;
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Headers, IpHeaders, L4, Network, ParseError, parse};
use crate::wire::samples::{self, V4};

/// What must hold of anything the walk accepts.
fn check(frame: &[u8]) {
    for gso in [false, true] {
        let Ok(Headers { net: Network::Ip(ip), .. }) = parse(frame, gso) else { continue };
        let IpHeaders { l3_offset, l4_offset, fragment, l4, .. } = ip;
        assert!(ip.frame_len() <= frame.len());
        assert!(l3_offset == 14 && l3_offset < l4_offset && usize::from(l4_offset) <= ip.frame_len());
        match fragment {
            Some(fragment) => {
                assert!(fragment.length as usize >= ip.l4_len() && fragment.length > 0);
                assert_eq!(fragment.is_first(), l4 != L4::LaterFragment);
                assert!(fragment.offset + fragment.length <= 65535);
            }
            None => assert_ne!(l4, L4::LaterFragment),
        }
        let least = match l4 {
            L4::Tcp { header_len, .. } => usize::from(header_len),
            L4::Udp { .. } | L4::Icmp { .. } | L4::Icmpv6 { .. } => 8,
            L4::Sctp { .. } => 12,
            L4::Other | L4::LaterFragment => 0,
        };
        assert!(ip.l4_len() >= least);
    }
}

#[test]
fn every_truncation_of_every_sample_is_refused() {
    for frame in samples::one_of_each() {
        // Of ARP only the Ethernet header is read here.
        let end = if frame[12..14] == [0x08, 0x06] { 14 } else { frame.len() };
        for length in 0..end {
            check(&frame[..length]);
            let error = parse(&frame[..length], false).expect_err("a truncated frame was accepted");
            assert!(
                matches!(error, ParseError::Truncated | ParseError::LengthMismatch),
                "{length}: {error:?}"
            );
        }
    }
}

#[test]
fn every_value_of_every_byte_of_every_sample_is_survived() {
    for good in samples::one_of_each() {
        let mut frame = good.clone();
        for position in 0..frame.len() {
            for value in 0..=u8::MAX {
                frame[position] = value;
                if frame[12..14] == [0x08, 0x00] && (14..34).contains(&position) && frame[14] & 15 >= 5 {
                    samples::fix_ipv4_checksum(&mut frame);
                }
                check(&frame);
            }
            frame.copy_from_slice(&good);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_good_ethernet_header_never_panic(v6: bool, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if v6 { 0x60 } else { 0x45 } | (*first & 0x0a);
        }
        let mut frame = samples::frame(if v6 { 0x86dd } else { 0x0800 }, &bytes);
        if !v6 && frame.len() >= 14 + 60 {
            samples::fix_ipv4_checksum(&mut frame);
        }
        check(&frame);
    }

    #[test]
    fn arbitrary_extension_header_chains_never_panic(first: u8, parts in proptest::collection::vec((prop_oneof![Just(0), Just(43), Just(44), Just(51), Just(60), Just(6), Just(17)], 0..4_u8, any::<[u8; 6]>()), 0..12)) {
        let mut payload = Vec::new();
        for (next, words, fill) in parts {
            payload.extend_from_slice(&[next, words]);
            payload.extend_from_slice(&fill);
            payload.extend(std::iter::repeat_n(0, usize::from(words) * 8));
        }
        check(&samples::ipv6_frame(first, &payload));
    }

    #[test]
    fn mutated_samples_never_panic(which: Index, changes in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6), keep: Index) {
        let all = samples::one_of_each();
        let mut frame = all[which.index(all.len())].clone();
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        check(&frame);
        check(&frame[..keep.index(frame.len() + 1)]);
    }

    #[test]
    fn ipv4_tcp_agrees_with_pnet(src in any::<[u8; 4]>(), dst in any::<[u8; 4]>(), src_port: u16, dst_port: u16, flags: u8, padding in 0..20_usize) {
        let segment = samples::tcp(src_port, dst_port, flags);
        let mut frame = V4 { src, dst, protocol: 6, payload: &segment, ..V4::default() }.frame();
        frame.extend(std::iter::repeat_n(0xaa, padding));
        let Ok(Headers { net: Network::Ip(ip), .. }) = parse(&frame, false) else { return Ok(()) };
        let pnet = Ipv4Packet::new(&frame[14..]).unwrap();
        prop_assert_eq!(ip.src, pnet.get_source());
        prop_assert_eq!(ip.dst, pnet.get_destination());
        prop_assert_eq!(ip.ip_len, u32::from(pnet.get_total_length()));
        prop_assert_eq!(ip.tos, pnet.get_dscp() << 2 | pnet.get_ecn());
        let tcp = TcpPacket::new(pnet.payload()).unwrap();
        let expected = L4::Tcp { src_port: tcp.get_source(), dst_port: tcp.get_destination(), flags: tcp.get_flags(), seq: tcp.get_sequence(), ack: tcp.get_acknowledgement(), header_len: tcp.get_data_offset() * 4 };
        prop_assert_eq!(ip.l4, expected);
    }

    #[test]
    fn ipv6_header_agrees_with_pnet(src in any::<[u16; 8]>(), dst in any::<[u16; 8]>(), protocol: u8, payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let frame = samples::ipv6_frame_between(src, dst, protocol, &payload);
        let Ok(Headers { net: Network::Ip(ip), .. }) = parse(&frame, false) else { return Ok(()) };
        let pnet = Ipv6Packet::new(&frame[14..]).unwrap();
        prop_assert_eq!(ip.src, pnet.get_source());
        prop_assert_eq!(ip.dst, pnet.get_destination());
        prop_assert_eq!(ip.tos, pnet.get_traffic_class());
        prop_assert_eq!(ip.ttl, pnet.get_hop_limit());
        prop_assert_eq!(ip.ip_len, u32::from(pnet.get_payload_length()) + 40);
    }

    #[test]
    fn what_smoltcp_refuses_for_its_lengths_is_refused(which: Index, changes in proptest::collection::vec((14..60_usize, any::<u8>()), 0..3)) {
        use smoltcp::wire::{Ipv4Packet, TcpPacket, UdpPacket};
        let all = samples::one_of_each();
        let mut frame = all[which.index(all.len())].clone();
        for (at, value) in changes {
            if let Some(byte) = frame.get_mut(at) {
                *byte = value;
            }
        }
        let Ok(Headers { net: Network::Ip(ip), .. }) = parse(&frame, false) else { return Ok(()) };
        let packet = &frame[14..ip.frame_len()];
        if ip.src.is_ipv4() {
            let smoltcp = Ipv4Packet::new_checked(packet).unwrap();
            prop_assert!(smoltcp.verify_checksum());
            prop_assert_eq!(usize::from(smoltcp.total_len()), packet.len());
        }
        let transport = &frame[usize::from(ip.l4_offset)..ip.frame_len()];
        match ip.l4 {
            L4::Tcp { .. } => prop_assert!(TcpPacket::new_checked(transport).is_ok()),
            L4::Udp { .. } if ip.fragment.is_none() => prop_assert!(UdpPacket::new_checked(transport).is_ok()),
            _ => {}
        }
    }
}
