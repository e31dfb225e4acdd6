//! What the kernel loses before weir can take it is shown within a second, also where nothing comes after it.

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use dataplane::config::UnderlayKind;
use dataplane::control::{PortStatus, Status};
use harness::lab::node_weir::NodeWeir;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Attach, LabBuilder, NodeKind};
use harness::traffic::blast::{Blast, Pace};
use harness::traffic::{Reach, ping};
use support::{build, lab, must, status, turn_alone, wait_until};

/// Far more than the receive buffers of two queues hold.
const DATAGRAMS: u64 = 200_000;

fn send_signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// Blasts at a stopped weir, and has it say what it lost of that at its port, and how soon. What the kernel took of the
/// sender is what arrived and what was lost.
fn losses_are_shown_within_a_second_though_nothing_follows(
    lab: LabBuilder,
    src: &str,
    dst: &str,
    port: &str,
) {
    let Some(_turn) = turn_alone() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::A, 11, "shop", "beside", ("app", "beside")),
        PodPlan::new(Side::B, 12, "shop", "far", ("app", "far")),
    ];
    let lab = build(lab.nodes([NodeKind::Weir, NodeKind::Kernel]).pods(pods).policies(&[]));
    support::wait_for_next_hops(&lab);
    let (src, dst) = (must(lab.pod(src)), must(lab.pod(dst)));
    let to = dst.address(Family::V4);
    assert_eq!(ping::probe(&src.netns, to, 56, Duration::from_secs(5)).unwrap(), Reach::Open);
    let port = |status: &Status| -> PortStatus {
        let found = status.ports.iter().find(|found| found.name == port);
        found.unwrap_or_else(|| panic!("{:?}", status.ports)).clone()
    };
    let before = port(&status(&lab, Side::A));
    let pid = lab.weir(Side::A).and_then(NodeWeir::pid).unwrap();

    send_signal(pid, "-STOP");
    let blast = Blast::start(&src.netns, SocketAddr::new(to, 9), 2, Pace::Flat).unwrap();
    wait_until("the datagrams to be sent", Duration::from_secs(30), || blast.sent() > DATAGRAMS);
    let sent = blast.finish().sent;
    println!("{sent} sent");
    // What is on its way from one processor to another arrives.
    std::thread::sleep(Duration::from_millis(100));
    send_signal(pid, "-CONT");
    let begin = Instant::now();
    must(
        lab.wait_for(Side::A, Duration::from_secs(2), "losses", |status| {
            port(status).rx_lost > before.rx_lost
        }),
    );
    println!("shown after {:?}", begin.elapsed());

    let counted = || {
        let now = port(&status(&lab, Side::A));
        (now.rx_packets - before.rx_packets, now.rx_lost - before.rx_lost)
    };
    let mut last = (0, 0);
    wait_until("the rest to be taken", Duration::from_secs(10), || {
        std::thread::sleep(Duration::from_millis(600));
        std::mem::replace(&mut last, counted()) == last
    });
    let (received, lost) = last;
    println!("{sent} sent, {received} received, {lost} lost");
    // A host says a few things of its own.
    assert!((sent..sent + 20).contains(&(received + lost)), "{sent} sent, {received} received, {lost} lost");
    support::assert_books_balance(&lab, Side::A);
}

#[test]
fn losses_of_a_veth_are_shown_within_a_second_though_nothing_follows() {
    let lab = lab().attach(Attach::Veth);
    losses_are_shown_within_a_second_though_nothing_follows(lab, "shop/near", "shop/beside", "pod10");
}

#[test]
fn losses_of_a_tap_are_shown_within_a_second_though_nothing_follows() {
    losses_are_shown_within_a_second_though_nothing_follows(lab(), "shop/near", "shop/beside", "eth0");
}

#[test]
fn losses_of_udp_sockets_are_shown_within_a_second_though_nothing_follows() {
    losses_are_shown_within_a_second_though_nothing_follows(lab(), "shop/far", "shop/near", "udp:8472");
}

#[test]
fn losses_of_a_ring_are_shown_within_a_second_though_nothing_follows() {
    let lab = lab().underlay(UnderlayKind::AfPacket).ring(true);
    losses_are_shown_within_a_second_though_nothing_follows(lab, "shop/far", "shop/near", "eth0");
}

#[test]
fn losses_of_packet_sockets_are_shown_within_a_second_though_nothing_follows() {
    let lab = lab().underlay(UnderlayKind::AfPacket);
    losses_are_shown_within_a_second_though_nothing_follows(lab, "shop/far", "shop/near", "eth0");
}

#[test]
fn losses_of_af_xdp_are_shown_within_a_second_though_nothing_follows() {
    let lab = lab().underlay(UnderlayKind::AfXdp);
    losses_are_shown_within_a_second_though_nothing_follows(lab, "shop/far", "shop/near", "eth0");
}
