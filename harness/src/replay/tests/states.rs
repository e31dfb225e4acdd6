//! Against another state, against a record, at another speed.

use super::*;
use crate::generate::{CaptureShape, ClusterShape};

const OPEN: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: db, namespace: shop}\n\
                    spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: [{}]}\n";

#[test]
fn another_state_shows_the_flows_whose_verdict_changes() {
    let new = Bench::new();
    let old = Bench::with(&[("cluster.yaml", &cluster()), ("policy.yaml", OPEN)]);
    let frames = [
        udp(WEB, DB, (4000, 53)),
        udp(WEB, DB, (4000, 99)),
        udp(WEB, DB, (4000, 99)),
        udp(OUTSIDE, NODE_A, (1, 1)),
        udp(FAR, DB, (4001, 80)),
    ];
    let options = options(&new.capture(&frames));
    let report = run(new.state(), Some(old.state()), &options, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(!report.agrees() && report.balance.adds_up);
    let against = report.against.unwrap();
    assert!(against.balance.adds_up);
    assert_eq!((against.packets_changed, against.flows_changed, against.packets_without_flow), (3, 2, 0));
    let change = &against.changes[0];
    assert_eq!((change.source.as_str(), change.destination.as_str()), ("shop/web", "shop/db"));
    assert_eq!(change.flow.verdict, "DROPPED");
    assert_eq!(change.flow.old_verdict.as_deref(), Some("FORWARDED"));
    assert!(change.old_rules.iter().any(|rule| rule.contains("spec.ingress[0]")), "{change:?}");
    assert!(change.flow.rules.iter().any(|rule| rule.contains("default deny")));

    let same = run(new.state(), Some(new.state()), &options, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(same.agrees());
}

#[test]
fn a_record_agrees_with_itself_and_not_with_another_policy() {
    let bench = Bench::new();
    let frames = [udp(WEB, DB, (4000, 53)), udp(WEB, DB, (4000, 99)), udp(FAR, OUTSIDE, (1, 1))];
    let mut options = options(&bench.capture(&frames));
    options.record = Some(bench.path("record.jsonl"));
    replay(&bench, &options);
    options.record = None;
    options.expect = Some(bench.path("record.jsonl"));
    let report = replay(&bench, &options);
    assert!(report.agrees());
    assert_eq!(report.expected.unwrap().same, 3);
    std::fs::write(bench.path("state/policy.yaml"), OPEN).unwrap();
    let report = replay(&bench, &options);
    assert!(!report.agrees());
    let expected = report.expected.unwrap();
    assert_eq!((expected.same, expected.different), (2, 1));
    assert_eq!(expected.first[0].expected, "DROPPED (policy_deny)");
}

/// A cluster with policies of all kinds, and a capture of its first node.
fn generated() -> (Bench, PathBuf) {
    let shape = ClusterShape { nodes: 3, pods_per_node: 20, namespaces: 4, policies: 40, seed: 1 };
    let bench = Bench::with(&[("cluster.yaml", &shape.manifests())]);
    let path = bench.path("made.pcapng");
    let state = NodeState::load(&bench.path("state"), "node-0", None).unwrap();
    let shape = CaptureShape { bytes: 1_000_000, denied: 0.4, seed: 7 };
    let file = std::fs::File::create(&path).unwrap();
    shape.write(&state, std::io::BufWriter::new(file), &mut |_| true).unwrap();
    (bench, path)
}

#[test]
fn verdicts_do_not_depend_on_the_speed() {
    let (bench, path) = generated();
    let at = |speed: Speed, name: &str| {
        let mut options = options(&path);
        options.speed = speed;
        options.record = Some(bench.path(name));
        let state = NodeState::load(&bench.path("state"), "node-0", None).unwrap();
        let report = run(state, None, &options, &AtomicBool::new(false), &mut |_| {}).unwrap();
        assert!(report.balance.adds_up && report.balance.dropped > 100 && report.balance.forwarded > 100);
        recorded(&bench.path(name))
    };
    let most = at(Speed::Max, "max");
    assert_eq!(at(Speed::Times(3.0), "x3"), most);
    assert_eq!(at(Speed::PerSecond(100_000.0), "pps"), most);
}
