//! What a router owes to the sender of a packet that it cannot pass on (RFC 1812, RFC 4443), and fragmentation.

use std::net::IpAddr;

use vxlan::mtu::Family;

use super::outer::{Envelope, opened};
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

/// Type and code of time exceeded.
fn time_exceeded(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => [11, 0],
        Family::V6 => [3, 0],
    }
}

/// Type and code of fragmentation needed or packet too big.
fn too_big(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => [3, 4],
        Family::V6 => [2, 0],
    }
}

/// Holds an ICMP error to its form: valid, from the gateway to `to`, quoting `about` from its first byte.
#[track_caller]
fn assert_error(frame: &[u8], [kind, code]: [u8; 2], rest: u32, to: IpAddr, about: &Ip) {
    assert_valid(frame);
    let headers = ip(frame);
    let family = headers.family;
    assert_eq!((headers.src, headers.dst), (gateway(family), to));
    assert!(headers.ip_len <= if family == Family::V4 { 576 } else { 1280 });
    let message = l4(frame);
    assert_eq!(message[..2], [kind, code]);
    assert_eq!(message[4..8], rest.to_be_bytes());
    let (quoted, original) = (&message[8..], about.quoted());
    let len = quoted.len().min(original.len());
    // TTL and the checksum over it may have been counted down.
    assert!(quoted.len() >= 28);
    assert_eq!(quoted[12..len], original[12..len]);
}

#[test]
fn a_ttl_that_runs_out_at_the_tunnel_is_told_to_the_pod() {
    for family in FAMILIES {
        for ttl in [0, 1] {
            let mut world = World::new();
            let packet = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query")).ttl(ttl);
            let outcome = world.inject(world.blue, &packet.frame());
            let sent = outcome.dropped_with_error(DropReason::TtlExpired);
            assert_eq!(sent.port, world.blue);
            assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, BLUE_MAC));
            assert_error(&sent.bytes, time_exceeded(family), 0, blue(family), &packet);
        }
    }
}

#[test]
fn a_ttl_that_runs_out_behind_the_tunnel_is_told_through_it() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let packet = Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b().ttl(1);
            let outcome = world.inject_overlay(&Envelope::from_b(), &packet.frame());
            let sent = outcome.dropped_with_error(DropReason::TtlExpired);
            assert_eq!(sent.port, world.underlay);
            let (outer, inner) = opened(sent);
            assert_eq!(outer.dst, B_V4);
            assert_eq!(macs(inner), (OWN_VTEP, B_VTEP));
            assert_error(inner, time_exceeded(family), 0, bee(family), &packet);
        }
    }
}

/// RFC 1191, RFC 8201: the MTU told is that of the way to this very node.
#[test]
fn a_packet_too_big_for_the_tunnel_is_answered_with_its_mtu() {
    for family in FAMILIES {
        for (dst, mtu) in [(bee(family), TUNNEL_MTU_4), (sea(family), TUNNEL_MTU_6)] {
            let mut world = World::with(Plan { pod_mtu: 1500, ..Plan::default() });
            let header = if family == Family::V4 { 28 } else { 48 };
            let fits = usize::from(mtu) - header;
            let packet = |len| Ip::new(blue(family), dst, 17, udp(4000, 53, &vec![7; len])).df();
            opened(world.inject(world.blue, &packet(fits).frame()).one());
            let outcome = world.inject(world.blue, &packet(fits + 1).frame());
            let sent = outcome.dropped_with_error(DropReason::TooBig);
            assert_eq!(sent.port, world.blue);
            assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, BLUE_MAC));
            assert_error(&sent.bytes, too_big(family), mtu.into(), blue(family), &packet(fits + 1));
        }
    }
}

#[test]
fn a_packet_too_big_for_a_pod_is_answered_through_the_tunnel() {
    for family in FAMILIES {
        for underlay in [super::super::Role::UnderlayFrame, super::super::Role::UnderlayDatagram] {
            let mut world = World::with(Plan { pod_mtu: 1400, underlay, ..Plan::default() });
            let packet = Ip::new(bee(family), blue(family), 17, udp(4000, 53, &[7; 1380])).by_b().df();
            let outcome = world.inject_overlay(&Envelope::from_b(), &packet.frame());
            let sent = outcome.dropped_with_error(DropReason::TooBig);
            let (_, inner) = opened(sent);
            assert_eq!(macs(inner), (OWN_VTEP, B_VTEP));
            assert_error(inner, too_big(family), 1400, bee(family), &packet);
        }
    }
}

/// RFC 791 section 2.3: what may be fragmented is, at the least number of pieces, and none is too big.
#[test]
fn a_big_packet_that_may_be_fragmented_is() {
    let [v4, _] = FAMILIES;
    for pod_mtu in [1500, 9000] {
        let mut world = World::with(Plan { pod_mtu, ..Plan::default() });
        let payload: Vec<u8> = (0..pod_mtu - 28).map(|at| at as u8).collect();
        let packet = Ip::new(blue(v4), bee(v4), 17, udp(4000, 53, &payload));
        let outcome = world.inject(world.blue, &packet.frame());
        assert_eq!((outcome.forwarded, outcome.drops.len()), (1, 0));
        let mut whole = Vec::new();
        for (position, sent) in outcome.sent.iter().enumerate() {
            let (_, inner) = opened(sent);
            assert_valid(inner);
            let headers = ip(inner);
            assert!(headers.ip_len <= u32::from(TUNNEL_MTU_4));
            assert_eq!(headers.ttl, 63);
            let fragment = headers.fragment.expect("a fragment");
            assert_eq!((fragment.offset as usize, fragment.id), (whole.len(), 0x1234));
            assert_eq!(fragment.more, position + 1 < outcome.sent.len());
            whole.extend_from_slice(l4(inner));
        }
        assert_eq!(whole, packet.quoted()[20..], "together they are the datagram, checksum and all");
        assert_eq!(outcome.sent.len(), usize::from(pod_mtu - 20).div_ceil(1424));
    }
}

/// RFC 1122 section 3.2.2: an error about an error would never end.
#[test]
fn no_error_is_sent_about_an_error() {
    for family in FAMILIES {
        let mut world = World::new();
        let sent = Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b();
        world.inject_overlay(&Envelope::from_b(), &sent.frame()).one();
        let [kind, code] = if family == Family::V4 { [3, 3] } else { [1, 4] };
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let error = Ip::new(blue(family), bee(family), protocol, error).ttl(1);
        world.inject(world.blue, &error.frame()).dropped(DropReason::TtlExpired);
    }
}

/// RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f).
#[test]
fn errors_are_limited_in_rate_and_the_drops_are_counted_all_the_same() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let frame = Ip::new(blue(v4), bee(v4), 17, udp(4000, 53, b"query")).ttl(1).frame();
    let mut errors = 0;
    for _ in 0..10 {
        let outcome = world.inject_all(world.blue, &vec![frame.clone(); 30]);
        assert_eq!(outcome.drops, [(DropReason::TtlExpired, 30)]);
        assert_eq!(outcome.icmp_errors, outcome.sent.len() as u64);
        errors += outcome.icmp_errors;
    }
    assert!((100..=115).contains(&errors), "{errors} errors about 300 packets in 10 ms");
}
