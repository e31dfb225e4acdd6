//! What a change does to what is open: policies, pods, ports, and the time before the first generation.

use policy_compiler::Direction;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;

/// Threat 34: nothing passes before the first generation.
#[test]
fn nothing_passes_before_the_first_generation() {
    for family in FAMILIES {
        let mut world = World::with(Plan { started: false, ..Plan::default() });
        let packet = Ip::new(blue(family), green(family), 17, udp(4000, 53, b""));
        world.inject(world.blue, &packet.frame()).dropped(DropReason::Starting);
        let far = Ip::new(bee(family), green(family), 17, udp(4000, 53, b"")).by_b();
        world.inject_overlay(&Envelope::from_b(), &far.frame()).dropped(DropReason::Starting);
        let probe = Ip::new(gateway(family), green(family), 17, udp(4000, 53, b"")).by_node();
        world.inject(world.node, &probe.frame()).dropped(DropReason::Starting);
        world.publish();
        world.inject(world.blue, &packet.frame()).one();
    }
}

/// Threat 33: a port whose pod the state does not know.
#[test]
fn a_port_without_a_known_pod_is_cut_off_until_the_pod_is_known() {
    for family in FAMILIES {
        let mut world = World::new();
        let address = nobody(family);
        let packet = Ip::new(address, green(family), 17, udp(4000, 53, b"")).between(GHOST_MAC, GATEWAY_MAC);
        world.inject(world.ghost, &packet.frame()).dropped(DropReason::PodUnknown);
        let to_ghost = Ip::new(blue(family), address, 17, udp(4000, 53, b""));
        world.inject(world.blue, &to_ghost.frame()).dropped(DropReason::NoRoute);

        world.pods.push(subject("ghost", "uid-ghost", &[address]));
        world.publish();
        world.inject(world.ghost, &packet.frame()).one();
        world.inject(world.blue, &to_ghost.frame()).one();
    }
}

/// Threat 36: an open connection is judged by the generation in force, once, by its original direction.
#[test]
fn a_changed_policy_cuts_an_open_connection_and_leaves_an_unrelated_one() {
    for family in FAMILIES {
        let mut world = World::new();
        let there = |port| Ip::new(blue(family), green(family), 17, udp(4000, port, b"")).frame();
        let back = |port| Ip::new(green(family), blue(family), 17, udp(port, 4000, b"")).by_green().frame();
        for port in [53, 54] {
            world.inject(world.blue, &there(port)).one();
            world.inject(world.green, &back(port)).one();
        }
        world.allow(|key| key.dst_port == 53);
        world.inject(world.blue, &there(53)).one();
        world.inject(world.green, &back(53)).one();
        world.inject(world.blue, &there(54)).dropped(DropReason::PolicyRevoked);
        world.inject(world.blue, &there(54)).dropped(DropReason::PolicyDeny);
        world.inject(world.green, &back(54)).dropped(DropReason::PolicyDeny);
        assert_eq!(world.denials.rows().iter().map(|row| row.packets).sum::<u64>(), 3);
    }
}

#[test]
fn a_reply_does_not_outlive_the_revocation_either() {
    for family in FAMILIES {
        let mut world = World::new();
        let syn = Ip::new(blue(family), bee(family), 6, tcp(4000, 80, SYN));
        world.inject(world.blue, &syn.frame()).one();
        let answer = Ip::new(bee(family), blue(family), 6, tcp(80, 4000, SYN | ACK)).by_b().frame();
        world.inject_overlay(&Envelope::from_b(), &answer).one();
        // Ingress stays allowed: it is the egress that opened the connection.
        world.allow(|key| key.direction == Direction::Ingress);
        world.inject_overlay(&Envelope::from_b(), &answer).dropped(DropReason::PolicyRevoked);
        assert_eq!(world.pipeline.connections().len(), 0);
    }
}

/// One generation per packet, and a new one that changes nothing for a flow does nothing to it.
#[test]
fn many_generations_lose_no_packet_of_an_allowed_flow() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let syn = Ip::new(blue(v4), green(v4), 6, tcp(4000, 80, SYN)).frame();
    let answer = Ip::new(green(v4), blue(v4), 6, tcp(80, 4000, SYN | ACK)).by_green().frame();
    let data = Ip::new(blue(v4), green(v4), 6, tcp_with(4000, 80, ACK, b"x")).frame();
    world.inject(world.blue, &syn).one();
    world.inject(world.green, &answer).one();
    for _ in 0..200 {
        world.allow(|key| key.dst_port == 80);
        world.inject(world.blue, &data).one();
    }
    assert_eq!(world.pipeline.connections().len(), 1);
}

/// Threat 35 (Antrea #6507): the address is another pod's now, the connection is not.
#[test]
fn a_connection_of_a_pod_that_has_gone_is_not_its_successors() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let query = Ip::new(green(family), bee(family), 17, udp(4000, 53, b"")).by_green();
        world.inject(world.green, &query.frame()).one();
        let answer = Ip::new(bee(family), green(family), 17, udp(53, 4000, b"")).by_b().frame();
        world.inject_overlay(&Envelope::from_b(), &answer).one();

        let addresses = FAMILIES.map(green);
        world.pods.retain(|pod| pod.name.name != "green");
        world.pods.push(subject("green-2", "uid-green-2", &addresses));
        let role = super::super::Role::Pod(pod("green-2"));
        world.pipeline.bindings_mut().get_mut(world.green).expect("green's port").role = role;
        world.publish();
        world.inject_overlay(&Envelope::from_b(), &answer).dropped(DropReason::PodGone);
        world.inject_overlay(&Envelope::from_b(), &answer).dropped(DropReason::PolicyDeny);
    }
}

/// A StatefulSet's pod keeps its name; its uid is new.
#[test]
fn a_pod_of_the_same_name_and_address_with_another_uid_is_another_pod() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let query = Ip::new(green(family), bee(family), 17, udp(4000, 53, b"")).by_green();
        world.inject(world.green, &query.frame()).one();
        for pod in &mut world.pods {
            pod.uid.push_str("-again");
        }
        world.publish();
        let answer = Ip::new(bee(family), green(family), 17, udp(53, 4000, b"")).by_b().frame();
        world.inject_overlay(&Envelope::from_b(), &answer).dropped(DropReason::PodGone);
    }
}

#[test]
fn a_pod_that_has_finished_is_cut_off_both_ways() {
    for family in FAMILIES {
        let mut world = World::new();
        let query = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"")).frame();
        world.inject(world.blue, &query).one();
        world.pods.retain(|pod| pod.name.name != "green");
        world.publish();
        world.inject(world.blue, &query).dropped(DropReason::NoRoute);
        let answer = Ip::new(green(family), blue(family), 17, udp(53, 4000, b"")).by_green().frame();
        world.inject(world.green, &answer).dropped(DropReason::PodUnknown);
    }
}

/// Threat 40: an address that two live pods claim is neither's.
#[test]
fn pods_in_conflict_over_an_address_are_both_cut_off() {
    for family in FAMILIES {
        let mut world = World::new();
        world.pods.retain(|pod| pod.name.name != "grey");
        world.pods.push(subject("grey", "uid-grey", &[green(family)]));
        world.conflicts = vec![(green(family), vec![pod("green"), pod("grey")])];
        world.publish();
        let query = Ip::new(green(family), blue(family), 17, udp(4000, 53, b"")).by_green().frame();
        world.inject(world.green, &query).dropped(DropReason::IpConflict);
        let to_it = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"")).frame();
        world.inject(world.blue, &to_it).dropped(DropReason::IpConflict);
        let from_afar = Ip::new(bee(family), green(family), 17, udp(4000, 53, b"")).by_b().frame();
        world.inject_overlay(&Envelope::from_b(), &from_afar).dropped(DropReason::IpConflict);
    }
}

/// Threat 40: an address is a pod's only where a pod of this node can have it.
#[test]
fn a_pod_that_claims_the_gateways_or_a_foreign_address_is_cut_off_and_does_not_get_it() {
    for family in FAMILIES {
        for claimed in [gateway(family), bee(family), outside(family)] {
            let mut world = World::new();
            world.pods.retain(|pod| pod.name.name != "green");
            world.pods.push(subject("green", "uid-green", &[green(family), claimed]));
            world.publish();
            for own in [green(family), claimed] {
                let speaks = Ip::new(own, blue(family), 17, udp(4000, 53, b"")).by_green().frame();
                world.inject(world.green, &speaks).dropped(DropReason::IpConflict);
            }
            let to_it = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"")).frame();
            world.inject(world.blue, &to_it).dropped(DropReason::IpConflict);
            // What it claims stays whose it is.
            let to_claimed = Ip::new(blue(family), claimed, 17, udp(4001, 53, b"")).frame();
            world.inject(world.blue, &to_claimed).one();
        }
    }
}

#[test]
fn a_connection_that_has_timed_out_lets_nothing_in_even_before_housekeeping() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(default_deny);
        let query = Ip::new(blue(family), bee(family), 17, udp(4000, 53, b""));
        world.inject(world.blue, &query.frame()).one();
        world.pass(std::time::Duration::from_hours(1));
        let answer = Ip::new(bee(family), blue(family), 17, udp(53, 4000, b"")).by_b();
        world.inject_overlay(&Envelope::from_b(), &answer.frame()).dropped(DropReason::PolicyDeny);
    }
}

/// A pod has one wire: a second one bound to its name is not heard.
#[test]
fn a_second_port_for_one_pod_is_cut_off() {
    let [v4, _] = FAMILIES;
    let mut world = World::new();
    let second = super::super::Role::Pod(pod("blue"));
    world.pipeline.bindings_mut().get_mut(world.ghost).expect("a port").role = second;
    world.publish();
    let packet = Ip::new(blue(v4), green(v4), 17, udp(4000, 53, b""));
    let from_second = packet.clone().between(GHOST_MAC, GATEWAY_MAC);
    world.inject(world.ghost, &from_second.frame()).dropped(DropReason::PolicyPending);
    world.inject(world.blue, &packet.frame()).one();
}

/// Threat 28: pods that come and go must not fill the table with what they leave behind.
#[test]
fn connections_of_a_pod_that_is_gone_give_up_their_places() {
    for family in FAMILIES {
        let mut world = World::new();
        let kept = Ip::new(green(family), bee(family), 6, tcp(4000, 80, SYN)).by_green();
        world.inject(world.green, &kept.frame()).one();
        for port in 1..=20 {
            let syn = Ip::new(blue(family), bee(family), 6, tcp(port, 80, SYN));
            world.inject(world.blue, &syn.frame()).one();
        }
        world.publish();
        world.tick();
        assert_eq!(world.pipeline.connections().len(), 21, "all pods are still there");
        world.pods.retain(|pod| pod.name.name != "blue");
        world.publish();
        world.tick();
        assert_eq!(world.pipeline.connections().len(), 1);
    }
}
