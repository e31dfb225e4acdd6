//! What pods send arrives as it was sent: ping, TCP of 64 MB with equal digests in both directions, UDP from 1 to
//! 8,000 bytes, over IPv4 and IPv6, with a kernel VTEP and with weir on the other node, through TAPs and veths, over every
//! kind of underlay.
//!
//! The kernel's side, the underlay and the pods keep their default offloads.

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dataplane::config::UnderlayKind;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Attach, End, Lab, LabBuilder, NodeKind};
use harness::traffic::{Reach, ping, tcp, udp};
use support::{assert_books_balance, build, lab, must, turn_alone};

const BULK: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
const DATAGRAMS: [usize; 7] = [1, 100, 1400, 1472, 2000, 4000, 8000];

fn everything_arrives(peer: NodeKind, attach: Attach) {
    everything_arrives_in(lab().nodes([NodeKind::Weir, peer]).attach(attach));
}

/// The same over another underlay than UDP sockets.
fn everything_arrives_over(underlay: UnderlayKind, peer: NodeKind) {
    everything_arrives_in(lab().nodes([NodeKind::Weir, peer]).underlay(underlay));
}

/// The same over packet sockets that receive by a ring, and do not send by one unless the peer is the kernel.
fn everything_arrives_by_a_ring(peer: NodeKind) {
    let lab = lab().nodes([NodeKind::Weir, peer]).underlay(UnderlayKind::AfPacket);
    everything_arrives_in(lab.ring(true).transmit_ring(peer == NodeKind::Kernel));
}

fn everything_arrives_in(lab: LabBuilder) {
    let Some(_turn) = turn_alone() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::A, 11, "shop", "beside", ("app", "beside")),
        PodPlan::new(Side::B, 12, "shop", "far", ("app", "far")),
    ];
    let lab = build(lab.pods(pods).policies(&[]));
    support::wait_for_next_hops(&lab);
    let [near, beside, far] = ["shop/near", "shop/beside", "shop/far"].map(|name| must(lab.pod(name)));
    let before = Side::ALL.map(|side| drops_so_far(&lab, side));
    for family in Family::ALL {
        for (src, dst) in [(near, far), (far, near), (near, beside)] {
            small_packets(src, dst, family);
        }
        bulk(near, far, family, BULK);
        bulk(far, near, family, BULK / 8);
        bulk(near, beside, family, BULK / 8);
    }
    nothing_was_lost_on_the_way(&lab, &before);
}

fn small_packets(src: &End, dst: &End, family: Family) {
    let to = dst.address(family);
    for size in [0, 56, 1372, 3000, 8000] {
        let reach = ping::probe(&src.netns, to, size, PATIENCE).unwrap();
        assert_eq!(reach, Reach::Open, "ping of {size} bytes, {} -> {to}", src.name);
    }
    for size in DATAGRAMS {
        let reach = udp::echo(&src.netns, SocketAddr::new(to, 53), size, PATIENCE).unwrap();
        assert_eq!(reach, Reach::Open, "UDP of {size} bytes, {} -> {to}", src.name);
    }
}

fn bulk(src: &End, dst: &End, family: Family, length: u64) {
    let to = SocketAddr::new(dst.address(family), 8080);
    let up = tcp::upload(&src.netns, to, length, PATIENCE);
    let down = tcp::download(&src.netns, to, length, PATIENCE);
    for (direction, transfer) in [("up", up), ("down", down)] {
        let transfer = transfer.unwrap_or_else(|error| panic!("{} -> {to}, {direction}: {error}", src.name));
        assert_eq!(transfer.bytes, length, "{} -> {to}, {direction}", src.name);
        assert!(transfer.is_intact(), "{} -> {to}, {direction}: another digest", src.name);
        let megabits = transfer.bits_per_second() / 1e6;
        println!("{} -> {to}, {direction}: {length} bytes at {megabits:.0} Mbit/s", src.name);
    }
}

fn drops_so_far(lab: &Lab, side: Side) -> BTreeMap<String, u64> {
    if lab.weir(side).is_some() { support::status(lab, side).drops } else { BTreeMap::new() }
}

/// A drop that a retransmission made good is a defect all the same.
fn nothing_was_lost_on_the_way(lab: &Lab, before: &[BTreeMap<String, u64>; 2]) {
    for (side, before) in Side::ALL.into_iter().zip(before) {
        if lab.weir(side).is_none() {
            continue;
        }
        assert_books_balance(lab, side);
        let status = support::status(lab, side);
        println!("{}: {:?}, drops {:?}", side.name(), status.packets, status.drops);
        // What hosts multicast on their own (MLD reports, router solicitations) goes nowhere, and a sender that
        // is faster than the way out meets its end, as in any router.
        let ours = ["bum_dropped", "neighbour_ignored", "control_over_overlay", "tx_congested"];
        let odd: Vec<_> = status
            .drops
            .iter()
            .filter(|(name, count)| !ours.contains(&name.as_str()) && before.get(*name) != Some(count))
            .collect();
        assert!(odd.is_empty(), "{}: {odd:?}", side.name());
    }
}

#[test]
fn everything_arrives_at_a_kernel_vtep_through_taps() {
    everything_arrives(NodeKind::Kernel, Attach::Tap);
}

#[test]
fn everything_arrives_at_a_kernel_vtep_through_veths() {
    everything_arrives(NodeKind::Kernel, Attach::Veth);
}

#[test]
fn everything_arrives_at_another_weir_through_taps() {
    everything_arrives(NodeKind::Weir, Attach::Tap);
}

#[test]
fn everything_arrives_at_another_weir_through_veths() {
    everything_arrives(NodeKind::Weir, Attach::Veth);
}

#[test]
fn everything_arrives_at_a_kernel_vtep_over_packet_sockets() {
    everything_arrives_over(UnderlayKind::AfPacket, NodeKind::Kernel);
}

#[test]
fn everything_arrives_at_another_weir_over_packet_sockets() {
    everything_arrives_over(UnderlayKind::AfPacket, NodeKind::Weir);
}

#[test]
fn everything_arrives_at_a_kernel_vtep_by_a_ring() {
    everything_arrives_by_a_ring(NodeKind::Kernel);
}

#[test]
fn everything_arrives_at_another_weir_by_a_ring() {
    everything_arrives_by_a_ring(NodeKind::Weir);
}

#[test]
fn everything_arrives_at_a_kernel_vtep_over_af_xdp() {
    everything_arrives_over(UnderlayKind::AfXdp, NodeKind::Kernel);
}

#[test]
fn everything_arrives_at_another_weir_over_af_xdp() {
    everything_arrives_over(UnderlayKind::AfXdp, NodeKind::Weir);
}
