//! Attacks on what is remembered of connections: threats 25, 26, 28 and 29.

use std::net::IpAddr;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::conntrack::ConntrackConfig;
use crate::drop_reason::DropReason;

/// Threat 25 (RFC 9293; Linux's `tcp_loose`): without a connection, only a SYN opens one, and only if allowed.
#[test]
fn without_a_connection_only_a_syn_passes() {
    for family in FAMILIES {
        let mut world = World::new();
        for flags in
            [0, ACK, SYN | ACK, RST, RST | ACK, FIN, FIN | ACK, FIN | PSH | URG, SYN | FIN, SYN | RST, PSH]
        {
            let packet = Ip::new(blue(family), green(family), 6, tcp(4000, 80, flags));
            world.inject(world.blue, &packet.frame()).dropped(DropReason::ConntrackInvalid);
            let far = Ip::new(bee(family), green(family), 6, tcp(4000, 80, flags)).by_b();
            let outcome = world.inject_overlay(&Envelope::from_b(), &far.frame());
            outcome.dropped(DropReason::ConntrackInvalid);
        }
        assert_eq!(world.pipeline.connections().len(), 0);
        world.allow(default_deny);
        for flags in [0, ACK, SYN, SYN | ACK, RST, FIN | PSH | URG] {
            let packet = Ip::new(blue(family), green(family), 6, tcp(4000, 80, flags));
            world.inject(world.blue, &packet.frame()).dropped(DropReason::PolicyDeny);
        }
    }
}

#[test]
fn a_tcp_header_shorter_than_a_header_is_dropped() {
    for family in FAMILIES {
        let mut world = World::new();
        for offset in 0..5_u8 {
            let mut packet = Ip::new(blue(family), green(family), 6, tcp(4000, 80, SYN));
            packet.l4[12] = offset << 4;
            world.inject(world.blue, &packet.frame()).dropped(DropReason::BadHeader);
        }
        let mut beyond = Ip::new(blue(family), green(family), 6, tcp(4000, 80, SYN));
        beyond.l4[12] = 0xf0;
        let outcome = world.inject(world.blue, &beyond.frame());
        assert!(outcome.sent.is_empty(), "{outcome:?}");
    }
}

/// Opens a TCP connection and brings it to established.
fn handshake(world: &mut World, client: IpAddr, server: IpAddr, src_port: u16) {
    let syn = Ip::new(client, server, 6, tcp(src_port, 80, SYN));
    world.inject(world.blue, &syn.frame()).one();
    let answer = Ip::new(server, client, 6, tcp(80, src_port, SYN | ACK)).by_green();
    world.inject(world.green, &answer.frame()).one();
    let ack = Ip::new(client, server, 6, tcp(src_port, 80, ACK));
    world.inject(world.blue, &ack.frame()).one();
}

/// A connection allowed one way is no way to open one in the other.
#[test]
fn a_syn_on_the_reply_tuple_opens_nothing() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(move |key| key.dst == green(family));
        handshake(&mut world, blue(family), green(family), 4000);
        let back = Ip::new(green(family), blue(family), 6, tcp(80, 4000, SYN)).by_green();
        world.inject(world.green, &back.frame()).dropped(DropReason::ConntrackInvalid);
        let reset = Ip::new(blue(family), green(family), 6, tcp(4000, 80, RST));
        world.inject(world.blue, &reset.frame()).one();
        let outcome = world.inject(world.green, &back.frame());
        assert!(outcome.sent.is_empty(), "nor when it is over: {outcome:?}");
    }
}

/// Threat 26: all of the tuple, or nothing.
#[test]
fn a_reply_that_differs_in_anything_is_no_reply() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let query = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query"));
        world.inject(world.blue, &query.frame()).one();
        let mut neighbour = bee(family);
        match &mut neighbour {
            IpAddr::V4(address) => *address = (u32::from(*address) + 1).into(),
            IpAddr::V6(address) => *address = (u128::from(*address) + 1).into(),
        }
        let others = [
            Ip::new(bee(family), blue(family), 17, udp(54, 4000, b"")),
            Ip::new(bee(family), blue(family), 17, udp(53, 4001, b"")),
            Ip::new(bee(family), blue(family), 6, tcp(53, 4000, SYN | ACK)),
            Ip::new(bee(family), blue(family), 132, sctp(53, 4000, 0, 2, &[0; 16])),
            Ip::new(neighbour, blue(family), 17, udp(53, 4000, b"")),
            Ip::new(bee(family), green(family), 17, udp(53, 4000, b"")),
        ];
        for other in others {
            let outcome = world.inject_overlay(&Envelope::from_b(), &other.by_b().frame());
            outcome.dropped(DropReason::PolicyDeny);
        }
        let [v4, v6] = FAMILIES;
        let other_family = if family == v4 { v6 } else { v4 };
        let packet = Ip::new(bee(other_family), blue(other_family), 17, udp(53, 4000, b"")).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &packet.frame());
        outcome.dropped(DropReason::PolicyDeny);
        let answer = Ip::new(bee(family), blue(family), 17, udp(53, 4000, b"")).by_b();
        world.inject_overlay(&Envelope::from_b(), &answer.frame()).one();
    }
}

/// Threat 28: never passed untracked.
#[test]
fn a_connection_beyond_the_pods_share_is_dropped() {
    for family in FAMILIES {
        let conntrack = ConntrackConfig { owner_quota: 2, ..ConntrackConfig::with_max_entries(64) };
        let mut world = World::with(Plan { conntrack, ..Plan::default() });
        handshake(&mut world, blue(family), green(family), 4000);
        handshake(&mut world, blue(family), green(family), 4001);
        let third = Ip::new(blue(family), green(family), 6, tcp(4002, 80, SYN));
        world.inject(world.blue, &third.frame()).dropped(DropReason::ConntrackQuota);
        let others = Ip::new(green(family), blue(family), 6, tcp(4000, 80, SYN)).by_green();
        world.inject(world.green, &others.frame()).one();
    }
}

#[test]
fn a_connection_that_finds_the_table_full_is_dropped() {
    for family in FAMILIES {
        let conntrack = ConntrackConfig { owner_quota: 4, ..ConntrackConfig::with_max_entries(2) };
        let mut world = World::with(Plan { conntrack, ..Plan::default() });
        handshake(&mut world, blue(family), green(family), 4000);
        handshake(&mut world, blue(family), green(family), 4001);
        let third = Ip::new(green(family), blue(family), 6, tcp(4002, 80, SYN)).by_green();
        world.inject(world.green, &third.frame()).dropped(DropReason::ConntrackFull);
    }
}

/// kubernetes #71261, felix #617: a flood costs its sender half-open connections, and nobody an established one.
#[test]
fn a_flood_ends_no_established_connection_and_starves_no_other_pod() {
    for family in FAMILIES {
        let mut world = World::with(Plan {
            conntrack: ConntrackConfig { owner_quota: 48, ..ConntrackConfig::with_max_entries(64) },
            ..Plan::default()
        });
        handshake(&mut world, blue(family), green(family), 4000);
        for port in 0..2_000 {
            let syn = Ip::new(blue(family), bee(family), 6, tcp(5000 + port, 80, SYN));
            world.inject(world.blue, &syn.frame());
        }
        let data = Ip::new(blue(family), green(family), 6, tcp_with(4000, 80, ACK, b"still here"));
        world.inject(world.blue, &data.frame()).one();
        for port in 0..8 {
            let syn = Ip::new(green(family), bee(family), 6, tcp(5000 + port, 80, SYN)).by_green();
            world.inject(world.green, &syn.frame()).one();
        }
        assert!(world.pipeline.connections().len() <= 64);
    }
}

/// Threat 29: the hash is keyed, so tuples in a pattern fill the table like any others.
#[test]
fn tuples_in_a_pattern_find_their_places() {
    let [v4, _] = FAMILIES;
    let conntrack = ConntrackConfig { owner_quota: 4096, ..ConntrackConfig::with_max_entries(4096) };
    let mut world = World::with(Plan { conntrack, ..Plan::default() });
    for port in 0..2_048_u16 {
        let packet = Ip::new(blue(v4), bee(v4), 17, udp(port * 32, port * 16, b""));
        world.inject(world.blue, &packet.frame()).one();
    }
    assert_eq!(world.pipeline.connections().len(), 2_048);
    assert_eq!(world.counters.dropped(DropReason::ConntrackBucketFull), 0);
}

#[test]
fn an_echo_request_with_a_code_opens_no_echo_without_one() {
    for family in FAMILIES {
        let mut world = World::new();
        let (protocol, mut odd) = echo(blue(family), true, 7);
        let plain = Ip::new(blue(family), bee(family), protocol, odd.clone());
        odd[1] = 1;
        let kind = u16::from_be_bytes([odd[0], 1]);
        world.allow(move |key| key.dst_port == kind);
        let odd = Ip::new(blue(family), bee(family), protocol, odd);
        world.inject(world.blue, &odd.frame()).one();
        world.inject(world.blue, &plain.frame()).dropped(DropReason::PolicyDeny);
        let (_, answer) = echo(blue(family), false, 7);
        let answer = Ip::new(bee(family), blue(family), protocol, answer).by_b();
        world.inject_overlay(&Envelope::from_b(), &answer.frame()).dropped(DropReason::PolicyDeny);
    }
}

#[test]
fn an_echo_that_is_open_opens_no_echo_with_a_code() {
    for family in FAMILIES {
        let mut world = World::new();
        let (protocol, request) = echo(blue(family), true, 7);
        let plain = Ip::new(blue(family), bee(family), protocol, request.clone());
        let kind = u16::from_be_bytes([request[0], 0]);
        world.allow(move |key| key.dst_port == kind);
        world.inject(world.blue, &plain.frame()).one();
        let mut odd = request;
        odd[1] = 1;
        let odd = Ip::new(blue(family), bee(family), protocol, odd);
        world.inject(world.blue, &odd.frame()).dropped(DropReason::PolicyDeny);
        let (_, mut answer) = echo(blue(family), false, 7);
        answer[1] = 1;
        let answer = Ip::new(bee(family), blue(family), protocol, answer).by_b();
        world.inject_overlay(&Envelope::from_b(), &answer.frame()).dropped(DropReason::PolicyDeny);
    }
}

#[test]
fn a_packet_that_has_no_way_on_opens_no_connection() {
    for family in FAMILIES {
        let mut world = World::new();
        let to = |dst, ttl| Ip::new(blue(family), dst, 17, udp(4000, 53, b"query")).ttl(ttl).frame();
        let expired = to(bee(family), 1);
        let outcome = world.inject_all(world.blue, &[expired.clone(), expired]);
        assert_eq!(outcome.drops, [(DropReason::TtlExpired, 2)]);
        world.inject(world.blue, &to(grey(family), 64)).dropped(DropReason::PortUnattached);
        assert_eq!(world.pipeline.connections().len(), 0);
        assert_eq!(world.inject_all(world.blue, &[to(bee(family), 1), to(bee(family), 64)]).forwarded, 1);
        assert_eq!(world.pipeline.connections().len(), 1);
    }
}
