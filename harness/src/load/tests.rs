//! Frames of every shape, held to the shape: checked as a receiver would, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dataplane::buffer::{Batch, Frame, Pool};
use dataplane::ports::{Capabilities, Port, memory};
use proptest::prelude::*;
use vxlan::encap::{OuterChecksum, OuterConfig, TTL};
use vxlan::mac::Mac;
use vxlan::wire::checksum;
use vxlan::{Vni, decap};

use super::{Clock, Ends, Generator, Kind, Macs, Popularity, Rate, Shape, Sizes, Stamp, Tally, send};

fn ends(v6: bool, prefix: u8) -> Ends {
    let (src, dst) = if v6 {
        (format!("fd00:1::1:fff7/{}", 128 - prefix), "fd00:2::1")
    } else {
        (format!("198.18.0.77/{}", 32 - prefix), "198.19.0.1")
    };
    Ends {
        src_mac: Mac([2, 0, 0, 0, 0, 1]),
        dst_mac: Mac([2, 0, 0, 0, 0, 2]),
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
    }
}

fn outer(checksum: OuterChecksum, v6: bool) -> OuterConfig {
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        ("fd00:9::1".parse().unwrap(), "fd00:9::2".parse().unwrap())
    } else {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    };
    OuterConfig {
        source_mac: Mac([2, 0, 0, 0, 1, 1]),
        dest_mac: Mac([2, 0, 0, 0, 1, 2]),
        src,
        dst,
        source_port: 50_000,
        dest_port: 8472,
        vni: Vni::FLANNEL,
        tos: 0,
        ttl: TTL,
        checksum,
        identification: 0,
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let tunnel = prop_oneof![
        Just(None),
        any::<bool>().prop_map(|v6| Some(outer(OuterChecksum::Compute, v6))),
        Just(Some(outer(OuterChecksum::Zero, false))),
    ];
    let sizes = prop_oneof![(64_usize..=1518).prop_map(Sizes::Fixed), Just(Sizes::IMIX)];
    let kind = prop_oneof![Just(Kind::Flows), Just(Kind::RandomFlows), Just(Kind::SynFlood)];
    let popularity = prop_oneof![Just(Popularity::Uniform), (0.1..2.0).prop_map(Popularity::Zipf)];
    let macs = (any::<bool>(), any::<u32>(), 1_u32..50).prop_map(|(destination, first, count)| Macs {
        destination,
        first,
        count,
    });
    let macs = prop::option::of(macs);
    let numbers = (1_u32..200_000, 0.0..1e6, 0.0..1.0_f64, any::<u64>());
    let ends = (any::<bool>(), 0_u8..=12).prop_map(|(v6, prefix)| ends(v6, prefix));
    (ends, tunnel, sizes, kind, popularity, numbers, macs).prop_map(
        |(ends, tunnel, sizes, kind, popularity, (flows, new_flows, denied, seed), macs)| Shape {
            sizes,
            tunnel,
            kind,
            flows,
            popularity,
            new_flows,
            denied,
            macs,
            seed,
            ..Shape::between(ends)
        },
    )
}

/// A frame with this stamp in a datagram.
pub(super) fn datagram(stamp: Stamp) -> Vec<u8> {
    let mut frame = frames(&Shape::between(ends(false, 0)), 1).remove(0);
    let at = 14 + 20 + 8;
    frame[at..at + 12].copy_from_slice(&stamp.to_bytes());
    frame
}

fn frames(shape: &Shape, count: usize) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(shape, 3).unwrap();
    let mut frame = Frame::new();
    let write = |number: usize| {
        generator.write(&mut frame, number as u64 * 1_000);
        frame.bytes().to_vec()
    };
    (0..count).map(write).collect()
}

/// Addresses, protocol and transport bytes of an Ethernet frame whose checksums are all right.
fn opened(frame: &[u8]) -> (IpAddr, IpAddr, u8, Vec<u8>) {
    let packet = &frame[14..];
    let (src, dst, protocol, l4): (IpAddr, IpAddr, u8, &[u8]) = match frame[12..14] {
        [0x08, 0x00] => {
            assert_eq!(checksum::ipv4_header(&packet[..20]), 0, "IPv4 header");
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            let address = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap().into();
            (address(12), address(16), packet[9], &packet[20..length])
        }
        [0x86, 0xdd] => {
            let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            let address = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap().into();
            (address(8), address(24), packet[6], &packet[40..40 + length])
        }
        _ => panic!("{frame:02x?}"),
    };
    assert_eq!(checksum::transport(src, dst, protocol, l4), 0, "transport");
    (src, dst, protocol, l4.to_vec())
}

fn inner<'a>(shape: &Shape, frame: &'a [u8]) -> &'a [u8] {
    let Some(tunnel) = &shape.tunnel else { return frame };
    let parsed = decap::parse_outer(frame).unwrap();
    assert!(parsed.source_port >= 49_152);
    if tunnel.checksum == OuterChecksum::Compute {
        assert_eq!(opened(frame).2, 17);
    }
    &frame[shape.tunnel_bytes()..]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frames_parse_with_right_checksums_sizes_and_addresses(shape in shape()) {
        let sizes = shape.sizes.all();
        for (number, frame) in frames(&shape, 64).iter().enumerate() {
            let inner = inner(&shape, frame);
            let (src, dst, protocol, l4) = opened(inner);
            let size = sizes[number % sizes.len()];
            let least = if shape.kind == Kind::SynFlood { 64 } else { shape.least_size() };
            let least = if shape.kind == Kind::SynFlood && dst.is_ipv6() { 78 } else { least };
            prop_assert_eq!(inner.len() + 4, size.max(least));
            prop_assert!(shape.ends.src.contains(&src) && dst == shape.ends.dst);
            prop_assert!(frame.len() - 14 <= shape.mtu_needed().max(64 + shape.tunnel_bytes()));
            if let Some(macs) = shape.macs {
                let at = if macs.destination { 0 } else { 6 };
                let expected = macs.first.wrapping_add(number as u32 % macs.count).to_be_bytes();
                prop_assert_eq!(&inner[at + 2..at + 6], expected);
            }
            let dst_port = u16::from_be_bytes([l4[2], l4[3]]);
            prop_assert!(dst_port == shape.denied_port || (8000..8100).contains(&dst_port));
            if shape.kind == Kind::SynFlood {
                prop_assert_eq!((protocol, l4[13]), (6, 2));
            } else {
                let stamp = Stamp::find(frame, Generator::new(&shape, 3).unwrap().mark()).unwrap();
                prop_assert_eq!(stamp.denied, dst_port == shape.denied_port);
                prop_assert_eq!(stamp.sent, number as u32 * 1_000);
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_frames(shape in shape()) {
        prop_assert_eq!(frames(&shape, 50), frames(&shape, 50));
    }
}

fn flow(shape: &Shape, frame: &[u8]) -> (IpAddr, u16, u16) {
    let (src, _, _, l4) = opened(inner(shape, frame));
    (src, u16::from_be_bytes([l4[0], l4[1]]), u16::from_be_bytes([l4[2], l4[3]]))
}

#[test]
fn shares_and_flows_are_those_asked_for() {
    let shape = Shape { flows: 500, denied: 0.25, sizes: Sizes::IMIX, ..Shape::between(ends(false, 0)) };
    let frames = frames(&shape, 12_000);
    let denied = frames.iter().filter(|frame| flow(&shape, frame).2 == 7000).count();
    assert!(denied.abs_diff(3_000) < 250, "{denied}");
    let flows: BTreeSet<_> = frames.iter().map(|frame| flow(&shape, frame).1).collect();
    assert_eq!(flows.len(), 500);
    let mut sizes = BTreeMap::new();
    for frame in &frames {
        *sizes.entry(frame.len() + 4).or_insert(0) += 1;
    }
    assert_eq!(sizes, BTreeMap::from([(64, 7_000), (594, 4_000), (1518, 1_000)]));
}

#[test]
fn flows_are_begun_at_the_rate_asked_for() {
    let shape = Shape { flows: 10, new_flows: 100_000.0, ..Shape::between(ends(true, 0)) };
    // One frame a microsecond: every tenth.
    let frames = frames(&shape, 5_000);
    let flows: BTreeSet<_> = frames.iter().map(|frame| flow(&shape, frame)).collect();
    assert!(flows.len().abs_diff(510) <= 1, "{}", flows.len());
}

#[test]
fn random_flows_hardly_ever_come_twice_in_one_trial_or_another() {
    let shape = Shape { kind: Kind::RandomFlows, ..Shape::between(ends(false, 8)) };
    let mut flows = BTreeSet::new();
    for trial in 0..5 {
        let (mut generator, mut frame) = (Generator::new(&shape, trial).unwrap(), Frame::new());
        for _ in 0..1_000 {
            generator.write(&mut frame, 0);
            flows.insert(flow(&shape, frame.bytes()));
        }
    }
    assert!(flows.len() > 4_950, "{}", flows.len());
}

#[test]
fn shapes_that_cannot_be_sent_are_refused() {
    let good = Shape::between(ends(false, 0));
    let mut families = good.clone();
    families.ends.dst = "fd00::1".parse().unwrap();
    for shape in [
        families,
        Shape { flows: 0, ..good.clone() },
        Shape { denied: 1.5, ..good.clone() },
        Shape { denied: f64::NAN, ..good.clone() },
        Shape { popularity: Popularity::Zipf(-1.0), ..good.clone() },
        Shape { denied_port: 8001, ..good.clone() },
        Shape { dst_port: 65_500, ..good.clone() },
        Shape {
            tunnel: Some(OuterConfig {
                dst: "fd00::1".parse().unwrap(),
                ..outer(OuterChecksum::Zero, false)
            }),
            ..good
        },
    ] {
        assert!(Generator::new(&shape, 0).is_err(), "{shape:?}");
    }
}

#[test]
fn what_a_port_refuses_was_not_offered_and_what_it_took_arrives() {
    let (mut near, mut far) = memory::pair(100, Capabilities::default());
    let shape = Shape { flows: 3, ..Shape::between(ends(false, 0)) };
    let mut generator = Generator::new(&shape, 1).unwrap();
    let (clock, stop) = (Clock::start(), AtomicBool::new(false));
    let order = (Rate::Max, Duration::from_secs(9), 1_000);
    let offered = send(&mut near, &mut generator, order, &clock, &stop).unwrap();
    assert_eq!((offered.sent, offered.congested), (100, 900));
    let mut tally = Tally::new(generator.mark());
    let (mut pool, mut batch) = (Pool::new(200), Batch::new());
    assert_eq!(far.recv(&mut pool, &mut batch, 200).unwrap().frames, 100);
    for frame in &batch {
        tally.take(frame.bytes(), clock.now());
    }
    tally.take(batch[0].bytes(), clock.now());
    tally.take(&[0; 60], clock.now());
    assert_eq!((tally.received(), tally.allowed().duplicated, tally.foreign()), (100, 1, 1));
    assert_eq!(tally.latency().len(), 100);
}

#[test]
fn a_paced_second_offers_what_was_asked_for_or_says_what_it_left_out() {
    let (mut near, _far) = memory::pair(10_000, Capabilities::default());
    let mut generator = Generator::new(&Shape::between(ends(false, 0)), 1).unwrap();
    let order = (Rate::PerSecond(20_000.0), Duration::from_millis(200), u64::MAX);
    let offered = send(&mut near, &mut generator, order, &Clock::start(), &AtomicBool::new(false)).unwrap();
    assert_eq!(offered.sent + offered.left_out, 4_000, "{offered:?}");
    assert!(offered.seconds > 0.19, "{offered:?}");
}
