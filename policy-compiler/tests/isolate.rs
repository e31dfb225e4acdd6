//! What is broken, where the rest is published all the same: it closes more than the sound object would, never less.
//!
//! Of an object with a repeated key, and of rules that ask about a node nobody could read.

mod support;

use policy_compiler::{Action, Compiler, Direction, Key, OnInvalid, Options, Scope, SubjectId};
use support::{Engines, compiler};

const CLUSTER: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: other}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: a}, status: {podIP: 10.42.0.5}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}}, spec: {nodeName: a}, status: {podIP: 10.42.0.6}}
---
{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: other}, spec: {nodeName: a}, status: {podIP: 10.42.0.7}}
---
{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDR: 10.42.0.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
";
const OUTSIDE: &str = "198.51.100.1";

fn isolating(texts: &[&str]) -> Compiler {
    let text = [&[CLUSTER], texts].concat().join("\n---\n");
    compiler(Options { on_invalid: OnInvalid::Isolate, ..Options::default() }, &[("state.yaml", &text)], true)
}

/// What all engines say of a pod and an address.
fn judge(compiler: &Compiler, pod: &str, direction: Direction, remote: &str) -> Action {
    let cluster = compiler.cluster(&Scope::All);
    let engines = Engines::new(compiler, &Scope::All, &cluster);
    let position = cluster.subjects.iter().position(|subject| subject.name.name == pod);
    let position = position.unwrap_or_else(|| panic!("no subject {pod}"));
    let own = cluster.subjects[position].addresses[0];
    let remote = remote.parse().unwrap_or_else(|_| panic!("{remote}"));
    let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
    let subject = SubjectId(u32::try_from(position).unwrap_or(u32::MAX));
    engines.judge(&Key { subject, direction, src, dst, protocol: 6, src_port: 49152, dst_port: 80 }).action
}

/// Ingress from outside to web, api, and the pod of another namespace.
fn three(compiler: &Compiler) -> String {
    let verdict = |pod| match judge(compiler, pod, Direction::Ingress, OUTSIDE) {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    ["web", "api", "client"].map(verdict).join(" ")
}

fn namespaced(api_version: &str, kind: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: p, namespace: shop}}, spec: {{{spec}}}}}"
    )
}

/// Everything is let in before any other tier but that of what cannot be placed.
const ADMITS: &str = "{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {name: admits}, \
                      spec: {tier: Admin, priority: 0, subject: {namespaces: {}}, \
                      ingress: [{action: Accept, from: [{namespaces: {}}]}]}}";

#[test]
fn a_policy_with_a_repeated_key_is_about_everyone_it_could_be_about() {
    let (web, api) = ("podSelector: {matchLabels: {app: web}}", "podSelector: {matchLabels: {app: api}}");
    for spec in [format!("{web}, {api}, ingress: [{{}}]"), format!("{web}, ingress: [{{}}], ingress: []")] {
        let policy = namespaced("networking.k8s.io/v1", "NetworkPolicy", &spec);
        assert_eq!(three(&isolating(&[&policy])), "deny deny allow", "{spec}");
        let staged = namespaced("projectcalico.org/v3", "StagedKubernetesNetworkPolicy", &spec);
        let text = format!("{CLUSTER}\n---\n{staged}");
        let options = Options { on_invalid: OnInvalid::Isolate, staged: true, ..Options::default() };
        assert_eq!(three(&compiler(options, &[("f", &text)], true)), "deny deny allow", "{spec}");
    }
    let cluster_wide = |spec: &str| {
        format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: p}}, \
             spec: {{priority: 5, {spec}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}]}}]}}}}"
        )
    };
    let (shop, other) = ("kubernetes.io/metadata.name: shop", "kubernetes.io/metadata.name: other");
    for spec in [
        format!(
            "tier: Admin, subject: {{namespaces: {{matchLabels: {{{shop}}}}}}}, subject: {{namespaces: {{matchLabels: {{{other}}}}}}}"
        ),
        "tier: Baseline, tier: Admin, subject: {namespaces: {}}".to_owned(),
    ] {
        let closed = isolating(&[ADMITS, &cluster_wide(&spec)]);
        assert_eq!(three(&closed), "deny deny deny", "{spec}");
        // Wherever it was to stand, it may have been to stand before what admits.
        assert_eq!(judge(&closed, "web", Direction::Ingress, "10.42.0.7"), Action::Deny, "{spec}");
    }
    let (web, api) = ("selector: \"app == 'web'\"", "selector: \"app == 'api'\"");
    for spec in [
        format!("{web}, {api}, ingress: [{{action: Allow}}]"),
        format!("{web}, tier: default, tier: security, ingress: [{{action: Allow}}]"),
    ] {
        let policy = namespaced("projectcalico.org/v3", "NetworkPolicy", &spec);
        let closed = isolating(&[ADMITS, &policy]);
        assert_eq!(three(&closed), "deny deny allow", "{spec}");
        assert_eq!(judge(&closed, "api", Direction::Ingress, "10.42.0.7"), Action::Deny, "{spec}");
    }
}

#[test]
fn a_tier_with_a_repeated_key_denies_the_subjects_of_its_policies() {
    for spec in [
        "order: 5, order: 2000000, defaultAction: Pass",
        "order: 5, defaultAction: Pass, defaultAction: Deny",
    ] {
        let tier = format!(
            "{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: t}}, spec: {{{spec}}}}}"
        );
        let policy = namespaced(
            "projectcalico.org/v3",
            "NetworkPolicy",
            "tier: t, selector: \"app == 'web'\", ingress: [{action: Allow}]",
        );
        assert_eq!(three(&isolating(&[&tier, &policy])), "deny allow allow", "{spec}");
    }
}

/// A node of which something cannot be read, at an address that it may or may not say.
fn broken_node(metadata: &str, status: &str) -> String {
    format!("{{apiVersion: v1, kind: Node, metadata: {{name: b, {metadata}}}, status: {{{status}}}}}")
}

#[test]
fn a_rule_about_nodes_is_unreadable_where_a_node_is() {
    let address = "addresses: [{type: InternalIP, address: 192.0.2.2}]";
    let unlabelled = broken_node("labels: {rack: 7, role: bad}", address);
    let unaddressed =
        broken_node("labels: {role: bad}", "addresses: [{type: InternalIP, address: 192.0.2.2.2}]");
    let repeated = broken_node("labels: {role: bad}", &format!("{address}, addresses: []"));
    let denying = |rack: &str| {
        format!(
            "{{apiVersion: policy.networking.k8s.io/v1alpha2, kind: ClusterNetworkPolicy, metadata: {{name: p}}, \
             spec: {{tier: Admin, priority: 5, subject: {{namespaces: {{}}}}, \
             egress: [{{action: Deny, to: [{{nodes: {{matchLabels: {{{rack}}}}}}}]}}]}}}}"
        )
    };
    let cilium = |sections: &str| {
        namespaced("cilium.io/v2", "CiliumNetworkPolicy", &format!("endpointSelector: {{}}, {sections}"))
    };
    let cilium_denying = |peers: &str| {
        // To deny isolates as well.
        cilium(&format!("egress: [{{toEntities: [all]}}], egressDeny: [{{{peers}}}]"))
    };
    let node = |labels: &str| broken_node(&format!("labels: {{{labels}}}"), address);
    let (good, bad, absent) = (node("rack: '8'"), node("role: bad"), String::new());
    let api_server = "{apiVersion: v1, kind: Node, metadata: {name: c, labels: {node-role.kubernetes.io/control-plane: ''}}}";
    let all = [&unlabelled, &unaddressed, &repeated];
    let rack = "toNodes: [{matchLabels: {rack: '7'}}]";
    // What each says of an address where nodes can be read, and that it is closed where they cannot.
    for (policy, sound, broken) in [
        (denying("rack: '7'"), &good, all),
        (cilium_denying(rack), &good, all),
        (cilium_denying("toEntities: [remote-node]"), &absent, [&unaddressed; 3]),
        (cilium_denying("toEntities: [host]"), &good, [&unaddressed; 3]),
        (cilium_denying("toEntities: [cluster]"), &absent, [&unaddressed; 3]),
        (format!("{}\n---\n{api_server}", cilium_denying("toEntities: [kube-apiserver]")), &good, all),
        // An allow is about nobody.
        (cilium("egress: [{toEntities: [world]}]"), &absent, [&unaddressed; 3]),
        (cilium("egress: [{toCIDR: [192.0.2.0/24]}]"), &absent, [&unaddressed; 3]),
        (cilium("egress: [{toNodes: [{matchLabels: {role: bad}}]}]"), &bad, all),
    ] {
        let verdict = |node: &str| judge(&isolating(&[node, &policy]), "web", Direction::Egress, "192.0.2.2");
        assert_eq!(verdict(sound), Action::Allow, "{policy}\n{sound}");
        for node in broken {
            assert_eq!(verdict(node), Action::Deny, "{policy}\n{node}");
        }
    }
    // Whose address the node does not say is not known, but which are pods' is.
    let compiler = isolating(&[&unaddressed, &cilium_denying(rack)]);
    assert_eq!(judge(&compiler, "web", Direction::Egress, "10.42.0.6"), Action::Allow);
    // Labels say nothing about who is outside, and a pod of the cluster is one whatever nodes are.
    let world = cilium("egress: [{toEntities: [world]}]");
    assert_eq!(judge(&isolating(&[&unlabelled, &world]), "web", Direction::Egress, OUTSIDE), Action::Allow);
    let cluster = cilium("egress: [{toEntities: [cluster]}]");
    let compiler = isolating(&[&unaddressed, &cluster]);
    assert_eq!(judge(&compiler, "web", Direction::Egress, "10.42.0.6"), Action::Allow);
}

#[test]
fn a_service_account_by_its_old_name_is_the_pods() {
    let objects = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bad, namespace: shop, labels: {trust: none}}}\n---\n\
                   {apiVersion: v1, kind: Pod, metadata: {name: old, namespace: shop}, spec: {nodeName: a, serviceAccount: bad}, \
                   status: {podIP: 10.42.0.8}}\n---\n\
                   {apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: p, namespace: shop}, \
                   spec: {serviceAccountSelector: \"trust == 'none'\", types: [Ingress], ingress: [{action: Deny}]}}";
    assert_eq!(judge(&isolating(&[objects]), "old", Direction::Ingress, OUTSIDE), Action::Deny);
}
