//! The short way is the long way, only shorter: two worlds, one without a flow cache, see the same traffic and the same
//! changes, and everything that leaves, every counter and every connection has to be equal after each step.

mod shots;

use proptest::prelude::*;

use super::packets::{self, Ip, SYN};
use super::world::*;
use crate::conntrack::ConntrackConfig;
use crate::drop_reason::DropReason;
use crate::pipeline::Role;
use crate::pipeline::flow_cache::FlowCache;
use crate::ports::Capabilities;
use crate::respond::RateLimiter;
use shots::{About, Kind, Oddity, Quote, Shot, Step, Way, connections, step, take};
use vxlan::mtu::Family;

fn worlds(plan: impl Fn() -> Plan) -> [World; 2] {
    let [mut short, mut long] = [plan(), plan()].map(World::with);
    short.pipeline.flow_hash = ahash::RandomState::with_seeds(1, 2, 3, 4);
    long.pipeline.flow_hash = ahash::RandomState::with_seeds(1, 2, 3, 4);
    long.pipeline.caching = false;
    for world in [&mut short, &mut long] {
        world.pipeline.identification.set(0xfffc);
        // So few that they run out.
        world.pipeline.icmp_limit = RateLimiter::new(1, 2);
    }
    [short, long]
}

fn plan(offloads: bool, datagrams: bool) -> Plan {
    let underlay = if datagrams { Role::UnderlayDatagram } else { Role::UnderlayFrame };
    let capabilities = Capabilities { checksum: offloads, tso: offloads, uso: offloads };
    Plan { underlay, capabilities, conntrack: ConntrackConfig::with_max_entries(24), ..Plan::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn both_ways_do_the_same(
        steps in proptest::collection::vec(step(), 1..40),
        offloads: bool,
        datagrams in prop_oneof![3 => Just(true), 1 => Just(false)],
        crowded: bool,
    ) {
        let [mut short, mut long] = worlds(|| plan(offloads, datagrams));
        if crowded {
            // Two sets, in which flows take each other's places all the time.
            short.pipeline.cache = FlowCache::holding(8);
        }
        for (number, step) in steps.iter().enumerate() {
            let (found, expected) = (take(&mut short, step), take(&mut long, step));
            prop_assert_eq!(found, expected, "step {}: {:?}", number, step);
            prop_assert_eq!(connections(&short), connections(&long), "step {}: {:?}", number, step);
            prop_assert_eq!(short.denials.rows(), long.denials.rows(), "step {}: {:?}", number, step);
        }
        prop_assert_eq!(long.counters.flow_hits.get(), 0);
        prop_assert_eq!(
            short.counters.flow_hits.get() + short.counters.flow_misses.get(),
            short.counters.received.get()
        );
    }
}

fn plain(way: Way, family: Family, kind: Kind) -> Shot {
    Shot { way, family, flow: 0, reply: false, kind, ttl: 64, tos: 0, size: 20, oddity: Oddity::None }
}

#[test]
fn the_third_packet_of_a_flow_is_known() {
    for way in [Way::Local, Way::Encap, Way::Decap, Way::Outside] {
        for family in FAMILIES {
            let kind = Kind::Udp;
            let [mut world, _] = worlds(|| plan(false, true));
            // node-b's IPv6 packets come in the IPv4 tunnel too.
            for hits in [0, 0, 1, 2] {
                take(&mut world, &Step::Shots(vec![plain(way, family, kind)]));
                assert_eq!(world.counters.flow_hits.get(), hits, "{way:?} {family:?} {kind:?}");
            }
        }
    }
}

#[test]
fn a_packet_that_may_open_a_connection_again_is_put_to_all_stages() {
    for way in [Way::Local, Way::Encap, Way::Decap, Way::Outside] {
        let [mut world, _] = worlds(|| plan(false, true));
        for _ in 0..4 {
            take(&mut world, &Step::Shots(vec![plain(way, Family::V4, Kind::Tcp(SYN))]));
        }
        assert_eq!(world.counters.flow_hits.get(), 0, "{way:?}");
    }
}

#[test]
fn nothing_known_outlives_a_generation_or_a_port() {
    for change in [Step::Policy(0), Step::Restart(false), Step::Mtu(1450), Step::Rewire] {
        let [mut world, _] = worlds(|| plan(false, true));
        let train = Step::Shots(vec![plain(Way::Local, Family::V4, Kind::Udp); 4]);
        take(&mut world, &train);
        take(&mut world, &train);
        let before = world.counters.flow_hits.get();
        assert!(before > 0);
        take(&mut world, &change);
        take(&mut world, &Step::Shots(vec![plain(Way::Local, Family::V4, Kind::Udp)]));
        assert_eq!(world.counters.flow_hits.get(), before, "{change:?}");
    }
}

#[test]
fn a_flood_of_new_flows_enters_nothing() {
    let [mut world, _] = worlds(|| plan(false, true));
    let known = Step::Shots(vec![plain(Way::Local, Family::V4, Kind::Udp); 3]);
    take(&mut world, &known);
    for port in 0..500_u16 {
        let flood =
            Ip::new(blue(Family::V4), outside(Family::V4), 17, packets::udp(port + 1000, 9, b"flood"));
        world.inject(world.blue, &flood.frame());
    }
    assert_eq!(world.counters.flow_hits.get(), 0, "none came twice");
}

#[test]
fn what_is_rejected_at_the_door_becomes_no_packet_of_the_stages() {
    let [v4, v6] = FAMILIES;
    let kinds = [
        (Way::Local, v4, Kind::Neighbour(135, About::Green, false), DropReason::ArpSpoof),
        (Way::Local, v4, Kind::Neighbour(135, About::Nobody, true), DropReason::NeighbourIgnored),
        (Way::Local, v6, Kind::Neighbour(135, About::Green, false), DropReason::NdSpoof),
        (Way::Local, v6, Kind::Neighbour(134, About::Green, true), DropReason::RogueControl),
        (Way::Local, v4, Kind::Dhcp(67, 68), DropReason::RogueControl),
        (Way::Local, v4, Kind::Message(5), DropReason::RogueControl),
        (Way::Local, v4, Kind::Error(Quote::Unheard), DropReason::IcmpUnrelated),
        (Way::Decap, v6, Kind::Error(Quote::Udp), DropReason::IcmpUnrelated),
        (Way::Decap, v4, Kind::Neighbour(135, About::Green, true), DropReason::ControlOverOverlay),
    ];
    for (way, family, kind, reason) in kinds {
        let [mut short, mut long] = worlds(|| plan(false, true));
        let step = Step::Shots(vec![plain(way, family, kind)]);
        for world in [&mut short, &mut long] {
            for outcome in take(world, &step) {
                outcome.dropped(reason);
            }
        }
        assert_eq!(
            [short, long].map(|world| world.pipeline.packets.capacity() > 0),
            [false, true],
            "{kind:?}"
        );
    }
}
