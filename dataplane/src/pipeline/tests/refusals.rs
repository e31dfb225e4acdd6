//! Packets of flows that were refused of late: they end as the stages would have it, and no longer than these would.

use policy_compiler::Action;

use super::outer::Envelope;
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;
use vxlan::mtu::Family;

const V4: Family = Family::V4;

fn question(src_port: u16) -> Ip {
    Ip::new(blue(V4), green(V4), 17, udp(src_port, 53, b"question"))
}

fn answer(dst_port: u16) -> Ip {
    Ip::new(green(V4), blue(V4), 17, udp(53, dst_port, b"answer")).by_green()
}

#[test]
fn a_denied_flow_is_known_from_its_third_packet_on_and_every_packet_is_a_denial() {
    let mut world = World::new();
    world.allow(|_| false);
    for hits in [0, 0, 1, 2, 3] {
        world.inject(world.blue, &question(4000).frame()).dropped(DropReason::PolicyDeny);
        assert_eq!(world.counters.flow_hits.get(), hits);
    }
    let train = vec![question(4000).frame(); 60];
    assert_eq!(world.inject_all(world.blue, &train).drops, [(DropReason::PolicyDeny, 60)]);
    let rows = world.denials.rows();
    let told: Vec<_> = rows.iter().map(|row| (row.src, row.dst, row.packets)).collect();
    assert_eq!(told, [(Some(blue(V4)), Some(green(V4)), 65)]);
}

#[test]
fn a_connection_that_the_other_end_opens_lets_a_refused_flow_pass() {
    let mut world = World::new();
    world.allow(|key| key.dst_port != 53);
    for _ in 0..4 {
        world.inject(world.blue, &question(4000).frame()).dropped(DropReason::PolicyDeny);
    }
    assert!(world.counters.flow_hits.get() > 0);
    world.inject(world.green, &answer(4000).frame()).one();
    world.inject(world.blue, &question(4000).frame()).one();
}

#[test]
fn a_pods_word_to_itself_may_be_the_answer_to_the_packet_before_it() {
    let mut world = World::new();
    world.allow(|key| key.dst_port == 7);
    let there = Ip::new(blue(V4), blue(V4), 17, udp(9, 7, b"there")).frame();
    let back = Ip::new(blue(V4), blue(V4), 17, udp(7, 9, b"back")).frame();
    for _ in 0..4 {
        world.inject(world.blue, &back).dropped(DropReason::PolicyDeny);
    }
    let outcome = world.inject_all(world.blue, &[there, back]);
    assert_eq!((outcome.forwarded, outcome.drops), (2, vec![]));
}

#[test]
fn a_new_policy_is_asked_again() {
    let mut world = World::new();
    world.allow(|_| false);
    for _ in 0..4 {
        world.inject(world.blue, &question(4000).frame()).dropped(DropReason::PolicyDeny);
    }
    world.allow(|_| true);
    world.inject(world.blue, &question(4000).frame()).one();
}

#[test]
fn what_belongs_to_no_connection_may_still_open_one() {
    let mut world = World::new();
    let segment = |flags| Ip::new(blue(V4), green(V4), 6, tcp(4000, 80, flags)).frame();
    for _ in 0..4 {
        world.inject(world.blue, &segment(ACK)).dropped(DropReason::ConntrackInvalid);
    }
    assert!(world.counters.flow_hits.get() > 0);
    world.inject(world.blue, &segment(SYN)).one();
}

#[test]
fn errors_are_owed_as_often_as_the_rate_allows_and_drops_go_on_without() {
    let mut world = World::new();
    let packet = |ttl| Ip::new(blue(V4), bee(V4), 17, udp(4000, 53, b"query")).ttl(ttl).frame();
    let mut errors = 0;
    for _ in 0..8 {
        let outcome = world.inject_all(world.blue, &vec![packet(1); 20]);
        assert_eq!(outcome.drops, [(DropReason::TtlExpired, 20)]);
        errors += outcome.icmp_errors;
    }
    assert!((100..=108).contains(&errors), "a burst of 100, and one for each millisecond: {errors}");
    assert!(world.counters.flow_hits.get() > 0);
    world.inject(world.blue, &packet(64)).one();
}

#[test]
fn want_of_a_way_is_remembered_until_there_is_one() {
    let segment = |flags| Ip::new(blue(V4), green(V4), 6, tcp(4000, 80, flags)).frame();
    let mut world = World::new();
    world.pipeline.bindings_mut().get_mut(world.green).expect("green's port").mac = None;
    for _ in 0..4 {
        world.inject(world.blue, &segment(SYN)).dropped(DropReason::NeighbourUnresolved);
    }
    assert_eq!(world.counters.flow_hits.get(), 2);
    world.inject(world.blue, &segment(ACK)).dropped(DropReason::ConntrackInvalid);
    world.allow(|_| false);
    world.inject(world.blue, &segment(SYN)).dropped(DropReason::PolicyDeny);
    world.allow(|_| true);
    for _ in 0..4 {
        world.inject(world.blue, &segment(SYN)).dropped(DropReason::NeighbourUnresolved);
    }
    // Its first packet tells the MAC.
    world.inject(world.green, &Ip::new(green(V4), blue(V4), 17, udp(9, 9, b"")).by_green().frame()).one();
    world.inject(world.blue, &segment(SYN)).one();

    let other = Ip::new(blue(V4), green(V4), 17, udp(4001, 53, b"")).frame();
    let port = world.pipeline.detach(world.green).expect("green's port");
    for _ in 0..4 {
        world.inject(world.blue, &other).dropped(DropReason::PortUnattached);
    }
    world.pipeline.attach(port);
    assert_eq!(world.inject(world.blue, &other).forwarded, 1);
}

#[test]
fn a_long_segment_out_of_the_tunnel_is_cut_though_its_flow_was_refused() {
    let mut world = World::on_datagrams();
    world.pipeline.icmp_limit = crate::respond::RateLimiter::new(1, 1);
    let syn = |ttl, len| {
        Ip::new(bee(V4), blue(V4), 6, tcp_with(4000, 80, SYN, &vec![7; len])).df().ttl(ttl).by_b().frame()
    };
    for _ in 0..4 {
        let outcome = world.inject_overlay(&Envelope::from_b(), &syn(1, 0));
        assert_eq!(outcome.drops, [(DropReason::TtlExpired, 1)]);
    }
    assert!(world.counters.flow_hits.get() > 0);
    let outcome = world.inject_overlay(&Envelope::from_b(), &syn(64, 2000));
    assert_eq!((outcome.forwarded, outcome.sent.len(), outcome.drops), (1, 2, vec![]));
}

#[test]
fn who_it_comes_from_counts_and_not_only_what_it_says() {
    let mut world = World::on_datagrams();
    let spoofed = Ip::new(outside(V4), green(V4), 17, udp(4000, 53, b"question"));
    for _ in 0..4 {
        world.inject(world.blue, &spoofed.frame()).dropped(DropReason::SpoofedSource);
    }
    assert!(world.counters.flow_hits.get() > 0);
    // From outside it is no lie.
    world.inject(world.node, &spoofed.clone().by_node().frame()).one();
    let inner = spoofed.by_b();
    world.inject_overlay(&Envelope::from_b(), &inner.frame()).dropped(DropReason::InnerSourceMismatch);
}

#[test]
fn what_a_rule_wants_noted_is_asked_each_time() {
    let mut world = World::new();
    world.enforce(super::logged::compiled());
    let syn = Ip::new(blue(V4), green(V4), 6, tcp(4000, 81, SYN)).frame();
    for _ in 0..5 {
        world.inject(world.blue, &syn).dropped(DropReason::PolicyDeny);
    }
    let (lines, _) = world.denials.notes.drain();
    assert_eq!(lines.iter().filter(|line| line.action == Action::Deny).count(), 5);
}
