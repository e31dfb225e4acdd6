//! Attacks with the outside of a tunnel packet: threats 1, 4 to 8 and 41 (RFC 7348 section 7).

use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::mtu::Family;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// What would pass in the right envelope.
fn welcome(family: Family) -> Vec<u8> {
    Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b().frame()
}

fn v4_frame() -> Vec<u8> {
    welcome(Family::V4)
}

/// Threat 1 (CVE-2020-10136 and its class): judged before anything inside is looked at.
#[test]
fn vxlan_from_a_host_that_is_no_vtep_is_dropped() {
    for mut world in World::on_both() {
        for inner in [v4_frame(), Vec::new(), vec![0xff; 60]] {
            let stranger = Envelope { src: address("192.168.0.77"), ..Envelope::from_b() };
            world.inject_overlay(&stranger, &inner).dropped(DropReason::VtepUnknown);
            let stranger = Envelope { src: address("fd00:c0::77"), ..Envelope::from_c() };
            world.inject_overlay(&stranger, &inner).dropped(DropReason::VtepUnknown);
            let stranger = Envelope { vxlan: [0; 8], ..stranger };
            world.inject_overlay(&stranger, &inner).dropped(DropReason::VtepUnknown);
        }
    }
}

/// Our own address, or a pod's, is no other node's VTEP either.
#[test]
fn vxlan_from_our_own_addresses_is_dropped() {
    for mut world in World::on_both() {
        for src in [A_V4.into(), blue(Family::V4), bee(Family::V4)] {
            let reflected = Envelope { src, ..Envelope::from_b() };
            world.inject_overlay(&reflected, &v4_frame()).dropped(DropReason::VtepUnknown);
        }
    }
}

/// Threat 4 (RFC 1122 section 3.2.1.3, RFC 1812 section 5.3.7).
#[test]
fn outer_packets_that_are_not_unicast_udp_to_us_are_dropped() {
    let mut world = World::new();
    let good = Envelope::from_b();
    let envelopes = [
        Envelope { src: address("127.0.0.1"), ..good.clone() },
        Envelope { src: address("0.0.0.0"), ..good.clone() },
        Envelope { src: address("224.0.0.9"), ..good.clone() },
        Envelope { src: address("255.255.255.255"), ..good.clone() },
        Envelope { dst: address("255.255.255.255"), ..good.clone() },
        Envelope { dst: address("239.1.1.1"), ..good.clone() },
        Envelope { dst: address("192.168.0.3"), ..good.clone() },
        Envelope { dst: address("192.168.0.255"), ..good.clone() },
        Envelope { dst: gateway(Family::V4), ..good.clone() },
        Envelope { dst_mac: Mac::BROADCAST, ..good.clone() },
        Envelope { dst_mac: Mac([0x01, 0, 0x5e, 1, 1, 1]), ..good.clone() },
        Envelope { dst_mac: C_NIC, ..good.clone() },
        Envelope { dst_port: 4789, ..good.clone() },
        Envelope { dst_port: 0, ..good.clone() },
        Envelope { src: address("::ffff:192.168.0.2"), ..Envelope::from_c() },
        Envelope { src: address("::"), ..Envelope::from_c() },
        Envelope { dst: address("ff02::1"), ..Envelope::from_c() },
    ];
    for envelope in envelopes {
        world.inject_overlay(&envelope, &v4_frame()).dropped(DropReason::OuterInvalid);
    }
    for (protocol, l4) in
        [(6, tcp(50_000, 8472, SYN)), (136, udp(50_000, 8472, &v4_frame())), (47, vec![0; 64])]
    {
        let packet = Ip { protocol, extension: protocol, l4, ..good.packet(&[]) };
        world.inject(world.underlay, &packet.frame()).dropped(DropReason::OuterInvalid);
    }
    let arp = [&A_NIC.0[..], &B_NIC.0, &[8, 6], &[0; 28]].concat();
    world.inject(world.underlay, &arp).dropped(DropReason::OuterInvalid);
    let tagged = [&A_NIC.0[..], &B_NIC.0, &[0x81, 0, 0, 0], &good.frame(&v4_frame())[12..]].concat();
    world.inject(world.underlay, &tagged).dropped(DropReason::OuterInvalid);
}

/// Threat 5 (RFC 7348 section 5).
#[test]
fn a_foreign_network_and_a_missing_flag_are_dropped() {
    for mut world in World::on_both() {
        let with = |vxlan| Envelope { vxlan, ..Envelope::from_b() };
        for vni in [[0, 0, 0], [0, 0, 2], [1, 0, 1], [0xff, 0xff, 0xff]] {
            let [a, b, c] = vni;
            let envelope = with([8, 0, 0, 0, a, b, c, 0]);
            world.inject_overlay(&envelope, &v4_frame()).dropped(DropReason::VniMismatch);
        }
        for flags in [0x00, 0x04, 0xf7] {
            let envelope = with([flags, 0, 0, 0, 0, 0, 1, 0]);
            world.inject_overlay(&envelope, &v4_frame()).dropped(DropReason::VxlanFlags);
        }
    }
}

/// Reserved bits, among them those of GPE, GBP and remote checksum offload: ignored on receipt, or refused as Linux
/// does.
#[test]
fn reserved_bits_are_ignored_and_counted_or_refused_where_that_is_set() {
    for underlay in [super::super::Role::UnderlayFrame, super::super::Role::UnderlayDatagram] {
        for vxlan in [[0x88, 0, 0, 5, 0, 0, 1, 0], [0x0c, 0, 0, 3, 0, 0, 1, 0], [8, 0, 0, 0, 0, 0, 1, 0x80]] {
            let envelope = Envelope { vxlan, ..Envelope::from_b() };
            for strict_reserved in [false, true] {
                let underlay = underlay.clone();
                let mut world = World::with(Plan { underlay, strict_reserved, ..Plan::default() });
                let outcome = world.inject_overlay(&envelope, &v4_frame());
                if strict_reserved {
                    outcome.dropped(DropReason::VxlanFlags);
                } else {
                    assert_eq!(outcome.one().port, world.blue);
                    assert_eq!(world.counters.vxlan_reserved.get(), 1);
                }
            }
        }
    }
}

/// Threat 6 (RFC 7348 section 5, RFC 1122 section 4.1.3.4).
#[test]
fn an_outer_checksum_of_zero_passes_and_a_wrong_one_does_not() {
    let mut world = World::new();
    for envelope in [Envelope::from_b(), Envelope::from_c()] {
        let inner = if envelope.src.is_ipv4() {
            v4_frame()
        } else {
            Ip::new(sea(Family::V6), blue(Family::V6), 17, udp(4000, 53, b"query")).by_c().frame()
        };
        let none = Ip { sum_l4: false, ..envelope.packet(&inner) };
        world.inject(world.underlay, &none.frame()).one();
        let mut wrong = none;
        wrong.l4[6..8].copy_from_slice(&[0x12, 0x34]);
        world.inject(world.underlay, &wrong.frame()).dropped(DropReason::OuterChecksum);
        let mut damaged = envelope.frame(&inner);
        *damaged.last_mut().expect("bytes") ^= 1;
        world.inject(world.underlay, &damaged).dropped(DropReason::OuterChecksum);
    }
    let mut header = Envelope::from_b().frame(&v4_frame());
    header[22] ^= 1;
    world.inject(world.underlay, &header).dropped(DropReason::OuterChecksum);
}

/// Threat 7 (CVE-2016-10377): cut at every byte.
#[test]
fn a_tunnel_packet_cut_anywhere_is_dropped() {
    for (envelope, family) in
        [(Envelope::from_b(), Family::V4), (Envelope::from_b(), Family::V6), (Envelope::from_c(), Family::V6)]
    {
        for mut world in World::on_both() {
            let inner = if envelope.src.is_ipv4() {
                welcome(family)
            } else {
                Ip::new(sea(family), blue(family), 17, udp(4000, 53, b"query")).by_c().frame()
            };
            let whole = if world.datagrams { envelope.datagram(&inner) } else { envelope.frame(&inner) };
            for len in 0..whole.len() {
                let mut frame = world.frame(&whole[..len]);
                frame.outer = world.datagrams.then(|| envelope.metadata());
                let outcome = world.inject_frames(world.underlay, vec![frame]);
                assert!(outcome.sent.is_empty() && outcome.forwarded == 0, "{len} of {} bytes", whole.len());
                let [(reason, 1)] = outcome.drops[..] else { panic!("{outcome:?}") };
                assert!(
                    matches!(reason, DropReason::Truncated | DropReason::LengthMismatch),
                    "{reason} for {len} bytes"
                );
            }
        }
    }
}

#[test]
fn outer_lengths_that_contradict_the_packet_are_dropped() {
    let mut world = World::new();
    let packet = Envelope::from_b().packet(&v4_frame());
    let udp_len = packet.l4.len() as u16;
    for len in [0, 7, udp_len - 1, udp_len + 1, u16::MAX] {
        let mut lying = Ip { sum_l4: false, ..packet.clone() };
        lying.l4[4..6].copy_from_slice(&len.to_be_bytes());
        world.inject(world.underlay, &lying.frame()).dropped(DropReason::LengthMismatch);
    }
    let good = packet.frame();
    let total = u16::from_be_bytes([good[16], good[17]]);
    for len in [0, 19, total + 1, u16::MAX] {
        let mut lying = good.clone();
        lying[16..18].copy_from_slice(&len.to_be_bytes());
        sum_header(&mut lying[14..34]);
        world.inject(world.underlay, &lying).dropped(DropReason::LengthMismatch);
    }
    let mut short_header = good.clone();
    short_header[14] = 0x44;
    world.inject(world.underlay, &short_header).dropped(DropReason::OuterInvalid);
    let padded = [&good[..], &[0xee; 20]].concat();
    assert_valid(&world.inject(world.underlay, &padded).one().bytes);
}

/// Threat 8 (RFC 7348 section 4.3).
#[test]
fn outer_fragments_are_dropped() {
    for (envelope, len) in [(Envelope::from_b(), 8), (Envelope::from_b(), 48), (Envelope::from_c(), 48)] {
        let mut world = World::new();
        for piece in envelope.packet(&v4_frame()).fragments(len) {
            let outcome = world.inject(world.underlay, &piece.frame());
            outcome.dropped(DropReason::OuterFragment);
        }
    }
}

/// Threat 41 (RFC 6040 section 4.2).
#[test]
fn congestion_is_passed_on_to_those_who_heed_it_and_else_the_packet_is_dropped() {
    const NOT_ECT: u8 = 0;
    const ECT_1: u8 = 1;
    const ECT_0: u8 = 2;
    const CE: u8 = 3;
    for family in FAMILIES {
        for mut world in World::on_both() {
            let inner = |ecn| {
                Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b().tos(0xb8 | ecn).frame()
            };
            let marked = |tos| Envelope { tos, ..Envelope::from_b() };
            let outcome = world.inject_overlay(&marked(CE), &inner(NOT_ECT));
            outcome.dropped(DropReason::EcnInvalid);
            let cases = [
                (CE, ECT_0, CE),
                (CE, ECT_1, CE),
                (CE, CE, CE),
                (ECT_1, ECT_0, ECT_1),
                (ECT_0, NOT_ECT, NOT_ECT),
            ];
            for (outside, inside, result) in cases {
                let outcome = world.inject_overlay(&marked(outside), &inner(inside));
                assert_valid(&outcome.one().bytes);
                assert_eq!(ip(&outcome.one().bytes).tos, 0xb8 | result);
            }
        }
    }
}
