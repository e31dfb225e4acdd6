//! Clusters with policies of every language and the mixtures that are permitted, generated: NetworkPolicy and
//! ClusterNetworkPolicy beside Calico's or beside Cilium's.
//!
//! Policies come from the generators of their languages. What is generated here is what they stand on: clusters of one
//! family or both, pods of every phase, some being deleted or on their node's network, service accounts, pods with
//! several containers; and the NetworkPolicies that are invalid.

use super::generate_cluster_policy::{self as cluster_policy, Version};
use super::{generate, generate_calico, generate_cilium};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Address families of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Dual,
}

/// Languages that stand in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mixture {
    Kubernetes,
    ClusterPolicies,
    Calico,
    CalicoAndClusterPolicies,
    Cilium,
    CiliumAndClusterPolicies,
}

/// A cluster with policies, as manifests.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) mixture: Mixture,
    /// As written: now and then an object of it is invalid.
    pub(crate) written: String,
    /// Without what makes objects invalid.
    pub(crate) mended: String,
    /// Where its probes begin.
    pub(crate) seed: u64,
}

/// Each of them is what the API server refuses.
pub(crate) const INVALID: [&str; 6] = [
    "podSelector: {}, ingress: [{ports: [{port: 90, endPort: 80}]}]",
    "podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.42.0.0/24, except: [10.43.0.0/16]}}]}]",
    "podSelector: {}, ingress: [{ports: [{port: http, endPort: 90}]}]",
    "podSelector: {matchLabels: {app: \"-\"}}",
    "podSelector: {matchExpressions: [{key: app, operator: Gt, values: [\"1\"]}]}",
    "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.42.0.0/24}, podSelector: {}}]}]",
];

fn surroundings(family: Family) -> String {
    let (v4, v6) = (family != Family::V6, family != Family::V4);
    let node = |name: &str, net: u8| {
        let mut cidrs = Vec::new();
        let mut addresses = Vec::new();
        if v4 {
            cidrs.push(format!("10.42.{net}.0/24"));
            addresses.push(format!("{{type: InternalIP, address: 192.0.2.{}}}", net + 1));
        }
        if v6 {
            cidrs.push(format!("\"fd00:42:0:{net}::/64\""));
            addresses.push(format!("{{type: InternalIP, address: \"2001:db8::{}\"}}", net + 1));
        }
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}}}, spec: {{podCIDRs: [{}]}}, \
             status: {{addresses: [{}]}}}}",
            cidrs.join(", "),
            addresses.join(", ")
        )
    };
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: n1, labels: {{team: red}}}}}}\n---\n\
         {{apiVersion: v1, kind: Namespace, metadata: {{name: n2, labels: {{team: blue}}}}}}\n---\n{}\n---\n{}",
        node("a", 0),
        node("b", 1)
    )
}

fn pod(index: usize, family: Family) -> impl Strategy<Value = String> {
    // Mostly an address of its own, now and then another pod's.
    let own = u8::try_from(index + 2).unwrap_or(9);
    let host = prop_oneof![30 => Just(own), 1 => 2_u8..=8];
    let place = (
        select(vec!["n1", "n2", "n3"]),
        select(vec!["a", "b"]),
        host,
        // Of a cluster with both families, few pods have one only.
        select(vec![Family::Dual, Family::Dual, Family::Dual, Family::V4, Family::V6]),
    );
    let life = (
        select(vec!["Running", "Running", "Running", "Running", "Pending", "Succeeded", "Failed"]),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    );
    let ports = (
        select(vec!["", "{name: http, containerPort: 80}", "{name: http, containerPort: 8080}"]),
        select(vec![
            "",
            "{name: dns, containerPort: 53, protocol: UDP}",
            "{name: dns, containerPort: 53, protocol: TCP}",
            "{name: dns, containerPort: 53, protocol: UDP}, {name: sig, containerPort: 7, protocol: SCTP}",
        ]),
        any::<bool>(),
    );
    let account = select(vec!["", "", "serviceAccountName: other, "]);
    (generate::labels(), place, life, ports, account).prop_map(
        move |(
            labels,
            (namespace, node, host, own),
            (phase, host_network, deleting),
            (http, dns, split),
            account,
        )| {
            let net = u8::from(node != "a");
            let has_other_than = |other: Family| family != other && (family != Family::Dual || own != other);
            let mut ips = Vec::new();
            if has_other_than(Family::V6) {
                let ip = format!("10.42.{net}.{host}");
                ips.push(if host_network { format!("192.0.2.{}", net + 1) } else { ip });
            }
            if has_other_than(Family::V4) {
                let ip = format!("fd00:42:0:{net}::{host}");
                ips.push(if host_network { format!("2001:db8::{}", net + 1) } else { ip });
            }
            // Before a pod runs, it may have no address yet.
            if phase == "Pending" && split {
                ips.clear();
            }
            let ips: Vec<String> = ips.iter().map(|ip| format!("{{ip: \"{ip}\"}}")).collect();
            let containers = match (http.is_empty() || dns.is_empty(), split) {
                (false, true) => format!("{{ports: [{http}]}}, {{ports: [{dns}]}}"),
                (false, false) => format!("{{ports: [{http}, {dns}]}}"),
                (true, _) => format!("{{ports: [{http}{dns}]}}"),
            };
            let deleting =
                if deleting { ", deletionTimestamp: \"2024-01-01T00:00:00Z\"" } else { "" };
            format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: pod-{index}, namespace: {namespace}, \
                 labels: {{{labels}}}{deleting}}}, spec: {{nodeName: {node}, {account}hostNetwork: {host_network}, \
                 containers: [{containers}]}}, status: {{phase: {phase}, podIPs: [{}]}}}}",
                ips.join(", ")
            )
        },
    )
}

/// A NetworkPolicy as written, and without what makes it invalid: nothing, where that is all of it.
fn network_policy(index: usize) -> impl Strategy<Value = (String, Option<String>)> {
    let valid = generate::policy(index).prop_map(|text| {
        // What was meant by a rule with a field that nobody knows is the rule without it.
        let meant = text.replace(", nonsense: 1", "").replace("{nonsense: 1}", "{}");
        let mended = (!text.contains("matchLabels: 5")).then_some(meant);
        (text, mended)
    });
    let invalid = select(INVALID.to_vec()).prop_map(move |spec| {
        let text = format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, \
             metadata: {{name: p-{index}, namespace: n1}}, spec: {{{spec}}}}}"
        );
        (text, None)
    });
    prop_oneof![20 => valid, 1 => invalid]
}

/// StagedKubernetesNetworkPolicy is NetworkPolicy under Calico's name.
fn staged(policy: &str) -> String {
    policy.replace(
        "apiVersion: networking.k8s.io/v1, kind: NetworkPolicy",
        "apiVersion: projectcalico.org/v3, kind: StagedKubernetesNetworkPolicy",
    )
}

type Texts = (Vec<String>, Vec<String>);

fn calico() -> impl Strategy<Value = Texts> {
    let policies = (0..4).map(generate_calico::policy).collect::<Vec<_>>();
    let kubernetes = prop::option::weighted(0.2, generate::policy(9));
    (generate_calico::surroundings(), policies, 1_usize..=4, kubernetes).prop_map(
        |(surroundings, policies, count, kubernetes)| {
            let texts: Vec<String> =
                [surroundings].into_iter().chain(policies.into_iter().take(count)).collect();
            let write = |of: fn(&str) -> String| texts.iter().map(|text| of(text)).collect::<Vec<_>>();
            let (mut written, mut mended) = (write(generate_calico::broken), write(generate_calico::mended));
            if let Some(policy) = kubernetes {
                written.push(staged(&policy));
                mended.push(staged(&policy));
            }
            (written, mended)
        },
    )
}

fn cilium() -> impl Strategy<Value = Texts> {
    let inner = |text: &str| vec![text.trim_start_matches("---\n").trim_end().to_owned()];
    generate_cilium::manifests()
        .prop_map(move |manifests| (inner(&manifests.written), inner(&manifests.mended)))
}

fn cluster_policies() -> impl Strategy<Value = Texts> {
    let policies = (
        vec(prop::bool::weighted(0.5), 5),
        (0..3).map(|index| cluster_policy::policy(index, Version::Cluster)).collect::<Vec<_>>(),
        cluster_policy::policy(0, Version::Admin),
        cluster_policy::policy(0, Version::Baseline),
    );
    policies.prop_map(|(wanted, mut policies, admin, baseline)| {
        policies.extend([admin, baseline]);
        let kept = policies.into_iter().zip(wanted).filter(|(_, wanted)| *wanted);
        let (written, mended): (Vec<String>, Vec<Option<String>>) =
            kept.map(|(policy, _)| (policy.text, policy.mended)).unzip();
        (written, mended.into_iter().flatten().collect())
    })
}

fn policies(mixture: Mixture) -> BoxedStrategy<Texts> {
    let join = |(mut first, second): (Texts, Texts)| {
        first.0.extend(second.0);
        first.1.extend(second.1);
        first
    };
    match mixture {
        Mixture::Kubernetes => Just(Texts::default()).boxed(),
        Mixture::ClusterPolicies => cluster_policies().boxed(),
        Mixture::Calico => calico().boxed(),
        Mixture::CalicoAndClusterPolicies => (cluster_policies(), calico()).prop_map(join).boxed(),
        Mixture::Cilium => cilium().boxed(),
        Mixture::CiliumAndClusterPolicies => (cluster_policies(), cilium()).prop_map(join).boxed(),
    }
}

/// One of them, with the policies of one mixture in it.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let family = select(vec![Family::V4, Family::V6, Family::Dual]);
    let mixture = select(vec![
        Mixture::Kubernetes,
        Mixture::ClusterPolicies,
        Mixture::Calico,
        Mixture::CalicoAndClusterPolicies,
        Mixture::Cilium,
        Mixture::CiliumAndClusterPolicies,
    ]);
    (family, mixture).prop_flat_map(|(family, mixture)| {
        let pods = (0..6).map(|index| pod(index, family)).collect::<Vec<_>>();
        let network = (0..3).map(network_policy).collect::<Vec<_>>();
        let network = (network, 0_usize..=3);
        (pods, network, policies(mixture), (any::<u64>(), prop::bool::weighted(0.3))).prop_map(
            move |(pods, (network, count), (written, mended), (seed, breaks))| {
                let network = &network[..count];
                let mut fixed = vec![surroundings(family)];
                fixed.extend(pods);
                // Cilium's bring a node of their own.
                if !written.iter().any(|text| text.contains("metadata: {name: c, labels: {zone")) {
                    fixed.push(cluster_policy::NODE.to_owned());
                }
                let join = |network: Vec<String>, rest: Vec<String>| {
                    let all: Vec<String> = fixed.iter().cloned().chain(network).chain(rest).collect();
                    format!("{}\n", all.join("\n---\n"))
                };
                let as_written = network.iter().map(|(written, _)| written.clone()).collect();
                let as_mended = network.iter().filter_map(|(_, mended)| mended.clone()).collect();
                let mended = join(as_mended, mended);
                // Most states are sound: what cannot be read hides what would have decided.
                let written = if breaks { join(as_written, written) } else { mended.clone() };
                Case { family, mixture, written, mended, seed }
            },
        )
    })
}
