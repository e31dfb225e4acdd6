//! ClusterNetworkPolicies and their ancestors as text, beside a fixed cluster: read, put into the model, asked.
//!
//! No panic; problems lie within the text and every hole of a policy has one; the order of objects does not matter;
//! policies that are broken as a whole never let through what would not pass without them.

use std::net::IpAddr;

use policy_compiler::api::ClusterPolicy;
use policy_compiler::{
    Action, Compiler, Direction, Key, Object, OnInvalid, Options, Scope, SubjectId, parse,
};

const FIXED: &str = r#"
{apiVersion: v1, kind: Namespace, metadata: {name: n1, labels: {team: red}}}
---
{apiVersion: v1, kind: Node, metadata: {name: a, labels: {role: edge}}, spec: {podCIDRs: [10.42.0.0/24]}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: n1, labels: {app: a}}, spec: {nodeName: a, containers: [{ports: [{name: http, containerPort: 80}]}]}, status: {phase: Running, podIPs: [{ip: 10.42.0.5}, {ip: "fd00::5"}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: n2, labels: {app: b}}, spec: {nodeName: a}, status: {phase: Running, podIPs: [{ip: 10.42.0.6}, {ip: "fd00::6"}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: n2}, spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}}
"#;

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = parse("fuzzed.yaml", text);
    let lines = text.split(['\n', '\r']).count();
    for diagnostic in &parsed.diagnostics {
        assert!(diagnostic.origin.line as usize <= lines, "{diagnostic} beyond {lines} lines");
    }
    let policies: Vec<Object> =
        parsed.objects.into_iter().filter(|object| matches!(object, Object::ClusterPolicy(_))).collect();
    if policies.is_empty() {
        return;
    }
    let mut broken_as_a_whole = true;
    for policy in policies.iter().filter_map(as_policy) {
        assert!(!has_hole(policy) || policy.meta.has_errors(), "a hole without a reason: {policy:?}");
        broken_as_a_whole &= is_whole(policy);
    }
    let fixed = parse("fixed.yaml", FIXED).objects;
    let without = compiler(fixed.iter());
    let with = compiler(fixed.iter().chain(&policies));
    // Of two with one name the last counts, so only the ones that counted are turned round.
    let turned: Vec<Object> = with.objects().cloned().collect();
    assert_eq!(with.model(), compiler(turned.iter().rev()).model(), "the order of objects matters");

    let cluster = with.cluster(&Scope::All);
    let reference = with.reference(&Scope::All, &cluster);
    let bare = without.reference(&Scope::All, &cluster);
    for key in keys() {
        let answer = reference.judge(&key);
        if broken_as_a_whole && answer.action == Action::Allow {
            assert_eq!(
                bare.judge(&key).action,
                Action::Allow,
                "let through by what is broken: {key:?}\n{text}"
            );
        }
    }
}

fn compiler<'o>(objects: impl Iterator<Item = &'o Object>) -> Compiler {
    let mut compiler = Compiler::new(Options { on_invalid: OnInvalid::Isolate, ..Options::default() });
    for object in objects {
        compiler.upsert(object.clone());
    }
    compiler
}

fn as_policy(object: &Object) -> Option<&ClusterPolicy> {
    match object {
        Object::ClusterPolicy(policy) => Some(policy),
        _ => None,
    }
}

fn is_whole(policy: &ClusterPolicy) -> bool {
    policy.place.is_none() || policy.subject.is_none() || policy.unreadable.is_some()
}

fn has_hole(policy: &ClusterPolicy) -> bool {
    is_whole(policy) || policy.ingress.iter().chain(&policy.egress).any(|rule| rule.body.is_none())
}

/// A few: each pod with the other, its node, and outside.
fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    for (number, own) in ["10.42.0.6", "10.42.0.5", "fd00::6", "fd00::5"].into_iter().enumerate() {
        // Subjects are sorted by name: n1/web, n2/db.
        let subject = SubjectId(u32::from(number % 2 == 0));
        let remotes = match number {
            0 => ["10.42.0.5", "192.0.2.1", "198.51.100.1"],
            1 => ["10.42.0.6", "192.0.2.1", "198.51.100.1"],
            2 => ["fd00::5", "2001:db8::1", "fd00::99"],
            _ => ["fd00::6", "2001:db8::1", "fd00::99"],
        };
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for remote in remotes {
            for direction in Direction::ALL {
                let (src, dst) = match direction {
                    Direction::Egress => (address(own), address(remote)),
                    Direction::Ingress => (address(remote), address(own)),
                };
                for (protocol, dst_port) in [(6, 80), (6, 443), (17, 53), (132, 7), (1, 0x0800)] {
                    keys.push(Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port });
                }
            }
        }
    }
    keys
}
