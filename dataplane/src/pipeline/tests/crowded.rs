//! A flow cache with more flows than places: whoever comes to a place meanwhile, every packet goes its own way.

use super::packets::*;
use super::world::*;
use crate::conntrack::ConntrackConfig;
use vxlan::mtu::Family;

const V4: Family = Family::V4;

/// A datagram of the flow `number`: to green or to the world outside.
fn datagram(number: u16, to_green: bool) -> Vec<u8> {
    let dst = if to_green { green(V4) } else { outside(V4) };
    Ip::new(blue(V4), dst, 17, udp(number, 53, b"which way")).frame()
}

#[test]
fn a_place_that_changes_hands_within_a_batch_misleads_nobody() {
    let conntrack = ConntrackConfig { owner_quota: 512, ..ConntrackConfig::with_max_entries(512) };
    let mut world = World::with(Plan { conntrack, ..Plan::default() });
    let mut next = 1000;
    for _ in 0..40 {
        // The last of these are known; so many come that each set of places is full.
        let known: Vec<u16> = (next..next + 60).collect();
        for number in &known {
            world.inject_all(world.blue, &[datagram(*number, true), datagram(*number, true)]);
        }
        next += 60;
        let fresh: Vec<Vec<u8>> = (next..next + 60).map(|number| datagram(number, false)).collect();
        next += 60;
        world.inject_all(world.blue, &fresh);
        let batch: Vec<Vec<u8>> =
            fresh.into_iter().chain(known.iter().map(|number| datagram(*number, true))).collect();
        let outcome = world.inject_all(world.blue, &batch);
        assert_eq!((outcome.forwarded, outcome.drops.len()), (120, 0));
        for sent in &outcome.sent {
            let due = if ip(&sent.bytes).dst == green(V4) { world.green } else { world.node };
            assert_eq!(sent.port, due, "{:?}", ip(&sent.bytes));
        }
    }
    assert!(world.counters.flow_hits.get() > 1000);
}
