//! Refuse and isolate, conflicts, scopes, ceilings, and what a compilation reports.

use super::{Compiled, Compiler, Engine, OnInvalid, Options, Scope};
use crate::api::{Diagnostic, Kind, ObjectKey, parse};
use crate::classifier::Key;
use crate::cluster::{SubjectId, WaitReason};
use crate::model::{Action, Direction};
use std::fmt::Write;
use std::net::IpAddr;

const PODS: &str = "
{apiVersion: v1, kind: Node, metadata: {name: n, annotations: {flannel.alpha.coreos.com/public-ip: 192.0.2.1}}, spec: {podCIDR: 10.42.0.0/24},
 status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, uid: u-1, labels: {app: a}}, spec: {nodeName: n}, status: {podIP: 10.42.0.5}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x}, spec: {nodeName: n}, status: {podIPs: [{ip: 10.42.0.6}, {ip: 'fd00::6'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: far, namespace: x}, spec: {nodeName: m}, status: {podIP: 10.42.1.5}}
---
{apiVersion: v1, kind: Pod, metadata: {name: new, namespace: x}, spec: {nodeName: n}}
---
{apiVersion: v1, kind: Pod, metadata: {name: done, namespace: x}, spec: {nodeName: n}, status: {phase: Failed, podIP: 10.42.0.5}}
---
{apiVersion: v1, kind: Pod, metadata: {name: host, namespace: x}, spec: {nodeName: n, hostNetwork: true}, status: {podIP: 192.0.2.1}}
";

fn compiler(on_invalid: OnInvalid, texts: &[&str]) -> Compiler {
    let mut compiler = Compiler::new(Options { on_invalid, ..Options::default() });
    for text in texts {
        for object in parse("state.yaml", text).objects {
            compiler.upsert(object);
        }
    }
    compiler
}

fn compile(compiler: &Compiler, scope: &Scope) -> Compiled {
    match compiler.compile(scope) {
        Ok(compiled) => compiled,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn refusal(compiler: &Compiler) -> Vec<String> {
    match compiler.compile(&Scope::All) {
        Ok(compiled) => panic!("{compiled:?}"),
        Err(errors) => errors.iter().map(Diagnostic::to_string).collect(),
    }
}

/// The verdict for a remote address, and its reason in words.
fn ask(compiled: &Compiled, pod: &str, direction: Direction, remote: &str) -> (Action, String) {
    let Some(number) = compiled.cluster.subjects.iter().position(|subject| subject.name.name == pod) else {
        panic!("no subject {pod}");
    };
    let own = compiled.cluster.subjects[number].addresses[0];
    let Ok(remote) = remote.parse::<IpAddr>() else { panic!("{remote}") };
    let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
    let subject = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
    let key = Key { subject, direction, src, dst, protocol: 6, src_port: 49152, dst_port: 80 };
    let verdict = compiled.classifier.classify(&key);
    (verdict.action, compiled.rules.get(verdict.rule).to_string())
}

#[test]
fn a_scope_has_its_nodes_pods_as_subjects_and_everyone_as_peer() {
    let compiler = compiler(OnInvalid::Refuse, &[PODS]);
    let compiled = compile(&compiler, &Scope::Node("n".into()));
    let names: Vec<_> = compiled.cluster.subjects.iter().map(|subject| subject.name.to_string()).collect();
    assert_eq!(names, ["x/a", "x/b"]);
    assert_eq!(compiled.cluster.subjects[0].uid, "u-1");
    let waiting: Vec<_> =
        compiled.cluster.waiting.iter().map(|waiting| (waiting.name.name.as_str(), waiting.reason)).collect();
    assert_eq!(
        waiting,
        [("done", WaitReason::Finished), ("host", WaitReason::HostNetwork), ("new", WaitReason::NoAddress)]
    );
    assert_eq!(compiled.cluster.pod_addresses.len(), 4);
    let own: Vec<_> = compiled.cluster.own_node.iter().map(ToString::to_string).collect();
    assert_eq!(own, ["10.42.0.0", "10.42.0.1", "192.0.2.1"]);
    assert_eq!(compile(&compiler, &Scope::All).cluster.subjects.len(), 3);
}

#[test]
fn a_scope_that_no_object_knows_is_an_error_that_names_the_nodes() {
    for on_invalid in [OnInvalid::Refuse, OnInvalid::Isolate] {
        let compiler =
            compiler(on_invalid, &[&PODS.replace("metadata: {name: n,", "metadata: {name: node-1,")]);
        // A node that only pods speak of is known.
        assert_eq!(compile(&compiler, &Scope::Node("m".into())).cluster.subjects.len(), 1);
        let Err(problems) = compiler.compile(&Scope::Node("node1".into())) else { panic!("it compiled") };
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            ["cluster: no Node is named \"node1\", and no pod runs on it: expected m, n or node-1; \
              did you mean \"node-1\"?"]
        );
    }
    let empty = compiler(OnInvalid::Refuse, &[]);
    assert!(empty.compile(&Scope::Node("a".into())).is_err());
}

#[test]
fn a_pod_with_an_address_it_cannot_have_is_cut_off_and_the_address_stays_whose_it_is() {
    let pods = "
{apiVersion: v1, kind: Pod, metadata: {name: gateway, namespace: x}, spec: {nodeName: n}, status: {podIP: 10.42.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: node, namespace: x}, spec: {nodeName: m}, status: {podIP: 192.0.2.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: outside, namespace: x}, spec: {nodeName: n}, status: {podIPs: [{ip: 10.42.1.5}, {ip: 'fd00::5'}]}}
";
    let refused = refusal(&compiler(OnInvalid::Refuse, &[PODS, pods]));
    insta::assert_snapshot!(refused.join("\n"));
    let compiled = compile(&compiler(OnInvalid::Isolate, &[PODS, pods]), &Scope::All);
    assert_eq!((compiled.degraded.len(), compiled.cluster.misplaced.len()), (3, 3));
    let misplaced = "misplaced: 10.42.1.5 of x/outside is outside the podCIDRs of node n";
    assert_eq!(ask(&compiled, "outside", Direction::Egress, "8.8.8.8"), (Action::Deny, misplaced.to_owned()));
    // Its other address is its own, and cut off with it.
    assert_eq!(ask(&compiled, "a", Direction::Egress, "fd00::5"), (Action::Deny, misplaced.to_owned()));
    // The pod that has the address on another node goes on, and so does the node.
    assert_eq!(ask(&compiled, "a", Direction::Egress, "10.42.1.5").0, Action::Allow);
    assert!(compiled.cluster.conflicts.is_empty());
    for node in ["192.0.2.1", "10.42.0.1"] {
        assert!(ask(&compiled, "a", Direction::Ingress, node).1.starts_with("own node"), "{node}");
    }
}

#[test]
fn nodes_that_contradict_one_another_are_errors_that_name_both() {
    let node = |name: &str, rest: &str, public: &str, mac: &str| {
        format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}, annotations: {{\
             flannel.alpha.coreos.com/public-ip: {public}, \
             flannel.alpha.coreos.com/backend-data: '{{\"VtepMAC\":\"{mac}\"}}'}}}}, {rest}}}\n---\n"
        )
    };
    let address =
        |kind: &str, address: &str| format!("status: {{addresses: [{{type: {kind}, address: {address}}}]}}");
    let nodes = [
        node("a", "spec: {podCIDRs: [10.42.0.0/16, 'fd00:42::/64']}", "192.0.2.1", "02:00:00:00:00:01"),
        node("b", "spec: {podCIDRs: [10.42.3.0/24, 10.43.0.0/24]}", "192.0.2.2", "02:00:00:00:00:02"),
        node("c", "spec: {podCIDRs: [10.44.0.0/24, 'fd00:42::/64']}", "192.0.2.1", "02:00:00:00:00:02"),
        node("d", &address("InternalIP", "192.0.2.9"), "192.0.2.4", "02:00:00:00:00:04"),
        node("e", &address("InternalIP", "192.0.2.9"), "192.0.2.5", "02:00:00:00:00:05"),
        // Several nodes behind one address translator.
        node("f", &address("ExternalIP", "192.0.2.9"), "192.0.2.6", "02:00:00:00:00:06"),
    ]
    .concat();
    insta::assert_snapshot!(refusal(&compiler(OnInvalid::Refuse, &[&nodes])).join("\n"));
    let compiled = compile(&compiler(OnInvalid::Isolate, &[&nodes]), &Scope::Node("a".into()));
    assert_eq!((compiled.degraded.len(), compiled.cluster.nodes.len()), (5, 6));
}

#[test]
fn overlapping_pod_cidrs_are_found_as_a_look_at_every_pair_finds_them() {
    let mut random = 8472_u32;
    let mut next = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        random >> 16
    };
    for _ in 0..200 {
        let mut text = String::new();
        let mut cidrs: Vec<(ipnet::IpNet, usize)> = Vec::new();
        for node in 0..4 {
            let mut own = Vec::new();
            for _ in 0..next() % 3 {
                let Ok(cidr) = format!("10.0.{}.0/{}", next() % 16, 20 + next() % 5).parse::<ipnet::IpNet>()
                else {
                    panic!("a CIDR")
                };
                if !own.contains(&cidr.trunc()) {
                    own.push(cidr.trunc());
                }
            }
            cidrs.extend(own.iter().map(|cidr| (*cidr, node)));
            let own: Vec<_> = own.iter().map(ToString::to_string).collect();
            let _ = write!(
                text,
                "{{apiVersion: v1, kind: Node, metadata: {{name: n{node}}}, spec: {{podCIDRs: [{}]}}}}\n---\n",
                own.join(", ")
            );
        }
        let contradict = cidrs.iter().any(|(one, a)| {
            cidrs.iter().any(|(other, b)| a != b && (one.contains(other) || other.contains(one)))
        });
        let outcome = compiler(OnInvalid::Refuse, &[&text]).compile(&Scope::All);
        assert_eq!(outcome.is_err(), contradict, "{text}");
    }
}

#[test]
fn verdicts_say_why() {
    let policies = "
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: deny, namespace: x}, spec: {}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow, namespace: x}
spec:
  podSelector: {matchLabels: {app: a}}
  ingress:
  - from: [{ipBlock: {cidr: 198.51.100.0/24}}]
";
    let compiled = compile(&compiler(OnInvalid::Refuse, &[PODS, policies]), &Scope::All);
    let why = |pod, remote| ask(&compiled, pod, Direction::Ingress, remote).1;
    assert_eq!(why("a", "198.51.100.1"), "NetworkPolicy x/allow spec.ingress[0] (state.yaml:10:5)");
    assert_eq!(why("a", "198.51.101.1"), "default deny: isolated by NetworkPolicy x/allow, x/deny");
    assert_eq!(why("b", "198.51.100.1"), "default deny: isolated by NetworkPolicy x/deny");
    assert_eq!(why("b", "192.0.2.1"), "own node: a pod's node may always reach it");
    assert_eq!(ask(&compiled, "b", Direction::Egress, "192.0.2.1").1, "not isolated: no policy applies");
}

#[test]
fn invalid_objects_are_refused_all_at_once() {
    let invalid = "
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: x}, spec: {ingres: []}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: x, labels: {a: 1}}}
---
{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: x}, status: {podIP: 10.42.0.5}}
";
    let errors = refusal(&compiler(OnInvalid::Refuse, &[PODS, invalid]));
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert_eq!(
        errors[2],
        "state.yaml:6:1: Pod x/d: status.podIPs: 10.42.0.5 is also the address of Pod x/a (state.yaml:5:1): \
         expected an address that no other live pod shows"
    );
}

#[test]
fn an_unreadable_rule_denies_its_direction_and_nothing_else() {
    let policies = "
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a-all, namespace: x}, spec: {ingress: [{}], egress: [{}]}}
---
{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: z-bad, namespace: x},
 spec: {podSelector: {matchLabels: {app: a}}, policyTypes: [Ingress], ingress: [{}, {from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}}
";
    let compiled = compile(&compiler(OnInvalid::Isolate, &[PODS, policies]), &Scope::All);
    let (action, why) = ask(&compiled, "a", Direction::Ingress, "198.51.100.1");
    assert_eq!(action, Action::Deny);
    assert_eq!(why, "unreadable, so it denies: NetworkPolicy x/z-bad spec.ingress[1] (state.yaml:5:85)");
    assert_eq!(ask(&compiled, "a", Direction::Egress, "198.51.100.1").0, Action::Allow);
    assert_eq!(ask(&compiled, "b", Direction::Ingress, "198.51.100.1").0, Action::Allow);
    // The node still reaches its pod.
    assert_eq!(ask(&compiled, "a", Direction::Ingress, "192.0.2.1").0, Action::Allow);
    assert_eq!(compiled.degraded.len(), 1);
}

#[test]
fn an_unreadable_subject_isolates_the_namespace() {
    let policy =
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: bad, namespace: x},
                  spec: {podSelector: {matchLabels: [app]}, policyTypes: [Egress], egress: [{}]}}";
    let compiled = compile(&compiler(OnInvalid::Isolate, &[PODS, policy]), &Scope::All);
    for pod in ["a", "b", "far"] {
        for direction in Direction::ALL {
            assert_eq!(ask(&compiled, pod, direction, "198.51.100.1").0, Action::Deny, "{pod} {direction}");
        }
    }
}

#[test]
fn pods_in_conflict_are_cut_off_with_all_their_addresses() {
    let twin = "{apiVersion: v1, kind: Pod, metadata: {name: twin, namespace: x}, spec: {nodeName: m}, status: {podIP: 10.42.0.6}}";
    let compiled = compile(&compiler(OnInvalid::Isolate, &[PODS, twin]), &Scope::All);
    assert_eq!(compiled.cluster.conflicts.len(), 1);
    assert_eq!(compiled.degraded.len(), 1);
    let conflict = "address conflict: 10.42.0.6 is claimed by x/b, x/twin";
    for (pod, direction, remote) in [
        ("b", Direction::Egress, "198.51.100.1"),
        ("b", Direction::Ingress, "192.0.2.1"),
        ("twin", Direction::Ingress, "10.42.0.6"),
        ("a", Direction::Egress, "10.42.0.6"),
        ("a", Direction::Ingress, "fd00::6"),
    ] {
        assert_eq!(
            ask(&compiled, pod, direction, remote),
            (Action::Deny, conflict.to_owned()),
            "{pod} {remote}"
        );
    }
    assert_eq!(ask(&compiled, "a", Direction::Egress, "10.42.1.5").0, Action::Allow);
}

#[test]
fn an_unreadable_pod_is_cut_off() {
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: x, labels: {a: 1}}, status: {podIP: 10.42.0.9}}";
    let compiled = compile(&compiler(OnInvalid::Isolate, &[PODS, pod]), &Scope::All);
    assert_eq!(ask(&compiled, "c", Direction::Egress, "198.51.100.1").0, Action::Deny);
    let why = ask(&compiled, "a", Direction::Egress, "10.42.0.9");
    assert_eq!(why, (Action::Deny, "unreadable, so it is cut off: Pod x/c (state.yaml:1:75)".to_owned()));
}

#[test]
fn deletes_and_replacements_take_effect() {
    let mut compiler = compiler(OnInvalid::Refuse, &[PODS]);
    let key = ObjectKey { kind: Kind::Pod, namespace: "x".into(), name: "a".into() };
    assert!(compiler.delete(&key) && !compiler.delete(&key));
    assert_eq!(compile(&compiler, &Scope::All).cluster.subjects.len(), 2);
    for object in parse("f", "{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x}}").objects {
        compiler.upsert(object);
    }
    assert_eq!(compile(&compiler, &Scope::All).cluster.subjects.len(), 1);
}

#[test]
fn an_empty_cluster_compiles_and_knows_nobody() {
    for engine in Engine::ALL {
        let Ok(compiled) = Compiler::new(Options::default()).compile_with(&Scope::All, engine) else {
            panic!()
        };
        let (src, dst) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (subject, direction) = (SubjectId(0), Direction::Ingress);
        let key = Key { subject, direction, src, dst, protocol: 6, src_port: 1, dst_port: 1 };
        assert_eq!(compiled.classifier.classify(&key).action, Action::Deny);
        assert_eq!(compiled.rules.len(), 1 + 5);
    }
}

#[test]
fn tables_over_the_ceiling_are_refused_before_they_are_built() {
    let mut compiler = compiler(OnInvalid::Refuse, &[PODS]);
    compiler.options.memory_ceiling = 300 << 10;
    let errors = refusal(&compiler);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("at most 300 KiB"), "{}", errors[0]);
    compiler.options.memory_ceiling = 2 << 20;
    let compiled = compile(&compiler, &Scope::All);
    assert!(compiled.classifier.memory_bytes() < 2 << 20);
}

#[test]
fn a_pod_outside_the_cidrs_of_a_node_without_flannel_comes_by_a_change() {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.42.0.0/24}}";
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {nodeName: n}, status: {podIP: 10.99.0.5}}";
    let known = pod.replace("name: a", "name: c").replace("10.99.0.5", "10.42.0.9");
    let other = pod.replace("name: a", "name: b").replace("10.99.0.5", "10.42.0.1");
    let mut compiler = compiler(OnInvalid::Refuse, &[node, &known]);
    compile(&compiler, &Scope::All);
    for object in parse("state.yaml", pod).objects {
        compiler.upsert(object);
    }
    assert_eq!(compile(&compiler, &Scope::All).cluster.subjects.len(), 2);
    assert_eq!(compiler.full_builds(), 1);
    // The gateway's address is the node's all the same.
    for object in parse("state.yaml", &other).objects {
        compiler.upsert(object);
    }
    assert!(compiler.compile(&Scope::All).is_err());
}
