//! Cilium's policies: read, turned into the model, and judged by the reference over a small cluster.
//!
//! No panic; problems lie within the text; a policy that could not be read at all, in namespace `n1` or clusterwide, leaves
//! no connection of the namespace's pods with the outside.

use std::net::IpAddr;

use policy_compiler::api::{CiliumPolicy, CiliumSubject};
use policy_compiler::{
    Action, Compiler, Direction, Key, Object, OnInvalid, Options, Scope, SubjectId, parse,
};

const CLUSTER: &str = "{apiVersion: v1, kind: Namespace, metadata: {name: n1, labels: {team: red}}}\n---\n\
    {apiVersion: v1, kind: Node, metadata: {name: a, labels: {zone: z}}, spec: {podCIDRs: [10.42.0.0/24]}, \
    status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}\n---\n\
    {apiVersion: v1, kind: Pod, metadata: {name: p1, namespace: n1, labels: {app: a}}, spec: {nodeName: a, \
    containers: [{ports: [{name: http, containerPort: 80}]}]}, status: {podIP: 10.42.0.5}}\n---\n\
    {apiVersion: v1, kind: Pod, metadata: {name: p2, namespace: n2, labels: {app: b}}, spec: {nodeName: b}, \
    status: {podIPs: [{ip: 10.42.1.5}, {ip: \"fd00:42::5\"}]}}\n";
const L4: [(u8, u16); 7] = [(6, 80), (6, 443), (17, 53), (132, 80), (1, 0x0800), (58, 0x8000), (112, 0)];

/// One input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let parsed = parse("fuzzed.yaml", text);
    let lines = text.split(['\n', '\r']).count();
    for diagnostic in &parsed.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
        assert!(diagnostic.origin.line as usize <= lines, "{diagnostic} beyond {lines} lines");
    }
    let mut compiler = Compiler::new(Options { on_invalid: OnInvalid::Isolate, ..Options::default() });
    for object in parse("cluster.yaml", CLUSTER).objects {
        compiler.upsert(object);
    }
    let mut closed = false;
    for object in parsed.objects {
        // Of other kinds there are other targets, and pods and nodes would change who is asked.
        match &object {
            Object::CiliumPolicy(policy) => closed |= closes(policy),
            Object::CiliumCidrGroup(_) | Object::NetworkPolicy(_) => {}
            _ => continue,
        }
        // The last of two objects with one key counts.
        closed &= !compiler.objects().any(|other| other.key() == object.key());
        compiler.upsert(object);
    }
    let cluster = compiler.cluster(&Scope::All);
    let reference = compiler.reference(&Scope::All, &cluster);
    let remotes: [IpAddr; 5] = [
        [192, 0, 2, 1].into(),
        [10, 42, 0, 5].into(),
        [10, 42, 1, 5].into(),
        [198, 51, 100, 9].into(),
        [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
    ];
    for (number, subject) in cluster.subjects.iter().enumerate() {
        for remote in remotes {
            let Some(&own) = subject.addresses.iter().find(|own| own.is_ipv4() == remote.is_ipv4()) else {
                continue;
            };
            for direction in Direction::ALL {
                let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
                for (protocol, dst_port) in L4 {
                    let subject = SubjectId(u32::try_from(number).expect("few"));
                    let key = Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port };
                    let verdict = reference.judge(&key);
                    let outside = remote == remotes[3] && own == remotes[1];
                    assert!(!(closed && outside && verdict.action == Action::Allow), "{key:?}: {verdict:?}");
                }
            }
        }
    }
}

/// Whether nobody can tell what the policy was to say about the pods of `n1`.
fn closes(policy: &CiliumPolicy) -> bool {
    let reaches = policy.namespace().is_none_or(|namespace| namespace == "n1");
    let lost = |subject: &CiliumSubject| *subject == CiliumSubject::Unreadable;
    reaches && (policy.unreadable.is_some() || policy.specs.iter().any(|spec| lost(&spec.subject)))
}
