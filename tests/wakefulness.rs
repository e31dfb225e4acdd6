//! Processors stay awake while a request and its answer chase each other, and sleep as they like before, afterwards and
//! once weir is gone, however it went: what the kernel says of the bound on their latency.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use dataplane::sys::latency_qos::LatencyQos;
use dataplane::sys::process::Signal;
use dataplane::sys::scheduling;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Lab, NodeKind};
use harness::traffic::tcp::EchoFlow;
use support::{build, lab, must, status, turn_alone, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// The strictest bound that anybody has asked for, in microseconds.
fn bound() -> i32 {
    let bytes = fs::read("/dev/cpu_dma_latency").unwrap();
    i32::from_ne_bytes(bytes.try_into().unwrap())
}

/// Whether this can be seen here: the bound is the machine's, not a namespace's, and a container need not have it.
fn is_permitted() -> bool {
    let missing = match LatencyQos::open() {
        Ok(_) if bound() == 0 => "somebody else keeps the processors awake".to_owned(),
        Ok(_) => return true,
        Err(error) => format!("no right to keep processors awake: {error}"),
    };
    println!("skipped: {missing}");
    false
}

/// Weir on both nodes, a pod on each.
fn two_nodes(extra: &str) -> Lab {
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "near", ("app", "near")),
        PodPlan::new(Side::B, 10, "shop", "far", ("app", "far")),
    ];
    build(lab().nodes([NodeKind::Weir, NodeKind::Weir]).pods(pods).policies(&[]).extra_config(extra))
}

/// One request after the other, on so many connections that a machine of any size has enough restless workers.
fn chase(lab: &Lab) -> Vec<EchoFlow> {
    let (near, far) = (must(lab.pod("shop/near")), must(lab.pod("shop/far")));
    let to = SocketAddr::new(far.address(Family::V4), 8080);
    let flow = |_| EchoFlow::start(&near.netns, to, Duration::ZERO).unwrap();
    (0..scheduling::online_processors()).map(flow).collect()
}

#[test]
fn processors_stay_awake_for_a_chase_and_no_longer() {
    let Some(_turn) = turn_alone() else { return };
    if !is_permitted() {
        return;
    }
    let mut lab = two_nodes("");
    wait_until("silence", PATIENCE, || bound() > 0);
    let flows = chase(&lab);
    wait_until("processors that stay awake", PATIENCE, || bound() == 0);
    let restless = |side| status(&lab, side).workers.iter().any(|worker| worker.restless);
    wait_until("a restless worker", PATIENCE, || Side::ALL.into_iter().any(restless));
    drop(flows);
    let took = wait_until("processors that may sleep", PATIENCE, || bound() > 0);
    println!("{took:?} after the last answer processors may sleep");

    let flows = chase(&lab);
    wait_until("processors that stay awake again", PATIENCE, || bound() == 0);
    for side in Side::ALL {
        must(lab.end_weir(side, Signal::Kill));
    }
    assert!(bound() > 0, "a weir that was killed keeps nothing awake");
    drop(flows);
}

#[test]
fn never_is_never() {
    let Some(_turn) = turn_alone() else { return };
    if !is_permitted() {
        return;
    }
    let lab = two_nodes("scheduling: {cpu_latency_qos: never}\n");
    let flows = chase(&lab);
    wait_until("answers", PATIENCE, || flows.iter().map(EchoFlow::returned).sum::<u64>() > 2_000);
    assert!(bound() > 0);
    assert!(
        Side::ALL.into_iter().all(|side| status(&lab, side).workers.iter().all(|worker| !worker.restless))
    );
}
