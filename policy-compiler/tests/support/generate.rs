//! Clusters and policies as manifests, generated: every corner that the selectors, peers and ports below can make.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use std::net::IpAddr;

const SEED: u64 = 8472;

/// A runner with a fixed seed, printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` change seed and cases.
pub(crate) fn runner(cases: u32) -> TestRunner {
    runner_beside(cases, 0)
}

/// One of several that run at once, each with a seed of its own.
pub(crate) fn runner_beside(cases: u32, number: u64) -> TestRunner {
    let mut config = Config { failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    let seed = if let RngSeed::Fixed(seed) = config.rng_seed { seed } else { SEED };
    config.rng_seed = RngSeed::Fixed(seed.wrapping_add(number));
    println!("seed {}, {} cases", config.rng_seed, config.cases);
    TestRunner::new(config)
}

/// Words that fit into flow YAML.
pub(crate) fn labels() -> impl Strategy<Value = String> {
    (select(vec!["", "app: a", "app: b", "app: c"]), select(vec!["", "tier: x", "tier: y", "tier: \"\""]))
        .prop_map(|(app, tier)| {
            [app, tier].into_iter().filter(|label| !label.is_empty()).collect::<Vec<_>>().join(", ")
        })
}

fn pod(index: usize) -> impl Strategy<Value = String> {
    // Mostly an address of its own, now and then another pod's, or (1) the gateway's.
    let own = u8::try_from(index + 2).unwrap_or(9);
    let addresses =
        (prop_oneof![12 => Just(own), 1 => 1_u8..=9], prop::bool::weighted(0.5), prop::bool::weighted(0.9));
    (
        select(vec!["n1", "n2", "n3"]),
        select(vec!["a", "b"]),
        labels(),
        addresses,
        select(vec!["Running", "Running", "Running", "Pending", "Succeeded", "Failed"]),
        prop::bool::weighted(0.1),
        select(vec!["", "80", "8080", "9000"]),
        select(vec!["", "UDP", "TCP"]),
    )
        .prop_map(move |(namespace, node, labels, (host, v6, v4), phase, host_network, http, dns)| {
            let net = u8::from(node != "a");
            let mut ips = Vec::new();
            if v4 {
                ips.push(format!("{{ip: 10.42.{net}.{host}}}"));
            }
            if v6 {
                ips.push(format!("{{ip: \"fd00:42:0:{net}::{host}\"}}"));
            }
            let mut ports = Vec::new();
            if !http.is_empty() {
                ports.push(format!("{{name: http, containerPort: {http}}}"));
            }
            if !dns.is_empty() {
                ports.push(format!("{{name: dns, containerPort: 53, protocol: {dns}}}"));
            }
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: pod-{index}, namespace: {namespace}, labels: {{{labels}}}}}, \
                 spec: {{nodeName: {node}, hostNetwork: {host_network}, containers: [{{ports: [{}]}}]}}, \
                 status: {{phase: {phase}, podIPs: [{}]}}}}",
                ports.join(", "),
                ips.join(", ")
            )
        })
}

fn selector() -> impl Strategy<Value = String> {
    select(vec![
        "{}",
        "{}",
        "",
        "{matchLabels: {app: a}}",
        "{matchLabels: {app: b, tier: x}}",
        "{matchExpressions: [{key: app, operator: In, values: [a, c]}]}",
        "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}",
        "{matchExpressions: [{key: tier, operator: Exists}]}",
        "{matchExpressions: [{key: tier, operator: DoesNotExist}]}",
        "{matchLabels: {tier: \"\"}}",
    ])
    .prop_map(str::to_owned)
}

fn namespace_selector() -> impl Strategy<Value = String> {
    select(vec![
        "{}",
        "{matchLabels: {team: red}}",
        "{matchLabels: {kubernetes.io/metadata.name: n3}}",
        "{matchExpressions: [{key: team, operator: NotIn, values: [red]}]}",
    ])
    .prop_map(str::to_owned)
}

fn ip_block() -> impl Strategy<Value = String> {
    select(vec![
        "{cidr: 0.0.0.0/0}",
        "{cidr: 0.0.0.0/0, except: [10.42.0.0/16]}",
        "{cidr: 10.42.0.0/24}",
        "{cidr: 10.42.0.0/24, except: [10.42.0.4/30, 10.42.0.1/32]}",
        "{cidr: 10.42.0.4/31}",
        "{cidr: 10.42.1.3/32}",
        "{cidr: 10.42.0.0/15, except: [10.42.0.0/24, 10.42.0.0/25]}",
        "{cidr: 198.51.100.0/24, except: [198.51.100.128/25]}",
        "{cidr: 192.0.2.0/24}",
        "{cidr: \"::/0\"}",
        "{cidr: \"fd00:42::/32\", except: [\"fd00:42:0:1::/64\"]}",
        "{cidr: \"fd00:42:0:1::4/126\"}",
    ])
    .prop_map(str::to_owned)
}

fn peer() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => selector().prop_map(|pods| format!("{{podSelector: {}}}", if pods.is_empty() { "{}".into() } else { pods })),
        2 => namespace_selector().prop_map(|namespaces| format!("{{namespaceSelector: {namespaces}}}")),
        2 => (namespace_selector(), selector())
            .prop_map(|(namespaces, pods)| format!("{{namespaceSelector: {namespaces}, podSelector: {pods}}}")),
        4 => ip_block().prop_map(|block| format!("{{ipBlock: {block}}}")),
    ]
}

fn port() -> impl Strategy<Value = String> {
    select(vec![
        "{}",
        "{protocol: UDP}",
        "{protocol: SCTP, port: 7}",
        "{port: 80}",
        "{port: http}",
        "{port: dns, protocol: UDP}",
        "{port: dns}",
        "{port: 8000, endPort: 9000}",
        "{port: 1, endPort: 65535}",
        "{port: 65535}",
        "{port: 53, protocol: UDP}",
    ])
    .prop_map(str::to_owned)
}

fn rules(peers_field: &'static str) -> impl Strategy<Value = String> {
    // A list may be empty or missing: both mean everything.
    let list = |field: &'static str, list: (bool, Vec<String>)| match list {
        (true, _) => String::new(),
        (false, list) => format!("{field}: [{}]", list.join(", ")),
    };
    let missing = || prop::bool::weighted(0.15);
    let rule = ((missing(), vec(peer(), 0..3)), (missing(), vec(port(), 0..3)), prop::bool::weighted(0.02))
        .prop_map(move |(peers, ports, broken)| {
            let mut fields = vec![list(peers_field, peers), list("ports", ports)];
            fields.extend(broken.then(|| "nonsense: 1".to_owned()));
            fields.retain(|field| !field.is_empty());
            format!("{{{}}}", fields.join(", "))
        });
    vec(rule, 0..3).prop_map(|rules| format!("[{}]", rules.join(", ")))
}

pub(crate) fn policy(index: usize) -> impl Strategy<Value = String> {
    let types = select(vec!["[]", "[Ingress]", "[Egress]", "[Ingress, Egress]"]);
    let broken = prop::bool::weighted(0.03);
    (select(vec!["n1", "n2", "n3"]), selector(), types, rules("from"), rules("to"), broken).prop_map(
        move |(namespace, selector, types, ingress, egress, broken)| {
            let selector = if broken { "{matchLabels: 5}".to_owned() } else { selector };
            format!(
                "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p-{index}, namespace: {namespace}}}, \
                 spec: {{podSelector: {selector}, policyTypes: {types}, ingress: {ingress}, egress: {egress}}}}}"
            )
        },
    )
}

const FIXED: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: n1, labels: {team: red}}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: n2, labels: {team: blue}}}
---
{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.42.0.0/24, "fd00:42:0:0::/64"]},
 status: {addresses: [{type: InternalIP, address: 192.0.2.1}, {type: InternalIP, address: "2001:db8::1"}]}}
---
{apiVersion: v1, kind: Node, metadata: {name: b}, spec: {podCIDRs: [10.42.1.0/24, "fd00:42:0:1::/64"]},
 status: {addresses: [{type: InternalIP, address: 192.0.2.2}]}}
"#;

/// Manifests of three namespaces, two nodes, seven pods and up to six policies, some of them invalid.
pub(crate) fn cluster() -> impl Strategy<Value = String> {
    let pods = (0..7).map(pod).collect::<Vec<_>>();
    let policies = (0..6).map(policy).collect::<Vec<_>>();
    (pods, policies, 0_usize..=6).prop_map(|(pods, policies, count)| {
        let documents: Vec<String> = pods.into_iter().chain(policies.into_iter().take(count)).collect();
        format!("{FIXED}---\n{}\n", documents.join("\n---\n"))
    })
}

/// Every address where something could begin or end, and some that are nobody's.
pub(crate) fn remotes() -> Vec<IpAddr> {
    let mut remotes: Vec<IpAddr> = Vec::new();
    for net in 0..2_u16 {
        for host in 0..=10_u8 {
            remotes.push(IpAddr::from([10, 42, net as u8, host]));
            remotes.push(IpAddr::from([0xfd00, 0x42, 0, net, 0, 0, 0, u16::from(host)]));
        }
    }
    for text in [
        "192.0.2.1",
        "192.0.2.2",
        "192.0.2.3",
        "198.51.100.5",
        "198.51.100.200",
        "10.43.255.255",
        "10.44.0.0",
        "0.0.0.0",
        "255.255.255.255",
        "2001:db8::1",
        "2001:db8::9",
        "::",
        "::ffff:10.42.0.5",
        "203.0.113.9",
    ] {
        remotes.extend(text.parse::<IpAddr>());
    }
    remotes
}

/// Protocols and ports that some rule could tell apart.
pub(crate) const L4: [(u8, u16); 16] = [
    (6, 0),
    (6, 7),
    (6, 53),
    (6, 80),
    (6, 81),
    (6, 7999),
    (6, 8080),
    (6, 9000),
    (6, 9001),
    (6, 65535),
    (17, 53),
    (17, 80),
    (132, 7),
    (132, 80),
    (1, 0x0800),
    (47, 0),
];
