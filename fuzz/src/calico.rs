//! Manifests with policies of Calico's beside a small cluster: read, turned into the model, judged by the reference.
//!
//! No panic; problems lie within the text; staged or not, every probe has a verdict, and what could not be read never
//! allows.

use policy_compiler::{
    Action, Compiler, Direction, Key, OnInvalid, Options, RuleKind, Scope, SubjectId, parse,
};
use std::net::IpAddr;

const STATE: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: red}}}\n---\n\
    {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: a, \
    containers: [{ports: [{name: http, containerPort: 80}]}]}, \
    status: {phase: Running, podIPs: [{ip: 10.42.0.5}, {ip: \"fd00:42::5\"}]}}\n---\n\
    {apiVersion: v1, kind: Pod, metadata: {name: api, namespace: other, labels: {app: api}}, spec: {nodeName: a}, \
    status: {phase: Running, podIPs: [{ip: 10.42.0.6}]}}\n";

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = parse("fuzzed.yaml", text);
    let lines = text.split(['\n', '\r']).count();
    for diagnostic in &parsed.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
        assert!(diagnostic.origin.line as usize <= lines, "{diagnostic} beyond {lines} lines");
    }
    for staged in [false, true] {
        let mut compiler =
            Compiler::new(Options { on_invalid: OnInvalid::Isolate, staged, ..Options::default() });
        let fixed = parse("fixed.yaml", STATE).objects;
        for object in parsed.objects.iter().cloned().chain(fixed) {
            compiler.upsert(object);
        }
        let cluster = compiler.cluster(&Scope::All);
        let reference = compiler.reference(&Scope::All, &cluster);
        for key in keys(&cluster.subjects.iter().map(|subject| subject.addresses.clone()).collect::<Vec<_>>())
        {
            let info = reference.judge(&key);
            let unreadable = matches!(info.kind, RuleKind::Unreadable { .. });
            assert!(!unreadable || info.action == Action::Deny, "allowed by what cannot be read: {key:?}");
        }
    }
}

/// A few probes of the first subjects.
fn keys(subjects: &[Vec<IpAddr>]) -> Vec<Key> {
    let remotes =
        ["10.42.0.5", "10.42.0.6", "198.51.100.1", "2001:db8::1"].map(|text| text.parse::<IpAddr>());
    let mut keys = Vec::new();
    for (number, addresses) in subjects.iter().take(3).enumerate() {
        let subject = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        for remote in remotes.iter().flatten() {
            let own = addresses.iter().find(|own| own.is_ipv4() == remote.is_ipv4());
            for direction in Direction::ALL {
                for (protocol, dst_port) in [(6, 80), (17, 53), (1, 0x0800), (58, 0x8000)] {
                    let own = *own.unwrap_or(remote);
                    let (src, dst) =
                        if direction == Direction::Egress { (own, *remote) } else { (*remote, own) };
                    keys.push(Key { subject, direction, src, dst, protocol, src_port: 40000, dst_port });
                }
            }
        }
    }
    keys
}
