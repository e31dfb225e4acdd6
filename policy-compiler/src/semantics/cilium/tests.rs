//! What is not known, not there or not readable fails closed, and says so.

use super::{policies, problems};
use crate::api::{Object, parse};
use crate::classifier::{Key, RuleKind};
use crate::compiler::{Compiler, OnInvalid, Options, Scope};
use crate::model::{Action, Applies, Direction, Order};
use crate::semantics::Context;
use std::net::IpAddr;

const STATE: &str = "
{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDR: 10.42.0.0/24}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x, labels: {app: a}}, spec: {nodeName: n}, status: {podIP: 10.42.0.5}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: x, labels: {app: b}}, spec: {nodeName: n}, status: {podIP: 10.42.0.6}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: y, labels: {app: a}}, spec: {nodeName: n}, status: {podIP: 10.42.0.7}}
---
";

fn policy(kind: &str, rest: &str) -> String {
    let namespace = if kind == "CiliumNetworkPolicy" { ", namespace: x" } else { "" };
    format!("{{apiVersion: cilium.io/v2, kind: {kind}, metadata: {{name: p{namespace}}}, {rest}}}\n")
}

fn namespaced(rest: &str) -> String {
    policy("CiliumNetworkPolicy", rest)
}

/// Whether the pod may connect to (or be connected to from) outside on TCP 80, and whether that is because
/// something could not be read; broken parts are isolated.
fn ask(text: &str, pod: &str, direction: Direction) -> (Action, bool) {
    let options = Options { on_invalid: OnInvalid::Isolate, ..Options::default() };
    let mut compiler = Compiler::new(options);
    for object in parse("state.yaml", &format!("{STATE}{text}")).objects {
        compiler.upsert(object);
    }
    let cluster = compiler.cluster(&Scope::All);
    let Some(number) = cluster.subjects.iter().position(|subject| subject.name.name == pod) else {
        panic!("no pod {pod}");
    };
    let (own, remote) = (cluster.subjects[number].addresses[0], IpAddr::from([198, 51, 100, 9]));
    let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
    let subject = crate::cluster::SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
    let key = Key { subject, direction, src, dst, protocol: 6, src_port: 49152, dst_port: 80 };
    let info = compiler.reference(&Scope::All, &cluster).judge(&key);
    (info.action, matches!(info.kind, RuleKind::Unreadable { .. }))
}

const UNREAD: (Action, bool) = (Action::Deny, true);
const ALLOWED: (Action, bool) = (Action::Allow, false);
const DENIED: (Action, bool) = (Action::Deny, false);

#[test]
fn an_unreadable_subject_is_everybody_in_reach() {
    let bodies = [
        "spec: {endpointSelector: {matchlabels: {app: a}}, egress: [{toEntities: [all]}]}",
        "spec: {egress: [{toEntities: [all]}]}",
        "spec: 5",
        "specs: {}",
        "spce: {endpointSelector: {matchLabels: {app: a}}}",
    ];
    for body in bodies {
        for direction in Direction::ALL {
            assert_eq!(ask(&namespaced(body), "a", direction), UNREAD, "{body}");
            assert_eq!(ask(&namespaced(body), "b", direction), UNREAD, "{body}");
            assert_eq!(ask(&namespaced(body), "c", direction), ALLOWED, "{body}");
            let clusterwide = policy("CiliumClusterwideNetworkPolicy", body);
            assert_eq!(ask(&clusterwide, "c", direction), UNREAD, "{body}");
        }
    }
}

#[test]
fn an_unreadable_rule_denies_its_direction_to_its_subject() {
    let rules = "[{toEntities: [all]}, {toServices: [{k8sService: {serviceName: db, namespace: x}}]}]";
    for section in ["egress", "egressDeny"] {
        let text = namespaced(&format!(
            "spec: {{endpointSelector: {{matchLabels: {{app: a}}}}, {section}: {rules}}}"
        ));
        assert_eq!(ask(&text, "a", Direction::Egress), UNREAD);
        assert_eq!(ask(&text, "a", Direction::Ingress), ALLOWED);
        assert_eq!(ask(&text, "b", Direction::Egress), ALLOWED);
    }
    let field = namespaced("spec: {endpointSelector: {matchLabels: {app: a}}, ingess: []}");
    assert_eq!(ask(&field, "a", Direction::Egress), UNREAD);
    assert_eq!(ask(&field, "b", Direction::Egress), ALLOWED);
}

#[test]
fn a_host_policy_is_refused_but_says_nothing_about_pods() {
    let text = policy("CiliumClusterwideNetworkPolicy", "spec: {nodeSelector: {}, ingress: [{}]}");
    assert!(parse("p.yaml", &text).diagnostics[0].is_error());
    assert_eq!(ask(&text, "a", Direction::Ingress), ALLOWED);
    // In a namespaced policy it can only be a mistake.
    let text = namespaced("spec: {nodeSelector: {}, ingress: [{}]}");
    assert_eq!(ask(&text, "a", Direction::Ingress), UNREAD);
}

#[test]
fn a_group_nobody_knows_allows_nothing_and_denies_all_it_could_hold() {
    let rule = "[{toCIDRSet: [{cidrGroupRef: g}]}]";
    let allow = namespaced(&format!("spec: {{endpointSelector: {{}}, egress: {rule}}}"));
    let deny = namespaced(&format!(
        "spec: {{endpointSelector: {{}}, enableDefaultDeny: {{egress: false}}, egressDeny: {rule}}}"
    ));
    let group = |cidrs: &str| {
        format!(
            "---\n{{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {{name: g}}, spec: {{externalCIDRs: [{cidrs}]}}}}"
        )
    };
    for (group, allowed, denied) in [
        (String::new(), DENIED, DENIED),
        (group("198.51.100.0/24"), ALLOWED, DENIED),
        (group("198.51.100.0/24, 10.0.0.0/99"), DENIED, DENIED),
        (group("203.0.113.0/24, 10.0.0.0/99"), DENIED, DENIED),
        (group("203.0.113.0/24"), DENIED, ALLOWED),
    ] {
        assert_eq!(ask(&format!("{allow}{group}"), "a", Direction::Egress), allowed, "{group}");
        assert_eq!(ask(&format!("{deny}{group}"), "a", Direction::Egress), denied, "{group}");
    }
}

#[test]
fn what_the_state_lacks_is_reported_where_it_is_named() {
    let text = namespaced(
        "spec: {endpointSelector: {}, egress: [{toEntities: [kube-apiserver]}, \
         {toCIDRSet: [{cidr: 10.0.0.0/8}, {cidrGroupRef: g}]}, {toCIDRSet: [{cidrGroupSelector: {}}]}]}",
    );
    let objects = parse("p.yaml", &text).objects;
    let Some(Object::CiliumPolicy(policy)) = objects.first() else { panic!("{objects:?}") };
    let context = Context::default();
    let found: Vec<String> = problems(policy, &context).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "p.yaml:1:128: warning: CiliumNetworkPolicy x/p: spec.egress[0]: no Node is labelled as the API server's, so \
             this allows nothing, or denies all that is no pod: expected a Node with the label \
             node-role.kubernetes.io/control-plane, or toCIDRSet with the API server's addresses",
            "p.yaml:1:193: CiliumNetworkPolicy x/p: spec.egress[1].toCIDRSet[1]: there is no CiliumCIDRGroup g: expected \
             a CiliumCIDRGroup in the state",
            "p.yaml:1:227: warning: CiliumNetworkPolicy x/p: spec.egress[2].toCIDRSet[0]: no CiliumCIDRGroup has these \
             labels, so this is about nobody: expected a CiliumCIDRGroup in the state",
        ]
    );
}

#[test]
fn denies_come_first_and_only_allows_isolate() {
    let text = namespaced(
        "spec: {endpointSelector: {}, ingressDeny: [{fromEntities: [world]}], egress: [{}], enableDefaultDeny: {egress: false}}",
    );
    let objects = parse("p.yaml", &text).objects;
    let Some(Object::CiliumPolicy(policy)) = objects.first() else { panic!("{objects:?}") };
    let placed = policies(policy, &Context::default());
    let shape: Vec<_> = placed
        .iter()
        .map(|placed| (placed.policy.order, placed.policy.egress, placed.policy.ingress))
        .collect();
    assert_eq!(
        shape,
        [
            (Order::at(0.0), Applies::No, Applies::RulesOnly),
            (Order::at(1000.0), Applies::RulesOnly, Applies::Isolating),
        ]
    );
    assert!(placed.iter().all(|placed| placed.tier == "default"));
}
