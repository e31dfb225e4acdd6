//! What pods send arrives as it was sent whatever the interfaces on the way can do: each offload of the pod, of the
//! own underlay and of the peer's is turned off in turn (or on, where it is off by default, as GRO is on a veth), while
//! weir runs, and weir's own are configured away.
//!
//! TCP in both directions and both families at once, with digests at both ends, against weir and against the kernel,
//! through TAPs and veths. Of the four streams of a case two carry 64 MB and two 8; the next case swaps them.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::process::Signal;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Attach, End, Lab, NodeKind};
use harness::traffic::tcp;
use support::features::Features;
use support::{assert_books_balance, build, lab, must, turn_alone};

const LONG: u64 = 64 << 20;
const SHORT: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Offloads as `ethtool -K` calls them, and the features each stands for.
const CHECKSUM: Offload = ("tx", &["tx-checksum-ip-generic", "tx-checksum-sctp"]);
const TSO: Offload = (
    "tso",
    &[
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "tx-tcp-ecn-segmentation",
        "tx-tcp-mangleid-segmentation",
    ],
);
const GSO: Offload = ("gso", &["tx-generic-segmentation"]);
const GRO: Offload = ("gro", &["rx-gro"]);
const SCATTER: Offload = ("sg", &["tx-scatter-gather", "tx-scatter-gather-fraglist"]);
const RX: Offload = ("rx", &["rx-checksum"]);
const TUNNEL: Offload =
    ("tx-udp_tnl-segmentation", &["tx-udp_tnl-segmentation", "tx-udp_tnl-csum-segmentation"]);
const TRAINS: Offload = ("tx-udp-segmentation", &["tx-udp-segmentation"]);

type Offload = (&'static str, &'static [&'static str]);

const OF_PODS: [Offload; 6] = [CHECKSUM, TSO, GSO, GRO, SCATTER, RX];
const OF_UNDERLAYS: [Offload; 7] = [TUNNEL, TRAINS, TSO, GSO, GRO, CHECKSUM, RX];

/// Keys of `underlay` that change who segments and who sums.
const UNDERLAYS: [&str; 3] =
    ["  segmentation: software\n", "  checksum: false\n", "  segmentation: software\n  checksum: false\n"];

fn pods() -> Vec<PodPlan> {
    vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 12, "shop", "far", ("app", "far")),
    ]
}

/// Four streams at once. `turn` says which of them are the long ones.
fn streams(near: &End, far: &End, turn: usize, case: &str) {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for family in Family::ALL {
            for up in [true, false] {
                let long = (family == Family::V4) == (up == turn.is_multiple_of(2));
                let length = if long { LONG } else { SHORT };
                scope.spawn(move || {
                    let to = SocketAddr::new(far.address(family), 8080);
                    let transfer = if up { tcp::upload } else { tcp::download };
                    let transfer = transfer(&near.netns, to, length, PATIENCE);
                    let what = format!("{case}: {family:?}, {}", if up { "up" } else { "down" });
                    let transfer = transfer.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(transfer.bytes, length, "{what}");
                    assert!(transfer.is_intact(), "{what}: another digest");
                });
            }
        }
    });
    println!("{case}: {:.2} s", begin.elapsed().as_secs_f64());
}

/// One interface on the way, and the offloads to be changed.
struct Place<'a> {
    name: &'static str,
    netns: &'a Netns,
    offloads: &'static [Offload],
}

/// Turns each offload of a place the other way in turn; the names of those that could be.
fn with_each_changed(place: &Place<'_>, near: &End, far: &End, turn: &mut usize) -> BTreeSet<&'static str> {
    let mut changed = BTreeSet::new();
    let mut features = Features::of(place.netns, "eth0").unwrap();
    for (offload, names) in place.offloads {
        let before = features.active().unwrap();
        let is_on = |name: &&str| before.contains(*name);
        let (was, change) = if names.iter().any(is_on) { (true, "without") } else { (false, "with") };
        features.set(names, !was).unwrap();
        if features.active().unwrap() == before {
            println!("{} cannot be tried {change} {offload}", place.name);
            continue;
        }
        streams(near, far, *turn, &format!("{} {change} {offload}", place.name));
        *turn += 1;
        changed.insert(*offload);
        let were: Vec<&str> = names.iter().copied().filter(|name| is_on(name) == was).collect();
        features.set(&were, was).unwrap();
        assert_eq!(features.active().unwrap(), before, "{}: {offload} is as it was", place.name);
    }
    changed
}

/// What was dropped that should not have been: a retransmission would have made it good.
fn odd_drops(lab: &Lab) -> BTreeMap<String, u64> {
    // What hosts say of themselves goes nowhere; a sender faster than the way out meets its end, as in any router.
    let ours = ["bum_dropped", "neighbour_ignored", "control_over_overlay", "tx_congested", "starting"];
    let sides = Side::ALL.into_iter().filter(|side| lab.weir(*side).is_some());
    let drops = sides.flat_map(|side| {
        assert_books_balance(lab, side);
        support::status(lab, side).drops.into_iter().map(move |(name, count)| (side, name, count))
    });
    let odd = drops.filter(|(_, name, _)| !ours.contains(&name.as_str()));
    odd.map(|(side, name, count)| (format!("{}: {name}", side.name()), count)).collect()
}

fn everything_arrives_with_each_offload_changed(peer: NodeKind, attach: Attach) {
    let Some(_turn) = turn_alone() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, peer]).attach(attach).pods(pods()).policies(&[]));
    let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
    let mut turn = 0;
    streams(near, far, turn, "with all offloads");
    let underlay = |side| lab.topology().node(side).netns();
    let pod = Place { name: "the pod", netns: &near.netns, offloads: &OF_PODS };
    let own = Place { name: "the own underlay", netns: underlay(Side::A), offloads: &OF_UNDERLAYS };
    let theirs = Place { name: "the peer's underlay", netns: underlay(Side::B), offloads: &OF_UNDERLAYS };
    let of_pod = with_each_changed(&pod, near, far, &mut turn);
    let of_underlays = [own, theirs].map(|place| with_each_changed(&place, near, far, &mut turn));
    assert_eq!(odd_drops(&lab), BTreeMap::new());
    // A kernel that lets none of these be changed would make this test one of nothing.
    for offload in ["tx", "tso", "sg", "gro"] {
        assert!(of_pod.contains(offload), "{offload} of the pod: {of_pod:?}");
    }
    for changed in of_underlays {
        assert!(
            ["tx", "tso", "gro", TRAINS.0, TUNNEL.0].iter().all(|name| changed.contains(name)),
            "{changed:?}"
        );
    }
}

#[test]
fn everything_arrives_at_a_kernel_vtep_through_taps_with_each_offload_changed() {
    everything_arrives_with_each_offload_changed(NodeKind::Kernel, Attach::Tap);
}

#[test]
fn everything_arrives_at_a_kernel_vtep_through_veths_with_each_offload_changed() {
    everything_arrives_with_each_offload_changed(NodeKind::Kernel, Attach::Veth);
}

#[test]
fn everything_arrives_at_another_weir_through_taps_with_each_offload_changed() {
    everything_arrives_with_each_offload_changed(NodeKind::Weir, Attach::Tap);
}

#[test]
fn everything_arrives_at_another_weir_through_veths_with_each_offload_changed() {
    everything_arrives_with_each_offload_changed(NodeKind::Weir, Attach::Veth);
}

/// Node A's weir started with each of [`UNDERLAYS`]; the peer keeps its own.
fn everything_arrives_however_the_underlay_is_configured(peer: NodeKind, attach: Attach) {
    let Some(_turn) = turn_alone() else { return };
    let builder = lab().nodes([NodeKind::Weir, peer]).attach(attach).pods(pods()).policies(&[]);
    let mut lab = build(builder);
    let config = lab.weir(Side::A).map(harness::lab::node_weir::NodeWeir::config).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    for (turn, keys) in UNDERLAYS.iter().enumerate() {
        support::wait_until_closed(&[must(lab.pod("shop/near")), must(lab.pod("shop/far"))]);
        must(lab.end_weir(Side::A, Signal::Terminate));
        let changed = text.replace("underlay:\n", &format!("underlay:\n{keys}"));
        assert_ne!(changed, text);
        std::fs::write(&config, changed).unwrap();
        must(lab.start_weir(Side::A));
        let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
        let case: Vec<&str> = keys.lines().map(str::trim).collect();
        streams(near, far, turn, &case.join(", "));
        assert_eq!(odd_drops(&lab), BTreeMap::new(), "{case:?}");
    }
}

#[test]
fn everything_arrives_at_a_kernel_vtep_through_taps_however_the_underlay_is_configured() {
    everything_arrives_however_the_underlay_is_configured(NodeKind::Kernel, Attach::Tap);
}

#[test]
fn everything_arrives_at_another_weir_through_veths_however_the_underlay_is_configured() {
    everything_arrives_however_the_underlay_is_configured(NodeKind::Weir, Attach::Veth);
}
