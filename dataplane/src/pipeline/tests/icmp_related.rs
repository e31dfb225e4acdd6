//! Threat 27: ICMP errors pass when, and only when, their receiver sent what they quote (RFC 5927, RFC 5508).

use vxlan::mtu::Family;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

/// Port unreachable.
fn unreachable(family: Family) -> [u8; 2] {
    match family {
        Family::V4 => [3, 3],
        Family::V6 => [1, 4],
    }
}

/// Blue, which nobody may reach, has sent `bee` a datagram.
fn with_open_flow(family: Family) -> (World, Ip) {
    let mut world = World::new();
    world.allow(default_deny);
    let sent = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query"));
    world.inject(world.blue, &sent.frame()).one();
    (world, sent)
}

#[test]
fn an_error_about_a_packet_its_receiver_sent_passes_without_a_rule() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        let [kind, code] = unreachable(family);
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let error = Ip::new(bee(family), blue(family), protocol, error).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &error.frame());
        assert_eq!(outcome.one().port, world.blue);
        assert_valid(&outcome.one().bytes);
        assert_eq!(world.pipeline.connections().len(), 1, "it opens nothing");
    }
}

#[test]
fn an_error_about_an_echo_request_passes() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let (protocol, request) = echo(blue(family), true, 7);
        let sent = Ip::new(blue(family), bee(family), protocol, request);
        world.inject(world.blue, &sent.frame()).one();
        let [kind, code] = unreachable(family);
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let error = Ip::new(bee(family), blue(family), protocol, error).by_b();
        world.inject_overlay(&Envelope::from_b(), &error.frame()).one();
    }
}

#[test]
fn a_router_on_the_way_outside_may_speak_about_the_flow() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let sent = Ip::new(blue(family), outside(family), 6, tcp(4000, 443, SYN));
        world.inject(world.blue, &sent.frame()).one();
        let (kind, code, mtu) = if family == Family::V4 { (3, 4, 1400) } else { (2, 0, 1400) };
        let (protocol, error) = icmp_error(kind, code, mtu, &sent);
        let router = match family {
            Family::V4 => "198.51.100.1",
            Family::V6 => "2001:db8:0:9::1",
        };
        let error = Ip::new(router.parse().expect("an address"), blue(family), protocol, error).by_node();
        assert_eq!(world.inject(world.node, &error.frame()).one().port, world.blue);
    }
}

#[test]
fn an_error_about_no_connection_is_dropped() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        let [kind, code] = unreachable(family);
        let other = Ip { l4: udp(4001, 53, b"query"), ..sent };
        let (protocol, error) = icmp_error(kind, code, 0, &other);
        let error = Ip::new(bee(family), blue(family), protocol, error).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &error.frame());
        outcome.dropped(DropReason::IcmpUnrelated);
    }
}

/// "ICMP reachable" (Synacktiv, 2019): the quoted flow is real, but another pod's.
#[test]
fn an_error_that_quotes_another_pods_flow_does_not_reach_a_filtered_pod() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        let [kind, code] = unreachable(family);
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let error = Ip::new(bee(family), green(family), protocol, error).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &error.frame());
        outcome.dropped(DropReason::IcmpUnrelated);
    }
}

#[test]
fn an_error_that_quotes_the_reply_direction_is_for_the_replier_alone() {
    for family in FAMILIES {
        let (mut world, _) = with_open_flow(family);
        let [kind, code] = unreachable(family);
        let reply = Ip::new(bee(family), blue(family), 17, udp(53, 4000, b"answer"));
        let (protocol, error) = icmp_error(kind, code, 0, &reply);
        let to_blue = Ip::new(bee(family), blue(family), protocol, error.clone()).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &to_blue.frame());
        outcome.dropped(DropReason::IcmpUnrelated);
        let to_bee = Ip::new(blue(family), bee(family), protocol, error);
        world.inject(world.blue, &to_bee.frame()).one();
    }
}

#[test]
fn an_error_cut_short_or_with_a_header_length_that_lies_is_dropped() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        let [kind, code] = unreachable(family);
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let header = if family == Family::V4 { 20 } else { 40 };
        // All of the quoted IP header and 8 bytes behind it are needed.
        for len in 8..8 + header + 8 {
            let cut = Ip::new(bee(family), blue(family), protocol, error[..len].to_vec()).by_b();
            let outcome = world.inject_overlay(&Envelope::from_b(), &cut.frame());
            outcome.dropped(DropReason::IcmpUnrelated);
        }
        let mut lying = error;
        lying[8] = if family == Family::V4 { 0x4f } else { 0x50 };
        let lying = Ip::new(bee(family), blue(family), protocol, lying).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &lying.frame());
        outcome.dropped(DropReason::IcmpUnrelated);
    }
}

/// RFC 791: 576 bytes any host takes; RFC 8201 section 4: 1,280.
#[test]
fn an_mtu_below_what_every_link_carries_is_not_believed() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        let (kind, code, least) = if family == Family::V4 { (3, 4, 576) } else { (2, 0, 1280) };
        for (mtu, passes) in [(0, false), (68, false), (least - 1, false), (least, true)] {
            let (protocol, error) = icmp_error(kind, code, mtu, &sent);
            let error = Ip::new(bee(family), blue(family), protocol, error).by_b();
            let outcome = world.inject_overlay(&Envelope::from_b(), &error.frame());
            if passes {
                outcome.one();
            } else {
                outcome.dropped(DropReason::IcmpUnrelated);
            }
        }
    }
}

#[test]
fn an_error_about_a_revoked_flow_is_dropped_with_it() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        world.allow(|_| false);
        let [kind, code] = unreachable(family);
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let error = Ip::new(bee(family), blue(family), protocol, error).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &error.frame());
        outcome.dropped(DropReason::PolicyRevoked);
    }
}

/// A pod that may send nothing at all must not reach another by quoting what that one sent to a third.
#[test]
fn a_pod_has_nothing_to_say_about_packets_that_were_not_for_it() {
    for family in FAMILIES {
        let (mut world, sent) = with_open_flow(family);
        let [kind, code] = unreachable(family);
        let (protocol, error) = icmp_error(kind, code, 0, &sent);
        let from_green = Ip::new(green(family), blue(family), protocol, error.clone()).by_green();
        world.inject(world.green, &from_green.frame()).dropped(DropReason::IcmpUnrelated);
        // A pod of the other node that the packet was not for; the other node itself.
        let from_pod = Ip::new(bug(family), blue(family), protocol, error.clone()).by_b();
        let outcome = world.inject_overlay(&Envelope::from_b(), &from_pod.frame());
        outcome.dropped(DropReason::IcmpUnrelated);
        let from_node = Ip::new(b_gateway(family), blue(family), protocol, error).by_b();
        world.inject_overlay(&Envelope::from_b(), &from_node.frame()).one();
    }
}
