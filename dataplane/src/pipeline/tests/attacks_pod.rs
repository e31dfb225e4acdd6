//! Attacks from a pod's wire: threats 13, 16 to 20, 23, 24 and 32.

use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::mtu::Family;

use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn datagram(src: IpAddr, dst: IpAddr) -> Ip {
    Ip::new(src, dst, 17, udp(4000, 53, b"query"))
}

/// Threat 13 (kubernetes #43953): a wire is bound to one MAC and the addresses of one pod.
#[test]
fn a_foreign_source_is_dropped() {
    for family in FAMILIES {
        let mut world = World::new();
        let foreign =
            [green(family), grey(family), nobody(family), gateway(family), node(family), bee(family)];
        let vtep: IpAddr = if family == Family::V4 { B_V4.into() } else { C_V6.into() };
        for src in foreign.into_iter().chain([outside(family), vtep]) {
            for dst in [green(family), bee(family), outside(family)] {
                let outcome = world.inject(world.blue, &datagram(src, dst).frame());
                outcome.dropped(DropReason::SpoofedSource);
            }
        }
        for mac in [GREEN_MAC, GATEWAY_MAC, OWN_VTEP, B_VTEP, Mac::ZERO, Mac::BROADCAST, Mac([0x33; 6])] {
            let packet = datagram(blue(family), green(family)).between(mac, GATEWAY_MAC);
            world.inject(world.blue, &packet.frame()).dropped(DropReason::SpoofedSource);
        }
    }
}

/// RFC 4291 section 2.5.6: never routed.
#[test]
fn link_local_ipv6_is_not_routed() {
    let mut world = World::new();
    let [_, v6] = FAMILIES;
    let from = datagram(address("fe80::858:ff:fe00:10a"), green(v6));
    world.inject(world.blue, &from.frame()).dropped(DropReason::SpoofedSource);
    let to = datagram(blue(v6), address("fe80::1"));
    world.inject(world.blue, &to.frame()).dropped(DropReason::Martian);
}

#[test]
fn a_node_does_not_speak_for_pods() {
    for family in FAMILIES {
        let mut world = World::new();
        for src in [blue(family), grey(family), nobody(family), bee(family)] {
            let packet = datagram(src, green(family)).by_node();
            world.inject(world.node, &packet.frame()).dropped(DropReason::SpoofedSource);
        }
        let transit = datagram(outside(family), outside(family)).by_node();
        world.inject(world.node, &transit.frame()).dropped(DropReason::NotLocal);
    }
}

/// Threat 16 (RFC 7348 section 4.2, RFC 2644): nothing is flooded, least of all into the underlay.
#[test]
fn broadcast_multicast_and_unknown_unicast_are_dropped() {
    let mut world = World::new();
    for family in FAMILIES {
        let good = datagram(blue(family), green(family));
        for mac in
            [Mac::BROADCAST, Mac([0x01, 0, 0x5e, 0, 0, 1]), Mac([0x33, 0x33, 0, 0, 0, 1]), Mac([0x0a; 6])]
        {
            let frame = good.clone().between(BLUE_MAC, mac).frame();
            world.inject(world.blue, &frame).dropped(DropReason::BumDropped);
        }
    }
    for dst in ["255.255.255.255", "224.0.0.251", "239.1.1.1"] {
        let packet = datagram(blue(Family::V4), address(dst));
        world.inject(world.blue, &packet.frame()).dropped(DropReason::BumDropped);
    }
    for dst in ["ff02::1", "ff05::2", "ff0e::1"] {
        let packet = datagram(blue(Family::V6), address(dst));
        world.inject(world.blue, &packet.frame()).dropped(DropReason::BumDropped);
    }
    // The broadcast address of the pods' subnet is nobody's.
    let directed = datagram(blue(Family::V4), address("10.244.1.255"));
    world.inject(world.blue, &directed.frame()).dropped(DropReason::NoRoute);
}

#[test]
fn link_protocols_of_a_pod_are_dropped() {
    let mut world = World::new();
    let frame = |dst: Mac, rest: &[u8]| [&dst.0[..], &BLUE_MAC.0, rest, &[0; 46]].concat();
    let bridge = Mac([0x01, 0x80, 0xc2, 0, 0, 0]);
    for rest in [&[0, 38, 0x42, 0x42, 3][..], &[0x88, 0xcc], &[0x88, 0x09], &[0x81, 0, 0, 0, 8, 0]] {
        world.inject(world.blue, &frame(bridge, rest)).dropped(DropReason::BumDropped);
    }
    for rest in [&[0x81, 0, 0, 5, 8, 0][..], &[0x88, 0xa8, 0, 0], &[0x88, 0x47], &[0x80, 0x35], &[0x12, 0x34]]
    {
        let outcome = world.inject(world.blue, &frame(GATEWAY_MAC, rest));
        outcome.dropped(DropReason::UnsupportedEthertype);
    }
}

/// Threat 17 (felix #2063, openshift #21363): it would be taken for a node's own.
#[test]
fn vxlan_of_a_pod_to_a_node_is_dropped() {
    for family in FAMILIES {
        let mut world = World::new();
        let vtep: IpAddr = if family == Family::V4 { B_V4.into() } else { C_V6.into() };
        let inner = datagram(bee(family), green(family)).by_b().frame();
        let tunnel = super::outer::Envelope::from_b().datagram(&inner);
        for dst in [node(family), gateway(family), vtep] {
            let packet = Ip::new(blue(family), dst, 17, udp(50_000, 8472, &tunnel));
            world.inject(world.blue, &packet.frame()).dropped(DropReason::PodTunnel);
            let as_a_vtep = Ip { src: vtep, ..packet };
            world.inject(world.blue, &as_a_vtep.frame()).dropped(DropReason::SpoofedSource);
        }
    }
}

#[test]
fn a_datagram_to_port_8472_of_a_pod_is_a_datagram() {
    for family in FAMILIES {
        let mut world = World::new();
        for dst in [green(family), bee(family), outside(family)] {
            let packet = Ip::new(blue(family), dst, 17, udp(50_000, 8472, b"no tunnel"));
            world.inject(world.blue, &packet.frame()).one();
        }
    }
}

/// Threat 18: the MAC of the other pod instead of the gateway's is no way around policy.
#[test]
fn a_frame_sent_straight_to_another_pods_mac_is_judged_like_any_other() {
    for family in FAMILIES {
        let mut world = World::new();
        let direct = datagram(blue(family), green(family)).between(BLUE_MAC, GREEN_MAC);
        let outcome = world.inject(world.blue, &direct.frame());
        assert_eq!(macs(&outcome.one().bytes), (GATEWAY_MAC, GREEN_MAC));
        world.allow(default_deny);
        let other = Ip { l4: udp(4001, 53, b""), ..direct.clone() };
        world.inject(world.blue, &other.frame()).dropped(DropReason::PolicyDeny);
        let elsewhere = Ip { dst: outside(family), ..direct };
        world.inject(world.blue, &elsewhere.frame()).dropped(DropReason::BumDropped);
    }
}

/// Threat 19 (RFC 7126 sections 4.3 and 4.4).
#[test]
fn source_routes_and_malformed_ipv4_options_are_dropped() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let refused: [&[u8]; 7] = [
        &[131, 7, 4, 10, 244, 1, 12, 0],
        &[137, 7, 4, 10, 244, 1, 12, 0],
        &[1, 131, 7, 4, 10, 244, 1, 12],
        &[7, 0, 0, 0],
        &[7, 1, 0, 0],
        &[7, 5, 0, 0],
        &[1, 1, 1, 68],
    ];
    for options in refused {
        let packet = Ip { options: options.to_vec(), ..datagram(blue(v4), green(v4)) };
        world.inject(world.blue, &packet.frame()).dropped(DropReason::IpOptions);
    }
}

/// The ports stand behind the options, wherever these end.
#[test]
fn policy_is_asked_about_the_ports_behind_the_options() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    world.allow(|key| key.dst_port == 53);
    // Options that read like a UDP header to port 53.
    let disguise = vec![1, 1, 0, 53, 0, 0, 0, 0];
    for (port, passes) in [(53, true), (54, false)] {
        let packet =
            Ip { options: disguise.clone(), ..Ip::new(blue(v4), green(v4), 17, udp(4000, port, b"")) };
        let outcome = world.inject(world.blue, &packet.frame());
        if passes {
            outcome.one();
        } else {
            outcome.dropped(DropReason::PolicyDeny);
        }
    }
}

/// Threat 20 (RFC 5095, 7045, 8200 section 4.1, 2675).
#[test]
fn extension_headers_that_are_refused_are_dropped() {
    let [_, v6] = FAMILIES;
    let mut world = World::new();
    let pad = |next| [next, 0, 1, 4, 0, 0, 0, 0];
    let mut nine = vec![pad(60); 8];
    nine.push(pad(17));
    let refused: [(u8, Vec<u8>); 9] = [
        (43, vec![17, 0, 0, 0, 0, 0, 0, 0]),
        (43, vec![17, 2, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (60, [pad(0), pad(17)].concat()),
        (0, [pad(0), pad(17)].concat()),
        (0, vec![17, 0, 0xc2, 4, 0, 1, 0, 0]),
        (60, vec![17, 0, 1, 9, 0, 0, 0, 0]),
        (60, vec![17, 255, 1, 4, 0, 0, 0, 0]),
        (60, nine.concat()),
        (51, vec![17, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (extension, options) in refused {
        let packet = Ip { extension, options, ..datagram(blue(v6), green(v6)) };
        world.inject(world.blue, &packet.frame()).dropped(DropReason::Ipv6ExtensionChain);
    }
}

#[test]
fn policy_is_asked_about_the_header_behind_the_extension_headers() {
    let [_, v6] = FAMILIES;
    let mut world = World::new();
    world.allow(|key| key.protocol == 17 && key.dst_port == 53);
    let chain = [[60, 0, 1, 4, 0, 0, 0, 0], [17, 0, 1, 4, 0, 0, 0, 0]].concat();
    for (port, passes) in [(53, true), (54, false)] {
        let packet = Ip::new(blue(v6), green(v6), 17, udp(4000, port, b""));
        let packet = Ip { extension: 0, options: chain.clone(), ..packet };
        let outcome = world.inject(world.blue, &packet.frame());
        if passes {
            assert_eq!(outcome.one().bytes[14..], packet.frame()[14..]);
        } else {
            outcome.dropped(DropReason::PolicyDeny);
        }
    }
}

/// Threat 23 (CVE-2023-1668): a protocol without ports is not one whose ports are anything.
#[test]
fn protocols_that_no_rule_names_are_denied() {
    let mut world = World::new();
    world.allow(|key| matches!(key.protocol, 6 | 17) && key.dst_port == 80);
    let bytes = tcp(4000, 80, SYN);
    for protocol in [0, 2, 4, 41, 47, 50, 51, 58, 94, 112, 136, 253, 254, 255] {
        let packet = Ip::new(blue(Family::V4), green(Family::V4), protocol, bytes.clone());
        world.inject(world.blue, &packet.frame()).dropped(DropReason::PolicyDeny);
    }
    for protocol in [1, 2, 4, 41, 47, 50, 59, 94, 112, 132, 136, 253, 254, 255] {
        let l4 = if protocol == 132 { sctp(4000, 80, 0, 1, &[0; 16]) } else { bytes.clone() };
        let packet = Ip::new(blue(Family::V6), green(Family::V6), protocol, l4);
        world.inject(world.blue, &packet.frame()).dropped(DropReason::PolicyDeny);
    }
}

/// Threat 32: no list of ports matches an echo request.
#[test]
fn echo_to_a_filtered_pod_is_denied() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(|key| key.protocol == 6);
        let (protocol, request) = echo(blue(family), true, 1);
        let packet = Ip::new(blue(family), green(family), protocol, request);
        world.inject(world.blue, &packet.frame()).dropped(DropReason::PolicyDeny);
        let from_outside = Ip { src: outside(family), ..packet }.by_node();
        world.inject(world.node, &from_outside.frame()).dropped(DropReason::PolicyDeny);
    }
}

/// Threat 24 (RFC 4291 section 2.5.5, RFC 9099 section 2.3): no rule for IPv4 is reached this way, and none escaped.
#[test]
fn ipv4_in_the_dress_of_ipv6_is_dropped() {
    let mut world = World::new();
    let v6 = blue(Family::V6);
    for text in ["::ffff:10.244.1.11", "::10.244.1.11", "64:ff9b::10.244.1.11", "::1"] {
        let to = datagram(v6, address(text));
        world.inject(world.blue, &to.frame()).dropped(DropReason::Ipv6Martian);
        let from = datagram(address(text), green(Family::V6));
        world.inject(world.blue, &from.frame()).dropped(DropReason::Ipv6Martian);
    }
    for (src, dst) in [("0.0.0.0", "10.244.1.11"), ("127.0.0.1", "10.244.1.11"), ("10.244.1.10", "127.0.0.1")]
    {
        let packet = datagram(address(src), address(dst));
        world.inject(world.blue, &packet.frame()).dropped(DropReason::Martian);
    }
}

/// Threat 7 on a pod's wire: cut at every byte.
#[test]
fn a_packet_cut_anywhere_is_dropped() {
    for family in FAMILIES {
        let (protocol, request) = echo(blue(family), true, 1);
        let packets = [
            datagram(blue(family), green(family)),
            Ip::new(blue(family), green(family), 6, tcp(4000, 80, SYN)),
            Ip::new(blue(family), green(family), 132, sctp(4000, 80, 0, 1, &[0; 16])),
            Ip::new(blue(family), green(family), protocol, request),
        ];
        let mut world = World::new();
        for packet in packets {
            let frame = packet.frame();
            for len in 0..frame.len() {
                let outcome = world.inject(world.blue, &frame[..len]);
                assert!(outcome.sent.is_empty() && outcome.forwarded == 0, "{len} of {} bytes", frame.len());
                let [(reason, 1)] = outcome.drops[..] else { panic!("{outcome:?}") };
                assert!(matches!(reason, DropReason::Truncated | DropReason::LengthMismatch), "{reason}");
            }
        }
    }
}

/// Policy knows these addresses as pods': whoever could speak as them from outside would have the pods' rights.
#[test]
fn a_pod_that_no_vtep_leads_to_is_not_the_outside() {
    for family in FAMILIES {
        let mut world = World::new();
        for address in [dark(family), stray(family)] {
            let spoofed = Ip::new(address, blue(family), 17, udp(4000, 53, b"")).by_node();
            world.inject(world.node, &spoofed.frame()).dropped(DropReason::SpoofedSource);
            let there = Ip::new(blue(family), address, 17, udp(4000, 53, b""));
            world.inject(world.blue, &there.frame()).dropped(DropReason::VtepUnreachable);
        }
    }
}
