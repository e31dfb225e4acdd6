//! Fragments: policy for datagrams in pieces (threats 21 and 22; RFC 1858, 3128, 5722, 6946, 7112).

use std::time::Duration;

use vxlan::mtu::Family;

use super::outer::{Envelope, opened};
use super::packets::*;
use super::world::*;
use crate::drop_reason::DropReason;
use crate::fragments::FragConfig;

fn big(family: Family, dst_port: u16) -> Ip {
    Ip::new(blue(family), green(family), 17, udp(4000, dst_port, &[7; 8000]))
}

fn frames(packets: &[Ip]) -> Vec<Vec<u8>> {
    packets.iter().map(Ip::frame).collect()
}

fn dns_only(key: &policy_compiler::Key) -> bool {
    key.protocol == 17 && key.dst_port == 53
}

#[test]
fn a_datagram_in_fragments_passes_by_the_rule_for_its_ports() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            world.allow(dns_only);
            let pieces = frames(&big(family, 53).fragments(1400));
            let outcome = world.inject_all(world.blue, &pieces);
            assert_eq!((outcome.forwarded as usize, outcome.drops.len()), (pieces.len(), 0), "{outcome:?}");
            for (sent, piece) in outcome.sent.iter().zip(&pieces) {
                assert_eq!(sent.port, world.green);
                assert_eq!(sent.bytes[14..], piece[14..]);
            }
            let far = Ip::new(bee(family), green(family), 17, udp(4000, 53, &[7; 8000])).by_b();
            for piece in far.fragments(1400) {
                let outcome = world.inject_overlay(&Envelope::from_b(), &piece.frame());
                assert_eq!(outcome.one().port, world.green);
            }
            let away = Ip::new(blue(family), bee(family), 17, udp(4000, 53, &[7; 8000]));
            for piece in away.fragments(1376) {
                let outcome = world.inject(world.blue, &piece.frame());
                let (_, inner) = opened(outcome.one());
                assert_valid(inner);
            }
            assert_eq!(world.pipeline.connections().len(), 3);
        }
    }
}

/// Cilium #25709: out of order is not an attack.
#[test]
fn fragments_that_overtake_their_first_wait_for_it() {
    for family in FAMILIES {
        for one_batch in [true, false] {
            for mut world in World::on_both() {
                world.allow(dns_only);
                let mut pieces = frames(&big(family, 53).fragments(1400));
                pieces.rotate_left(1);
                let outcome = if one_batch {
                    world.inject_all(world.blue, &pieces)
                } else {
                    let (first, later) = pieces.split_last().expect("pieces");
                    for piece in later {
                        let outcome = world.inject(world.blue, piece);
                        assert!(outcome.sent.is_empty() && outcome.drops.is_empty(), "{outcome:?}");
                    }
                    world.inject(world.blue, first)
                };
                assert_eq!(outcome.sent.len(), pieces.len(), "{outcome:?}");
                assert_eq!(outcome.forwarded as usize, pieces.len());
                assert_eq!(
                    outcome.sent[0].bytes[14..],
                    pieces[pieces.len() - 1][14..],
                    "the first goes first"
                );
                assert_eq!(world.counters.held.get(), 0);
                world.pass(Duration::from_mins(1));
                assert_eq!(world.tick().drops, []);
            }
        }
    }
}

#[test]
fn fragments_from_the_tunnel_wait_for_their_first_too() {
    for family in FAMILIES {
        for mut world in World::on_both() {
            world.allow(dns_only);
            let packet = Ip::new(bee(family), green(family), 17, udp(4000, 53, &[7; 3000])).by_b();
            let mut pieces = frames(&packet.fragments(1400));
            pieces.reverse();
            let outcome = world.inject_overlay_all(&Envelope::from_b(), &pieces);
            assert_eq!((outcome.forwarded as usize, outcome.sent.len()), (pieces.len(), pieces.len()));
            assert!(outcome.sent.iter().all(|sent| sent.port == world.green && ip(&sent.bytes).ttl == 63));
        }
    }
}

#[test]
fn no_fragment_of_a_denied_datagram_passes() {
    for family in FAMILIES {
        for reversed in [false, true] {
            let mut world = World::new();
            world.allow(dns_only);
            let mut pieces = frames(&big(family, 54).fragments(1400));
            if reversed {
                pieces.reverse();
            }
            let outcome = world.inject_all(world.blue, &pieces);
            assert_eq!(outcome.drops, [(DropReason::PolicyDeny, pieces.len() as u64)]);
            assert!(outcome.sent.is_empty());
        }
    }
}

/// RFC 1858 section 3, RFC 3128, RFC 7112.
#[test]
fn a_first_fragment_without_its_transport_header_is_dropped() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = Ip::new(blue(family), green(family), 6, tcp_with(4000, 80, SYN, &[7; 64]));
        for len in [8, 16] {
            let tiny = packet.fragment_of(0, true, &packet.l4[..len]);
            world.inject(world.blue, &tiny.frame()).dropped(DropReason::FragmentTiny);
        }
        // Offset 1: it would write over the flags.
        let second = packet.fragment_of(8, true, &packet.l4[8..24]);
        world.inject(world.blue, &second.frame()).dropped(DropReason::FragmentTiny);
    }
}

#[test]
fn overlapping_fragments_kill_the_datagram() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = big(family, 53);
        let first = packet.fragment_of(0, true, &packet.quoted()[packet.quoted().len() - 8008..][..1400]);
        world.inject(world.blue, &first.frame()).one();
        let over = packet.fragment_of(1392, true, &[9; 800]);
        world.inject(world.blue, &over.frame()).dropped(DropReason::FragmentOverlap);
        let after = packet.fragment_of(2800, true, &[9; 800]);
        world.inject(world.blue, &after.frame()).dropped(DropReason::FragmentOverlap);
    }
}

/// A second first fragment that names an allowed port must not carry the later ones through.
#[test]
fn a_second_first_fragment_does_not_rewrite_the_port() {
    for family in FAMILIES {
        let mut world = World::new();
        world.allow(dns_only);
        let first = |port| {
            let packet = big(family, port);
            packet.fragment_of(
                0,
                true,
                &[&udp(4000, port, &[])[..4], &[0x1f, 0x48, 0, 0], &[7; 1392]].concat(),
            )
        };
        world.inject(world.blue, &first(54).frame()).dropped(DropReason::PolicyDeny);
        world.inject(world.blue, &first(53).frame()).dropped(DropReason::FragmentOverlap);
        let later = big(family, 53).fragment_of(1400, true, &[7; 1400]);
        let outcome = world.inject(world.blue, &later.frame());
        assert!(outcome.sent.is_empty() && outcome.forwarded == 0, "{outcome:?}");
    }
}

#[test]
fn a_later_fragment_alone_is_given_up_after_its_time() {
    for family in FAMILIES {
        let mut world = World::new();
        let pieces = big(family, 53).fragments(1400);
        let outcome = world.inject(world.blue, &pieces[1].frame());
        assert!(outcome.sent.is_empty() && outcome.drops.is_empty());
        assert_eq!(world.counters.held.get(), 1);
        world.pass(Duration::from_secs(29));
        assert_eq!(world.tick().drops, []);
        world.pass(Duration::from_secs(2));
        assert_eq!(world.tick().drops, [(DropReason::FragmentNoFirst, 1)]);
        assert_eq!(world.counters.held.get(), 0);
        let outcome = world.inject(world.blue, &pieces[0].frame());
        assert_eq!(outcome.one().port, world.green, "the first alone is judged as always");
    }
}

/// The identification alone says nothing: another source, protocol or way in is another datagram.
#[test]
fn a_fragment_of_another_source_protocol_or_port_is_not_taken_for_this_datagrams() {
    for family in FAMILIES {
        let mut world = World::new();
        let packet = big(family, 53);
        let pieces = packet.fragments(1400);
        world.inject(world.blue, &pieces[0].frame()).one();
        let strangers = [
            (world.green, Ip { src: green(family), dst: blue(family), ..pieces[1].clone() }.by_green()),
            (world.node, Ip { src: outside(family), ..pieces[1].clone() }.by_node()),
            (world.blue, Ip { dst: grey(family), ..pieces[1].clone() }),
        ];
        for (port, stranger) in strangers {
            let outcome = world.inject(port, &stranger.frame());
            assert!(outcome.sent.is_empty() && outcome.forwarded == 0, "{outcome:?}");
        }
        // In IPv6 the protocol is no part of it (RFC 8200 section 4.5).
        if family == Family::V4 {
            let other = Ip { protocol: 132, ..packet.clone() }.fragment_of(1400, true, &[7; 1400]);
            let outcome = world.inject(world.blue, &other.frame());
            assert!(outcome.sent.is_empty() && outcome.forwarded == 0);
        }
        world.inject(world.blue, &pieces[1].frame()).one();
    }
}

/// CVE-2018-5391: a hard bound, and what exceeds it is dropped.
#[test]
fn datagrams_beyond_the_bound_are_dropped() {
    for family in FAMILIES {
        let fragments = FragConfig { max_datagrams: 16, ..FragConfig::default() };
        let mut world = World::with(Plan { fragments, ..Plan::default() });
        let mut full = 0;
        for id in 0..32 {
            let packet = Ip { id, ..big(family, 53) };
            let outcome = world.inject(world.blue, &packet.fragments(1400)[0].frame());
            full += outcome.drops.iter().map(|(_, count)| count).sum::<u64>();
            assert!(outcome.drops.iter().all(|(reason, _)| *reason == DropReason::FragmentTableFull));
        }
        assert!(full >= 16, "{full} of 32 refused by a table of 16");
        let whole = Ip::new(blue(family), green(family), 17, udp(4000, 53, b"whole"));
        world.inject(world.blue, &whole.frame()).one();
    }
}

#[test]
fn fragments_held_beyond_the_bound_are_dropped() {
    for family in FAMILIES {
        let mut world = World::new();
        for id in 0..80 {
            let packet = Ip { id, ..big(family, 53) };
            world.inject(world.blue, &packet.fragments(1400)[1].frame());
        }
        assert!(world.counters.held.get() <= 64 / 2, "a port holds half of all at the most");
        assert!(world.counters.dropped(DropReason::FragmentTableFull) >= 48);
    }
}

/// RFC 6946: no fragment of anything.
#[test]
fn an_atomic_fragment_is_a_whole_packet() {
    let [_, v6] = FAMILIES;
    let mut world = World::new();
    world.allow(dns_only);
    for (port, passes) in [(53, true), (54, false)] {
        let packet = Ip::new(blue(v6), green(v6), 17, udp(4000, port, b"query"));
        let atomic = Ip { sum_l4: true, ..packet.fragment_of(0, false, &packet.l4) };
        let outcome = world.inject(world.blue, &atomic.frame());
        if passes {
            assert_eq!(outcome.one().port, world.green);
        } else {
            outcome.dropped(DropReason::PolicyDeny);
        }
    }
}

/// RFC 5722: an atomic fragment has nothing to do with a datagram of the same identification.
#[test]
fn an_atomic_fragment_does_not_meet_the_table() {
    let [_, v6] = FAMILIES;
    let mut world = World::new();
    let packet = big(v6, 53);
    let pieces = packet.fragments(1400);
    world.inject(world.blue, &pieces[0].frame()).one();
    let small = Ip::new(blue(v6), green(v6), 17, udp(4000, 53, b"query"));
    let atomic = Ip { sum_l4: true, ..small.fragment_of(0, false, &small.l4) };
    world.inject(world.blue, &atomic.frame()).one();
    world.inject(world.blue, &pieces[1].frame()).one();
}

/// felix #2063 in pieces.
#[test]
fn vxlan_to_a_node_is_recognised_in_fragments() {
    for family in FAMILIES {
        for reversed in [false, true] {
            let mut world = World::new();
            let packet = Ip::new(blue(family), node(family), 17, udp(4000, 8472, &[7; 3000]));
            let mut pieces = frames(&packet.fragments(1400));
            if reversed {
                pieces.reverse();
            }
            let outcome = world.inject_all(world.blue, &pieces);
            assert_eq!(outcome.drops, [(DropReason::PodTunnel, 3)], "{outcome:?}");
        }
    }
}

/// RFC 8200 section 4.5: headers behind the fragment header are the first fragment's alone.
#[test]
fn a_datagram_whose_extension_headers_are_fragmented_with_it_is_judged_by_its_ports() {
    let [_, v6] = FAMILIES;
    for reversed in [false, true] {
        for (port, passes) in [(53, true), (54, false)] {
            let mut world = World::new();
            world.allow(dns_only);
            let mut l4 =
                Ip::new(blue(v6), green(v6), 17, udp(4000, port, &[7; 2000])).quoted()[40..].to_vec();
            l4.splice(..0, [17, 0, 1, 4, 0, 0, 0, 0]);
            let whole = Ip::new(blue(v6), green(v6), 60, l4);
            let mut pieces = frames(&whole.fragments(1400));
            if reversed {
                pieces.reverse();
            }
            let outcome = world.inject_all(world.blue, &pieces);
            if passes {
                assert_eq!((outcome.forwarded, outcome.sent.len()), (2, 2), "{outcome:?}");
            } else {
                assert_eq!(outcome.drops, [(DropReason::PolicyDeny, 2)]);
            }
        }
    }
}

/// And a later fragment that claims another next header belongs to the same datagram all the same.
#[test]
fn another_next_header_does_not_hide_an_ipv6_overlap() {
    let [_, v6] = FAMILIES;
    let mut world = World::new();
    let packet = big(v6, 53);
    world.inject(world.blue, &packet.fragments(1400)[0].frame()).one();
    let disguised = Ip { protocol: 59, ..packet }.fragment_of(8, true, &[9; 64]);
    world.inject(world.blue, &disguised.frame()).dropped(DropReason::FragmentOverlap);
}
