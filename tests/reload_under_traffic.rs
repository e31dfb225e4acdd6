//! A thousand reloads, each with a changed policy, cost an unrelated allowed flow no packet.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dataplane::control::{Reply, Request};
use harness::lab::cluster_state::POLICIES;
use harness::lab::plan::{Family, PodPlan, Side};
use harness::lab::{Lab, NodeKind};
use harness::traffic::udp;
use support::{build, lab, must, turn_alone};

const RELOADS: u64 = 1000;
const CHANGING: &str = "policy-frontend-to-backend.yaml";

/// The flow that is counted is allowed by a policy of its own, so each generation judges it anew.
const UNRELATED: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: echo, namespace: other}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  ingress:
    - from: [{podSelector: {}}]
      ports: [{protocol: UDP, port: 53}]
  egress:
    - to: [{podSelector: {}}]
      ports: [{protocol: UDP, port: 53}]
";

/// Puts the next version of the policy in force on node A; how often it was looked at.
fn reload(lab: &Lab, number: u64) -> u64 {
    let (_, text) = POLICIES.iter().find(|(name, _)| *name == CHANGING).unwrap();
    let before = support::status(lab, Side::A).state.generation;
    lab.state().write(CHANGING, &text.replace("8080", &(8080 + number % 2 + 1).to_string())).unwrap();
    let start = Instant::now();
    let mut looks = 0;
    loop {
        looks += 1;
        match must(lab.weir(Side::A).unwrap().call(&Request::Reload {})) {
            Reply::Reloaded(generation) if generation > before => return looks,
            Reply::Reloaded(_) => {}
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() < Duration::from_secs(3), "reload {number} does not come into force");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_thousand_reloads_lose_no_packet_of_an_unrelated_flow() {
    let Some(_turn) = turn_alone() else { return };
    let pods = vec![
        PodPlan::new(Side::A, 10, "shop", "frontend", ("app", "frontend")),
        PodPlan::new(Side::B, 10, "shop", "backend", ("app", "backend")),
        PodPlan::new(Side::A, 20, "other", "client", ("app", "client")),
        PodPlan::new(Side::A, 21, "other", "local", ("app", "server")),
        PodPlan::new(Side::B, 20, "other", "remote", ("app", "server")),
    ];
    let mut policies = POLICIES.to_vec();
    policies.push(("policy-unrelated.yaml", UNRELATED));
    let lab = build(lab().nodes([NodeKind::Weir; 2]).pods(pods).policies(&policies));
    let client = must(lab.pod("other/client"));
    let flow = |to: &str, family, interval| {
        let to = SocketAddr::new(must(lab.pod(to)).address(family), 53);
        udp::EchoFlow::start(&client.netns, to, interval).unwrap()
    };
    let flows = [
        ("across the nodes, IPv4", flow("other/remote", Family::V4, Duration::from_micros(500))),
        ("within the node, IPv6", flow("other/local", Family::V6, Duration::from_millis(1))),
    ];
    let before = support::status(&lab, Side::A).state.generation;
    let start = Instant::now();
    let looks: u64 = (0..RELOADS).map(|number| reload(&lab, number)).sum();
    let elapsed = start.elapsed();
    let generations = support::status(&lab, Side::A).state.generation - before;
    assert!(generations >= RELOADS, "{generations} generations for {RELOADS} changes");
    let seconds = elapsed.as_secs_f64();
    println!("{generations} generations in {seconds:.1} s ({looks} looks)");
    for (name, flow) in flows {
        let tally = flow.finish();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = tally.sent as f64 / seconds;
        println!("{name}: {} sent at {rate:.0} a second, {} lost", tally.sent, tally.lost());
        assert_eq!((tally.lost(), tally.refused), (0, 0), "{name}: {tally:?}");
        assert!(rate > 200.0, "{name}: too slow to show anything: {rate}");
    }
    support::assert_books_balance(&lab, Side::A);
    support::assert_books_balance(&lab, Side::B);
}
