//! Attacks with the inside of a tunnel packet, from a node that is one: threats 3 and 9 to 11.

use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::mtu::Family;

use super::super::Role;
use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn from(src: IpAddr, family: Family) -> Vec<u8> {
    Ip::new(src, blue(family), 17, udp(4000, 53, b"query")).by_b().frame()
}

/// Threat 3 (BCP 38): a node speaks for its own pods alone.
#[test]
fn an_inner_source_of_another_node_is_dropped() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let sources = [sea(family), blue(family), green(family), grey(family), nobody(family)];
            for src in
                sources.into_iter().chain([gateway(family), node(family), outside(family), B_V4.into()])
            {
                if src.is_ipv4() == (family == Family::V4) {
                    let outcome = world.inject_overlay(&Envelope::from_b(), &from(src, family));
                    outcome.dropped(DropReason::InnerSourceMismatch);
                }
            }
        }
    }
}

/// The reply has to come from the node that the packet went to.
#[test]
fn a_reply_from_the_wrong_vtep_is_dropped() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let query = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query"));
            world.inject(world.blue, &query.frame()).one();
            let answer = Ip::new(bee(family), blue(family), 17, udp(53, 4000, b"answer"));
            let outcome = world.inject_overlay(&Envelope::from_c(), &answer.by_c().frame());
            outcome.dropped(DropReason::InnerSourceMismatch);
        }
    }
}

/// Threats 3 and 24: addresses that are on no wire, and IPv4 in the dress of IPv6.
#[test]
fn inner_addresses_that_may_not_be_on_a_wire_are_dropped() {
    for mut world in World::on_both() {
        for src in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255"] {
            let outcome = world.inject_overlay(&Envelope::from_b(), &from(address(src), Family::V4));
            outcome.dropped(DropReason::Martian);
        }
        for src in ["::ffff:10.244.2.10", "::10.244.2.10", "64:ff9b::10.244.2.10", "::1", "::", "ff02::1"] {
            let outcome = world.inject_overlay(&Envelope::from_b(), &from(address(src), Family::V6));
            outcome.dropped(DropReason::Ipv6Martian);
        }
        for src in ["169.254.1.1", "fe80::b"] {
            let src = address(src);
            let family = if src.is_ipv4() { Family::V4 } else { Family::V6 };
            let outcome = world.inject_overlay(&Envelope::from_b(), &from(src, family));
            outcome.dropped(DropReason::InnerSourceMismatch);
        }
    }
}

/// Threat 9 (CVE-2020-10136): one layer is taken off, however many there are.
#[test]
fn a_tunnel_in_the_tunnel_is_dropped() {
    for family in FAMILIES {
        for underlay in [Role::UnderlayFrame, Role::UnderlayDatagram] {
            let mut world = World::with(Plan { underlay, pod_mtu: 9000, ..Plan::default() });
            let mut inner = from(bee(family), family);
            for level in 0..20 {
                let nested = udp(50_000, 8472, &Envelope::from_b().datagram(&inner));
                for dst in [node(family), gateway(family)] {
                    let packet = Ip::new(bee(family), dst, 17, nested.clone()).by_b();
                    let outcome = world.inject_overlay(&Envelope::from_b(), &packet.frame());
                    outcome.dropped(DropReason::NestedTunnel);
                }
                // To a pod it is a datagram like any other, and stays as it is.
                let to_pod = Ip::new(bee(family), blue(family), 17, nested).by_b();
                inner = to_pod.frame();
                let outcome = world.inject_overlay(&Envelope::from_b(), &inner);
                assert_eq!(outcome.one().port, world.blue, "level {level}");
                assert_eq!(l4(&outcome.one().bytes), l4(&inner));
            }
        }
    }
}

/// Threat 10, split horizon: from the overlay to a pod of this node, or nowhere.
#[test]
fn transit_through_this_node_is_refused() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let metadata = if family == Family::V4 { "169.254.169.254" } else { "fd00:ec2::254" };
            let targets = [
                sea(family),
                bee(family),
                outside(family),
                nobody(family),
                address(metadata),
                node(family),
                gateway(family),
            ];
            for dst in targets {
                let packet = Ip::new(bee(family), dst, 6, tcp(4000, 80, SYN)).by_b();
                let outcome = world.inject_overlay(&Envelope::from_b(), &packet.frame());
                outcome.dropped(DropReason::NotLocal);
            }
            let c = if family == Family::V4 { None } else { Some(IpAddr::from(C_V6)) };
            for dst in c.into_iter().chain((family == Family::V4).then_some(B_V4.into())) {
                let packet = Ip::new(bee(family), dst, 17, udp(4000, 8472, &[0; 60])).by_b();
                let outcome = world.inject_overlay(&Envelope::from_b(), &packet.frame());
                outcome.dropped(DropReason::NotLocal);
            }
        }
    }
}

/// Threat 11 (RFC 7348 section 6.1): from the sender's VTEP MAC to ours, and no other pair.
#[test]
fn inner_macs_that_are_not_the_two_vteps_are_dropped() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let good = Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b();
            let group = Mac([0x33, 0x33, 0, 0, 0, 1]);
            let pairs = [
                (B_VTEP, Mac::BROADCAST),
                (B_VTEP, group),
                (B_VTEP, BLUE_MAC),
                (B_VTEP, GATEWAY_MAC),
                (B_VTEP, B_VTEP),
                (B_VTEP, Mac::ZERO),
                (OWN_VTEP, OWN_VTEP),
                (C_VTEP, OWN_VTEP),
                (BLUE_MAC, OWN_VTEP),
                (group, OWN_VTEP),
                (Mac::BROADCAST, OWN_VTEP),
                (Mac::ZERO, OWN_VTEP),
            ];
            for (src, dst) in pairs {
                let frame = good.clone().between(src, dst).frame();
                let outcome = world.inject_overlay(&Envelope::from_b(), &frame);
                outcome.dropped(DropReason::InnerL2);
            }
        }
    }
}

/// Threat 11 (CVE-2021-27853, CVE-2021-27861): nothing but untagged IP.
#[test]
fn inner_frames_that_are_not_untagged_ip_are_dropped() {
    for mut world in World::on_both() {
        let good = from(bee(Family::V4), Family::V4);
        let with = |middle: &[u8]| [&good[..12], middle, &good[12..]].concat();
        let frames = [
            with(&[0x81, 0, 0, 0]),
            with(&[0x81, 0, 0, 5]),
            with(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]),
            with(&[0x81, 0, 0, 1].repeat(8)),
            with(&[0x91, 0, 0, 1]),
            with(&[0, 60, 0xaa, 0xaa, 3, 0, 0, 0]),
            with(&[0x88, 0x47, 0, 0, 0x11, 64]),
            with(&[0x88, 0xcc]),
            with(&[0x80, 0x35]),
            with(&[0x88, 0x64]),
            with(&[0x05, 0xdc]),
            with(&[0x00, 0x00]),
            with(&[0xff, 0xff]),
        ];
        for frame in frames {
            let outcome = world.inject_overlay(&Envelope::from_b(), &frame);
            outcome.dropped(DropReason::InnerL2);
        }
    }
}

/// Threat 7, inside: what a length field says is believed only as far as bytes are there.
#[test]
fn inner_lengths_that_contradict_the_packet_are_dropped() {
    for mut world in World::on_both() {
        let good = from(bee(Family::V4), Family::V4);
        let total = u16::from_be_bytes([good[16], good[17]]);
        for len in [0, 19, total + 1, u16::MAX] {
            let mut lying = good.clone();
            lying[16..18].copy_from_slice(&len.to_be_bytes());
            sum_header(&mut lying[14..34]);
            let outcome = world.inject_overlay(&Envelope::from_b(), &lying);
            outcome.dropped(DropReason::LengthMismatch);
        }
        let mut short_header = good.clone();
        short_header[14] = 0x44;
        world.inject_overlay(&Envelope::from_b(), &short_header).dropped(DropReason::BadHeader);
        let mut damaged = good;
        damaged[22] ^= 1;
        world.inject_overlay(&Envelope::from_b(), &damaged).dropped(DropReason::IpChecksum);
        let good = from(bee(Family::V6), Family::V6);
        let mut lying = good.clone();
        lying[18..20].copy_from_slice(&u16::MAX.to_be_bytes());
        world.inject_overlay(&Envelope::from_b(), &lying).dropped(DropReason::LengthMismatch);
    }
}
