//! Policies of other languages on the wire: real connections between pods of two nodes follow Calico's, ClusterNetworkPolicy's
//! and Cilium's rules, and what Calico's `Log` asks for is in weir's log.

mod support;

use std::time::{Duration, Instant};

use harness::lab::plan::{Family, Side};
use harness::lab::scenario::{Service, once};
use harness::lab::{Lab, NodeKind};
use support::{build, lab, must, status, turn, wait_until};

/// How long an answer is waited for that a policy lets through, and one that it does not.
const PATIENCE: Duration = Duration::from_secs(3);
const SILENCE: Duration = Duration::from_millis(500);

const WEB: Service = Service::Tcp(8080);
const OTHER: Service = Service::Tcp(9090);
const DNS: Service = Service::Udp(53);
const PING: Service = Service::Ping;

/// Who, whom, for what, and whether an answer comes.
type Row = (&'static str, &'static str, Service, bool);

/// Pods of the frontend are logged and denied at the backends on 9090; all else of the shop is as before.
const CALICO: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: watch-backends}
spec:
  order: 10
  selector: app == 'backend'
  types: [Ingress]
  ingress:
  - {action: Log, protocol: TCP, source: {selector: app == 'frontend'}, destination: {ports: [9090]}}
  - {action: Deny, protocol: TCP, source: {selector: app == 'frontend'}, destination: {ports: [9090]}}
  - {action: Allow, source: {namespaceSelector: kubernetes.io/metadata.name == 'shop'}}
";

const BY_CALICO: &[Row] = &[
    ("shop/frontend", "shop/backend", WEB, true),
    ("shop/frontend-2", "shop/backend-2", WEB, true),
    ("shop/frontend", "shop/backend-2", OTHER, false),
    ("shop/frontend", "shop/backend", OTHER, false),
    ("shop/backend-2", "shop/backend", OTHER, true),
    ("default/intruder", "shop/backend-2", WEB, false),
    ("default/intruder", "shop/frontend", WEB, true),
];

/// Admin denies what the NetworkPolicy allows; Baseline denies what nobody speaks of; the NetworkPolicy stands between.
const CLUSTER_POLICIES: &str = "
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-intruders}
spec:
  tier: Admin
  priority: 10
  subject: {pods: {podSelector: {matchLabels: {app: backend}}}}
  ingress:
  - {action: Deny, from: [{namespaces: {matchLabels: {kubernetes.io/metadata.name: default}}}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: everybody, namespace: shop}
spec:
  podSelector: {matchLabels: {app: backend}}
  ingress: [{}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: default}
spec:
  tier: Baseline
  priority: 10
  subject: {namespaces: {}}
  ingress:
  - {action: Deny, from: [{namespaces: {}}]}
";

const BY_CLUSTER_POLICIES: &[Row] = &[
    ("default/intruder", "shop/backend", WEB, false),
    ("default/intruder-2", "shop/backend-2", WEB, false),
    ("shop/frontend", "shop/backend", WEB, true),
    ("shop/frontend-2", "shop/backend-2", OTHER, true),
    ("kube-system/dns", "shop/backend-2", PING, true),
    ("shop/backend-2", "shop/frontend", WEB, false),
    ("shop/frontend", "kube-system/dns", DNS, false),
];

/// A deny beats the allow beside it; pings are allowed by a rule of their own, and by no rule about ports.
const CILIUM: &str = "
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: backends, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: backend}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: frontend}}]
    toPorts: [{ports: [{port: \"8080\", protocol: TCP}, {port: \"9090\", protocol: TCP}]}]
  - fromEndpoints: [{matchLabels: {app: backend}}]
    icmps: [{fields: [{type: 8, family: IPv4}, {type: EchoRequest, family: IPv6}]}]
  ingressDeny:
  - fromEndpoints: [{matchLabels: {app: frontend}}]
    toPorts: [{ports: [{port: \"9090\", protocol: TCP}]}]
";

const BY_CILIUM: &[Row] = &[
    ("shop/frontend", "shop/backend", WEB, true),
    ("shop/frontend-2", "shop/backend-2", WEB, true),
    ("shop/frontend", "shop/backend", OTHER, false),
    ("shop/frontend", "shop/backend-2", OTHER, false),
    ("shop/frontend", "shop/backend", PING, false),
    ("shop/backend-2", "shop/backend", PING, true),
    ("shop/backend", "shop/backend-2", PING, true),
    ("shop/backend-2", "shop/backend", WEB, false),
    ("default/intruder", "shop/backend", WEB, false),
    ("default/intruder", "shop/frontend", WEB, true),
];

/// Puts these policies in the place of those before, and waits until both nodes have them.
fn enforce(lab: &Lab, policies: &str) {
    let before = Side::ALL.map(|side| status(lab, side).state.generation);
    lab.state().write("policies.yaml", policies).unwrap();
    for (side, number) in Side::ALL.into_iter().zip(before) {
        must(lab.wait_for_generation(side, number + 1, Duration::from_secs(5)));
    }
    // The worker takes a generation up with its next batch.
    std::thread::sleep(Duration::from_millis(200));
}

/// Asks all of it at once, in both families.
fn assert_reach(lab: &Lab, by: &str, rows: &[Row]) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = rows
            .iter()
            .flat_map(|row| Family::ALL.map(|family| (row, family)))
            .map(|(&(src, dst, service, wanted), family)| {
                let (from, to) = (must(lab.pod(src)), must(lab.pod(dst)).address(family));
                let patience = if wanted { PATIENCE } else { SILENCE };
                let ask = move || once(&from.netns, to, service, patience).unwrap();
                (format!("{src} -> {dst} ({to}), {service}"), wanted, scope.spawn(ask))
            })
            .collect();
        let answered = asked.into_iter().map(|(what, wanted, asked)| (what, wanted, asked.join().unwrap()));
        answered
            .filter(|(_, wanted, reach)| reach.is_open() != *wanted)
            .map(|(what, wanted, reach)| format!("{what}: {reach:?}, to be open: {wanted}"))
            .collect()
    });
    assert!(wrong.is_empty(), "{by}: {wrong:#?}");
}

#[test]
fn connections_follow_the_policies_of_every_language() {
    let Some(_turn) = turn() else { return };
    let lab = build(lab().nodes([NodeKind::Weir, NodeKind::Weir]).policies(&[]));
    let started = Instant::now();
    assert_reach(&lab, "no policy", &[("default/intruder", "shop/backend", OTHER, true)]);

    enforce(&lab, CALICO);
    assert_reach(&lab, "Calico", BY_CALICO);
    for (side, family) in Side::ALL.into_iter().flat_map(|side| Family::ALL.map(|family| (side, family))) {
        let name = if side == Side::A { "shop/backend-2" } else { "shop/backend" };
        let dst = must(lab.pod(name)).address(family).to_string();
        let told = || {
            let log = lab.weir(side).unwrap().log();
            log.lines().any(|line| {
                ["policy log", "deny", &dst, "9090", "GlobalNetworkPolicy watch-backends spec.ingress[0]"]
                    .iter()
                    .all(|word| line.contains(word))
            })
        };
        wait_until(&format!("the denied connection to {dst} in the log"), Duration::from_secs(3), told);
    }
    // What is allowed by a rule without Log is not told.
    let log = lab.weir(Side::A).unwrap().log();
    assert!(!log.lines().any(|line| line.contains("policy log") && line.contains("8080")), "{log}");

    enforce(&lab, CLUSTER_POLICIES);
    assert_reach(&lab, "ClusterNetworkPolicy", BY_CLUSTER_POLICIES);

    enforce(&lab, CILIUM);
    assert_reach(&lab, "Cilium", BY_CILIUM);
    for side in Side::ALL {
        support::assert_books_balance(&lab, side);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}
