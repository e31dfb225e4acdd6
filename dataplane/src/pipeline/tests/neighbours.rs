//! ARP and neighbour discovery (threats 14 and 15): weir answers, and forwards nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vxlan::mac::Mac;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::buffer::Checksum;
use crate::drop_reason::DropReason;
use crate::ports::Capabilities;

/// An ARP packet in a frame.
#[derive(Clone, Copy)]
pub(super) struct Arp {
    pub(super) eth_dst: Mac,
    pub(super) eth_src: Mac,
    pub(super) operation: u8,
    pub(super) sender_mac: Mac,
    pub(super) sender: IpAddr,
    pub(super) target: IpAddr,
}

impl Arp {
    /// Blue asks who has `target`.
    pub(super) fn request(target: IpAddr) -> Self {
        let [v4, _] = FAMILIES;
        let (eth_src, sender) = (BLUE_MAC, blue(v4));
        Self { eth_dst: Mac::BROADCAST, eth_src, operation: 1, sender_mac: eth_src, sender, target }
    }

    pub(super) fn frame(&self) -> Vec<u8> {
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(_) => panic!("ARP is for IPv4"),
        };
        [
            &self.eth_dst.0[..],
            &self.eth_src.0,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, self.operation],
            &self.sender_mac.0,
            &octets(self.sender),
            &[0; 6],
            &octets(self.target),
        ]
        .concat()
    }
}

fn v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => panic!("an IPv6 address"),
    }
}

/// A neighbour discovery message, to a group or host, from blue's wire.
pub(super) fn nd(src: IpAddr, dst: &str, kind: u8, flags: u8, target: IpAddr, option: &[u8]) -> Ip {
    let dst: Ipv6Addr = dst.parse().expect("an IPv6 address");
    let message = [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &v6(target).octets(), option].concat();
    let dst_mac = match dst.octets() {
        [0xff, .., a, b, c, d] => Mac([0x33, 0x33, a, b, c, d]),
        _ => GATEWAY_MAC,
    };
    Ip::new(src, dst.into(), 58, message).between(BLUE_MAC, dst_mac).ttl(255)
}

/// Blue asks for `target` as its kernel does.
pub(super) fn solicitation(src: IpAddr, target: IpAddr) -> Ip {
    let [.., a, b, c] = v6(target).octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let option = [&[1, 1][..], &BLUE_MAC.0].concat();
    nd(src, &group.to_string(), 135, 0, target, &option)
}

#[test]
fn arp_is_answered_for_the_gateway_and_the_nodes_other_pods() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    for target in [gateway(v4), green(v4), grey(v4)] {
        let outcome = world.inject(world.blue, &Arp::request(target).frame());
        assert_eq!((outcome.answered, outcome.forwarded, outcome.sent.len()), (1, 0, 1));
        let sent = &outcome.sent[0];
        assert_eq!(sent.port, world.blue);
        assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, BLUE_MAC));
        let expected = Arp {
            eth_dst: BLUE_MAC,
            eth_src: GATEWAY_MAC,
            operation: 2,
            sender_mac: GATEWAY_MAC,
            sender: target,
            target: blue(v4),
        };
        assert_eq!(sent.bytes[..32], expected.frame()[..32]);
        assert_eq!(sent.bytes[32..38], BLUE_MAC.0);
    }
}

#[test]
fn arp_for_anything_else_is_not_answered() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    for target in [bee(v4), outside(v4), nobody(v4), blue(v4), node(v4)] {
        let outcome = world.inject(world.blue, &Arp::request(target).frame());
        outcome.dropped(DropReason::NeighbourIgnored);
    }
}

#[test]
fn neighbour_solicitations_are_answered_for_the_gateway_and_the_nodes_other_pods() {
    let [_, v6] = FAMILIES;
    let link_local: IpAddr = "fe80::858:ff:fe00:10a".parse().expect("an address");
    for src in [blue(v6), link_local] {
        let mut world = World::new();
        for target in [gateway(v6), green(v6), grey(v6)] {
            let outcome = world.inject(world.blue, &solicitation(src, target).frame());
            assert_eq!((outcome.answered, outcome.sent.len()), (1, 1), "{outcome:?}");
            let sent = &outcome.sent[0];
            assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, BLUE_MAC));
            assert_valid(&sent.bytes);
            let headers = ip(&sent.bytes);
            assert_eq!((headers.src, headers.dst, headers.ttl), (target, src, 255));
            let message = l4(&sent.bytes);
            let router = if target == gateway(v6) { 0x80 } else { 0 };
            assert_eq!((message[0], message[4]), (136, router | 0x60));
        }
        for target in [bee(v6), outside(v6), nobody(v6), blue(v6)] {
            let outcome = world.inject(world.blue, &solicitation(src, target).frame());
            outcome.dropped(DropReason::NeighbourIgnored);
        }
    }
}

#[test]
fn arp_with_a_foreign_sender_is_spoofing() {
    let [v4, _] = FAMILIES;
    let honest = Arp::request(gateway(v4));
    let spoofed = [
        Arp { sender: green(v4), ..honest },
        Arp { sender: gateway(v4), ..honest },
        Arp { sender: gateway(v4), target: gateway(v4), ..honest },
        Arp { sender: green(v4), operation: 2, target: gateway(v4), eth_dst: GATEWAY_MAC, ..honest },
        Arp { sender_mac: GREEN_MAC, ..honest },
        Arp { eth_src: GREEN_MAC, ..honest },
        Arp { eth_src: GREEN_MAC, sender_mac: GREEN_MAC, sender: green(v4), ..honest },
        Arp { eth_src: Mac::BROADCAST, sender_mac: Mac::BROADCAST, ..honest },
    ];
    for arp in spoofed {
        let mut world = World::new();
        world.inject(world.blue, &arp.frame()).dropped(DropReason::ArpSpoof);
    }
}

#[test]
fn malformed_and_hidden_arp_is_dropped() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let good = Arp::request(gateway(v4)).frame();
    for len in 14..42 {
        world.inject(world.blue, &good[..len]).dropped(DropReason::Truncated);
    }
    for (at, value) in [(15, 6), (17, 1), (18, 8), (19, 6), (21, 3)] {
        let mut bad = good.clone();
        bad[at] = value;
        world.inject(world.blue, &bad).dropped(DropReason::BadHeader);
    }
    // VU#855201: behind a tag of VLAN 0, and in SNAP.
    let tagged = [&good[..12], &[0x81, 0, 0, 0], &good[12..]].concat();
    world.inject(world.blue, &tagged).dropped(DropReason::BumDropped);
    let snap = [&good[..12], &[0, 36, 0xaa, 0xaa, 3, 0, 0, 0], &good[12..]].concat();
    world.inject(world.blue, &snap).dropped(DropReason::BumDropped);
}

#[test]
fn neighbour_discovery_with_a_foreign_sender_is_spoofing() {
    let [_, v6] = FAMILIES;
    let own = [&[2, 1][..], &BLUE_MAC.0].concat();
    let foreign = [&[2, 1][..], &GREEN_MAC.0].concat();
    let gateways = gateway(v6).to_string();
    let messages = [
        // An advertisement for another's address, to all and to the gateway.
        nd(blue(v6), "ff02::1", 136, 0x20, green(v6), &own),
        nd(blue(v6), &gateways, 136, 0x60, gateway(v6), &own),
        // Our own address at another's MAC.
        nd(blue(v6), "ff02::1", 136, 0x20, blue(v6), &foreign),
        // A question in another's name.
        solicitation(green(v6), gateway(v6)),
        Ip { src_mac: GREEN_MAC, ..solicitation(blue(v6), gateway(v6)) },
    ];
    for message in messages {
        let mut world = World::new();
        world.inject(world.blue, &message.frame()).dropped(DropReason::NdSpoof);
    }
}

/// RFC 4861 section 7.1: hop limit 255, lengths, checksum; RFC 6980: not in fragments.
#[test]
fn malformed_neighbour_discovery_is_dropped() {
    let [_, v6] = FAMILIES;
    let mut world = World::new();
    let good = solicitation(blue(v6), gateway(v6));
    let mut zero_length = good.clone();
    zero_length.l4[25] = 0;
    let mut beyond = good.clone();
    beyond.l4[25] = 9;
    let cases = [
        good.clone().ttl(254),
        zero_length,
        beyond,
        Ip { sum_l4: false, ..good.clone() },
        good.fragment_of(0, true, &good.l4),
        Ip { extension: 60, options: vec![58, 0, 1, 4, 0, 0, 0, 0], ..good.clone() },
    ];
    for case in cases {
        world.inject(world.blue, &case.frame()).dropped(DropReason::BadHeader);
    }
}

/// CVE-2020-10749 and its kin, threat 15.
#[test]
fn what_only_a_router_or_a_server_may_say_is_dropped() {
    let [v4, v6] = FAMILIES;
    let link_local: IpAddr = "fe80::858:ff:fe00:10a".parse().expect("an address");
    let all: IpAddr = "ff02::1".parse().expect("an address");
    let advertisement = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let group = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let ra = Ip::new(link_local, all, 58, advertisement.clone()).between(BLUE_MAC, group).ttl(255);
    let broadcast = IpAddr::V4(Ipv4Addr::BROADCAST);
    let reply = [&[2, 1, 6, 0][..], &[0; 236]].concat();
    let redirect_4 = [&[5, 1, 0, 0, 10, 244, 1, 10][..], &[0x45; 28]].concat();
    let redirect_6 = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &[0xfd; 32]].concat();
    let cases = [
        ra.clone(),
        Ip { src: blue(v6), ..ra.clone() },
        // Behind an extension header, and in a first fragment (RFC 7113).
        Ip { extension: 60, options: vec![58, 0, 1, 4, 0, 0, 0, 0], ..ra.clone() },
        ra.fragment_of(0, true, &ra.l4),
        Ip::new(blue(v6), green(v6), 58, advertisement).ttl(255),
        Ip::new(blue(v6), green(v6), 58, redirect_6).ttl(255),
        Ip::new(blue(v4), green(v4), 1, redirect_4),
        Ip::new(blue(v4), green(v4), 1, vec![9, 0, 0, 0, 1, 2, 0, 60, 10, 244, 1, 10, 0, 0, 0, 0]),
        Ip::new(blue(v4), broadcast, 17, udp(67, 68, &reply)).between(BLUE_MAC, Mac::BROADCAST),
        Ip::new(blue(v4), green(v4), 17, udp(67, 68, &reply)),
        Ip::new(blue(v4), green(v4), 17, udp(1067, 68, &reply)),
        Ip::new(blue(v6), green(v6), 17, udp(547, 546, &[2, 0, 0, 1])),
        Ip::new(blue(v6), green(v6), 17, udp(1547, 546, &[7, 0, 0, 1])),
    ];
    for case in cases {
        let mut world = World::new();
        world.inject(world.blue, &case.frame()).dropped(DropReason::RogueControl);
    }
}

#[test]
fn answers_are_limited_in_rate() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let frame = Arp::request(gateway(v4)).frame();
    let mut answered = 0;
    for _ in 0..50 {
        answered += world.inject_all(world.blue, &vec![frame.clone(); 100]).answered;
    }
    assert!((2_000..=2_600).contains(&answered), "{answered} answers to 5,000 questions in 50 ms");
    assert_eq!(world.counters.dropped(DropReason::NeighbourIgnored), 5_000 - answered);
}

/// The node's kernel asks for the pods it routes to; it hears weir's own MAC for all of them.
#[test]
fn the_node_is_told_our_mac_for_every_pod_and_for_nothing_else() {
    let [v4, v6] = FAMILIES;
    let mut world = World::new();
    let question = |target| {
        let (eth_src, sender) = (GATEWAY_MAC, gateway(v4));
        Arp { eth_src, sender_mac: eth_src, sender, ..Arp::request(target) }.frame()
    };
    for target in [blue(v4), grey(v4), bee(v4)] {
        let outcome = world.inject(world.node, &question(target));
        assert_eq!((outcome.answered, outcome.sent.len()), (1, 1));
        assert_eq!(macs(&outcome.sent[0].bytes), (OWN_VTEP, GATEWAY_MAC));
        assert_eq!(outcome.sent[0].port, world.node);
    }
    world.inject(world.node, &question(outside(v4))).dropped(DropReason::NeighbourIgnored);
    let mut asked = solicitation(gateway(v6), blue(v6));
    asked.src_mac = GATEWAY_MAC;
    asked.l4[26..32].copy_from_slice(&GATEWAY_MAC.0);
    let outcome = world.inject(world.node, &asked.frame());
    assert_eq!(outcome.answered, 1);
    assert_valid(&outcome.sent[0].bytes);
}

#[test]
fn the_mac_of_a_silent_pod_is_asked_for_and_learned_once() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    world.pipeline.bindings_mut().get_mut(world.green).expect("green's port").mac = None;
    let to_green = Ip::new(blue(v4), green(v4), 17, udp(4000, 53, b"")).frame();
    world.inject(world.blue, &to_green).dropped(DropReason::NeighbourUnresolved);
    let outcome = world.tick();
    assert_eq!(outcome.sent.len(), 1);
    assert_eq!(outcome.sent[0].port, world.green);
    assert_eq!(outcome.sent[0].bytes[..6], Mac::BROADCAST.0);
    assert!(world.tick().sent.is_empty(), "not at every tick");
    let answer = Arp {
        eth_dst: GATEWAY_MAC,
        eth_src: GREEN_MAC,
        operation: 2,
        sender_mac: GREEN_MAC,
        sender: green(v4),
        target: gateway(v4),
    };
    let mut answer = answer.frame();
    answer[32..38].copy_from_slice(&GATEWAY_MAC.0);
    assert_eq!(world.inject(world.green, &answer).answered, 1);
    assert_eq!(macs(&world.inject(world.blue, &to_green).one().bytes), (GATEWAY_MAC, GREEN_MAC));
}

/// Threat 12: neighbours are configured, so nothing of the kind comes through the tunnel.
#[test]
fn neighbour_and_configuration_protocols_over_the_overlay_are_dropped() {
    let [v4, v6] = FAMILIES;
    let by_b = |ip: Ip| ip.by_b().frame();
    let arp = Arp { eth_src: B_VTEP, sender_mac: B_VTEP, sender: bee(v4), ..Arp::request(blue(v4)) };
    let link_local: IpAddr = "fe80::b".parse().expect("an address");
    let ra = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let redirect = [&[5, 1, 0, 0, 10, 244, 1, 10][..], &[0x45; 28]].concat();
    let cases = [
        arp.frame(),
        Arp { eth_dst: OWN_VTEP, ..arp }.frame(),
        Arp { eth_dst: OWN_VTEP, operation: 2, ..arp }.frame(),
        by_b(solicitation(bee(v6), blue(v6))),
        by_b(Ip::new(link_local, blue(v6), 58, ra.clone()).ttl(255)),
        by_b(Ip::new(bee(v6), blue(v6), 58, ra).ttl(255)),
        by_b(Ip::new(bee(v4), blue(v4), 17, udp(67, 68, &[2; 240]))),
        by_b(Ip::new(bee(v4), blue(v4), 17, udp(68, 67, &[1; 240]))),
        by_b(Ip::new(bee(v6), blue(v6), 17, udp(547, 546, &[2, 0, 0, 1]))),
        by_b(Ip::new(bee(v4), blue(v4), 1, redirect)),
    ];
    for case in cases {
        for mut world in World::on_both() {
            let outcome = world.inject_overlay(&Envelope::from_b(), &case);
            outcome.dropped(DropReason::ControlOverOverlay);
        }
    }
}

/// CVE-2026-31738: an option's length in a message that claims to be unfinished by the kernel.
#[test]
fn an_option_beyond_the_message_is_refused_whatever_the_checksum_says() {
    let [_, v6] = FAMILIES;
    let capabilities = Capabilities { checksum: true, tso: true, uso: true };
    let mut world = World::with(Plan { capabilities, ..Plan::default() });
    let mut bad = solicitation(blue(v6), gateway(v6));
    bad.l4[25] = 2;
    let mut frame = world.frame(&bad.frame());
    frame.checksum = Checksum::Partial { start: 54, offset: 2 };
    world.inject_frames(world.blue, vec![frame]).dropped(DropReason::BadHeader);
}
