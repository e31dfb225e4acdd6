//! What has to pass, and how it looks afterwards.

use std::collections::HashSet;

use vxlan::mtu::Family;
use vxlan::wire::headers::L4;

use super::outer::{Envelope, opened};
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

#[test]
fn a_packet_to_a_pod_of_the_same_node_is_switched_with_its_ttl_unchanged() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"query")).ttl(1);
        let outcome = world.inject(world.blue, &packet.frame());
        let sent = outcome.one();
        assert_eq!(sent.port, world.green);
        assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, GREEN_MAC));
        assert_eq!(sent.bytes[14..], packet.frame()[14..], "the IP packet is untouched");
    }
}

/// flannel: from the own VTEP's MAC to the other's, TTL less one; RFC 7348 section 5 for the outside.
#[test]
fn a_packet_to_another_node_is_routed_into_the_tunnel_as_flannel_does() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let packet = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"query"));
            let outcome = world.inject(world.blue, &packet.frame());
            let sent = outcome.one();
            assert_eq!(sent.port, world.underlay);
            let (outer, inner) = opened(sent);
            assert_eq!((outer.dst, outer.dest_port, outer.ttl), (B_V4.into(), 8472, 64));
            assert!((49_152..=65_535).contains(&outer.source_port));
            assert_eq!(macs(inner), (OWN_VTEP, B_VTEP));
            assert_eq!(ip(inner).ttl, 63);
            assert_valid(inner);
            if !world.datagrams {
                assert_eq!(macs(&sent.bytes), (A_NIC, B_NIC));
                assert_eq!(outer.src, A_V4);
            }
        }
    }
}

/// RFC 6864 section 4: they may be fragmented on their way, so no two are put together as one.
#[test]
fn outer_packets_have_identifications_of_their_own() {
    let mut world = World::new();
    world.pipeline.identification.set(u16::MAX - 1);
    let packet = Ip::new(blue(Family::V4), bee(Family::V4), 17, udp(4000, 53, b"query"));
    // Over the stages, and the short way.
    let outcome = world.inject_all(world.blue, &vec![packet.frame(); 3]);
    let again = world.inject_all(world.blue, &vec![packet.frame(); 2]);
    assert!(world.counters.flow_hits.get() > 0);
    let found: Vec<u16> = outcome
        .sent
        .iter()
        .chain(&again.sent)
        .map(|sent| u16::from_be_bytes([sent.bytes[18], sent.bytes[19]]))
        .collect();
    assert_eq!(found, [u16::MAX - 1, u16::MAX, 0, 1, 2]);
}

/// flannel's second device, `flannel-v6.N`.
#[test]
fn a_node_on_the_ipv6_underlay_is_reached_over_ipv6() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let packet = Ip::new(blue(family), sea(family), 6, tcp(4000, 80, SYN));
            let outcome = world.inject(world.blue, &packet.frame());
            let (outer, inner) = opened(outcome.one());
            assert_eq!(outer.dst, C_V6);
            assert_eq!(macs(inner), (OWN_VTEP_6, C_VTEP_6));
            assert_valid(inner);
        }
    }
}

#[test]
fn a_packet_from_another_node_is_routed_to_its_pod() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let from_b = Ip::new(bee(family), blue(family), 17, udp(4000, 53, b"query")).by_b();
            let from_c = Ip::new(sea(family), blue(family), 17, udp(4000, 53, b"query")).by_c();
            for (envelope, packet) in [(Envelope::from_b(), from_b), (Envelope::from_c(), from_c)] {
                let outcome = world.inject_overlay(&envelope, &packet.frame());
                let sent = outcome.one();
                assert_eq!(sent.port, world.blue);
                assert_eq!(macs(&sent.bytes), (GATEWAY_MAC, BLUE_MAC));
                assert_eq!(ip(&sent.bytes).ttl, 63);
                assert_valid(&sent.bytes);
            }
        }
    }
}

#[test]
fn a_packet_to_the_world_outside_leaves_through_the_node() {
    for family in FAMILIES {
        let mut world = World::new();
        for dst in [outside(family), node(family), gateway(family)] {
            let packet = Ip::new(blue(family), dst, 6, tcp(4000, 443, SYN));
            let outcome = world.inject(world.blue, &packet.frame());
            let sent = outcome.one();
            assert_eq!(sent.port, world.node);
            assert_eq!(macs(&sent.bytes), (OWN_VTEP, GATEWAY_MAC));
            assert_eq!(sent.bytes[14..], packet.frame()[14..], "the node's kernel routes it on");
        }
    }
}

#[test]
fn a_pod_reaches_its_own_address() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = Ip::new(blue(family), blue(family), 17, udp(4000, 53, b""));
        let outcome = world.inject(world.blue, &packet.frame());
        assert_eq!(outcome.one().port, world.blue);
    }
}

/// Threat 32: kubelet probes from the own node pass, nothing else does. The compiler puts the exception into the
/// classifier; the pipeline has to ask it with the node's address.
#[test]
fn the_own_node_reaches_a_pod_under_default_deny_and_others_do_not() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let probe = Ip::new(gateway(family), green(family), 6, tcp(4000, 8080, SYN)).by_node();
        let outcome = world.inject(world.node, &probe.frame());
        assert_eq!(outcome.one().port, world.green);
        assert_eq!(macs(&outcome.one().bytes), (GATEWAY_MAC, GREEN_MAC));
        let answer = Ip::new(green(family), gateway(family), 6, tcp(8080, 4000, SYN | ACK)).by_green();
        assert_eq!(world.inject(world.green, &answer.frame()).one().port, world.node);

        let stranger = Ip::new(outside(family), green(family), 6, tcp(4000, 8080, SYN)).by_node();
        world.inject(world.node, &stranger.frame()).dropped(DropReason::PolicyDeny);
        let pod = Ip::new(blue(family), green(family), 6, tcp(4000, 8080, SYN));
        world.inject(world.blue, &pod.frame()).dropped(DropReason::PolicyDeny);
        let far = Ip::new(bee(family), green(family), 6, tcp(4000, 8080, SYN)).by_b();
        world.inject_overlay(&Envelope::from_b(), &far.frame()).dropped(DropReason::PolicyDeny);
    }
}

#[test]
fn the_node_reaches_pods_of_other_nodes_and_hears_their_answers() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let question = Ip::new(node(family), bee(family), 6, tcp(4000, 80, SYN)).by_node();
            let outcome = world.inject(world.node, &question.frame());
            let (_, inner) = opened(outcome.one());
            assert_eq!(macs(inner), (OWN_VTEP, B_VTEP));
            let answer = Ip::new(bee(family), node(family), 6, tcp(80, 4000, SYN | ACK)).by_b();
            let outcome = world.inject_overlay(&Envelope::from_b(), &answer.frame());
            assert_eq!(outcome.one().port, world.node);
            assert_eq!(macs(&outcome.one().bytes), (OWN_VTEP, GATEWAY_MAC));
        }
    }
}

#[test]
fn replies_of_an_allowed_connection_need_no_rule() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            world.allow(default_deny);
            let (near, far) = (blue(family), bee(family));
            let syn = Ip::new(near, far, 6, tcp(4000, 80, SYN));
            world.inject(world.blue, &syn.frame()).one();
            let syn_ack = Ip::new(far, near, 6, tcp(80, 4000, SYN | ACK)).by_b();
            assert_eq!(world.inject_overlay(&Envelope::from_b(), &syn_ack.frame()).one().port, world.blue);
            let ack = Ip::new(near, far, 6, tcp(4000, 80, ACK));
            world.inject(world.blue, &ack.frame()).one();
            let data = Ip::new(far, near, 6, tcp_with(80, 4000, ACK | PSH, b"hello")).by_b();
            world.inject_overlay(&Envelope::from_b(), &data.frame()).one();

            let query = Ip::new(near, outside(family), 17, udp(4000, 53, b"query"));
            world.inject(world.blue, &query.frame()).one();
            let answer = Ip::new(outside(family), near, 17, udp(53, 4000, b"answer")).by_node();
            assert_eq!(world.inject(world.node, &answer.frame()).one().port, world.blue);
        }
    }
}

#[test]
fn an_opening_and_its_answer_in_one_batch_do_not_confuse_each_other() {
    let mut world = World::new();
    world.allow(|key| key.dst_port == 53);
    let [v4, _] = FAMILIES;
    let query = Ip::new(blue(v4), green(v4), 17, udp(4000, 53, b"query")).frame();
    let denied = Ip::new(blue(v4), green(v4), 17, udp(4000, 54, b"query")).frame();
    let outcome = world.inject_all(world.blue, &[query.clone(), denied, query]);
    assert_eq!(outcome.forwarded, 2);
    assert_eq!(outcome.drops, [(DropReason::PolicyDeny, 1)]);
    assert_eq!(world.pipeline.connections().len(), 1);
}

#[test]
fn echo_passes_both_ways_and_only_as_an_answer() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            world.allow(default_deny);
            let (near, far) = (blue(family), bee(family));
            let (protocol, request) = echo(near, true, 7);
            world.inject(world.blue, &Ip::new(near, far, protocol, request.clone()).frame()).one();
            let (_, reply) = echo(near, false, 7);
            let reply = Ip::new(far, near, protocol, reply).by_b();
            world.inject_overlay(&Envelope::from_b(), &reply.frame()).one();
            let unasked = Ip::new(far, near, protocol, echo(near, false, 8).1).by_b();
            let outcome = world.inject_overlay(&Envelope::from_b(), &unasked.frame());
            outcome.dropped(DropReason::PolicyDeny);
            let inward = Ip::new(far, near, protocol, request).by_b();
            world.inject_overlay(&Envelope::from_b(), &inward.frame()).dropped(DropReason::PolicyDeny);
        }
    }
}

/// RFC 9260 section 5.1: INIT, INIT ACK, COOKIE ECHO, COOKIE ACK, DATA.
#[test]
fn an_sctp_association_is_opened_by_its_handshake() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let (near, far) = (blue(family), bee(family));
        let there = |tag, chunk| Ip::new(near, far, 132, sctp(4000, 5000, tag, chunk, &[0; 16])).frame();
        let back =
            |tag, chunk| Ip::new(far, near, 132, sctp(5000, 4000, tag, chunk, &[0; 16])).by_b().frame();
        let data_first = world.inject(world.blue, &there(9, 0));
        data_first.dropped(DropReason::ConntrackInvalid);
        world.inject(world.blue, &there(0, 1)).one();
        world.inject_overlay(&Envelope::from_b(), &back(9, 2)).one();
        world.inject(world.blue, &there(8, 10)).one();
        world.inject_overlay(&Envelope::from_b(), &back(9, 11)).one();
        world.inject_overlay(&Envelope::from_b(), &back(9, 0)).one();
        let uninvited = Ip::new(far, near, 132, sctp(5001, 4000, 0, 1, &[0; 16])).by_b().frame();
        world.inject_overlay(&Envelope::from_b(), &uninvited).dropped(DropReason::PolicyDeny);
    }
}

/// RFC 7348 section 5: entropy for the underlay's paths, and a flow's packets keep their order.
#[test]
fn the_outer_source_port_is_constant_for_a_flow_and_differs_between_flows() {
    for mut world in World::on_both() {
        let [v4, _] = FAMILIES;
        let mut ports = HashSet::new();
        for src_port in 0..64 {
            let packet = Ip::new(blue(v4), bee(v4), 17, udp(4000 + src_port, 53, b"")).frame();
            let of_packet = |world: &mut World| opened(world.inject(world.blue, &packet).one()).0.source_port;
            let first = of_packet(&mut world);
            assert_eq!(first, of_packet(&mut world));
            ports.insert(first);
        }
        assert!(ports.len() > 48, "{} different ports for 64 flows", ports.len());
    }
}

/// RFC 6040 section 4.1: the mark goes outside, the rest of the byte stays zero as flannel's devices have it.
#[test]
fn the_congestion_mark_is_copied_outside() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            for (inner, outside) in [(0, 0), (0xb8, 0), (0xb9, 1), (0x02, 2), (0x03, 3)] {
                let packet = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"")).tos(inner);
                let outcome = world.inject(world.blue, &packet.frame());
                let (outer, frame) = opened(outcome.one());
                assert_eq!(outer.tos, outside);
                assert_eq!(ip(frame).tos, inner);
            }
        }
    }
}

/// Threat 7: what stands behind the IP packet is the link's padding or somebody's message.
#[test]
fn bytes_behind_the_packet_are_not_forwarded() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            let there = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"x"));
            let padded = [&there.frame()[..], &[0xee; 30]].concat();
            assert_valid(&world.inject(world.blue, &padded).one().bytes);
            let far = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b"x"));
            let outcome = world.inject(world.blue, &[&far.frame()[..], &[0xee; 30]].concat());
            assert_valid(opened(outcome.one()).1);
            let back = Ip::new(bee(family), blue(family), 17, udp(53, 4000, b"x")).by_b();
            let padded = [&back.frame()[..], &[0xee; 30]].concat();
            assert_valid(&world.inject_overlay(&Envelope::from_b(), &padded).one().bytes);
        }
    }
}

#[test]
fn an_unattached_pod_gets_nothing_and_a_detached_one_no_more() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let to_grey = Ip::new(blue(v4), grey(v4), 17, udp(4000, 53, b""));
    world.inject(world.blue, &to_grey.frame()).dropped(DropReason::PortUnattached);
    let to_green = Ip::new(blue(v4), green(v4), 17, udp(4000, 53, b"")).frame();
    world.inject(world.blue, &to_green).one();
    world.pipeline.detach(world.green);
    world.inject(world.blue, &to_green).dropped(DropReason::PortUnattached);
    let late = Ip::new(green(v4), blue(v4), 17, udp(53, 4000, b"")).by_green();
    world.inject(world.green, &late.frame()).dropped(DropReason::PodUnknown);
}

#[test]
fn an_address_that_no_pod_has_leads_nowhere() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = Ip::new(blue(family), nobody(family), 17, udp(4000, 53, b""));
        world.inject(world.blue, &packet.frame()).dropped(DropReason::NoRoute);
        let from_node = Ip::new(node(family), nobody(family), 17, udp(4000, 53, b"")).by_node();
        world.inject(world.node, &from_node.frame()).dropped(DropReason::NoRoute);
    }
}

/// A flood of one's frames to every host on the segment is no way to reach one VTEP.
#[test]
fn a_vtep_whose_mac_is_not_known_is_sent_nothing() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    world.own.underlay_neighbours.clear();
    world.publish();
    let packet = Ip::new(blue(v4), bee(v4), 17, udp(4000, 53, b"query"));
    world.inject(world.blue, &packet.frame()).dropped(DropReason::UnderlayUnresolved);
}

#[test]
fn the_reader_sees_what_the_writer_wrote() {
    let [v4, _] = FAMILIES;
    let frame = Ip::new(blue(v4), green(v4), 6, tcp(1, 2, SYN | URG | FIN | RST)).frame();
    assert!(matches!(ip(&frame).l4, L4::Tcp { src_port: 1, dst_port: 2, flags: 0x27, .. }));
}
