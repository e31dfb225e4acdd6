//! What stands in place of what could not be read.

use crate::api::parse;
use crate::classifier::{Key, RuleKind};
use crate::compiler::{Compiler, OnInvalid, Options, Scope};
use crate::model::{Action, Direction};
use std::net::IpAddr;

const PODS: &str = r"
{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: red}, status: {phase: Running, podIPs: [{ip: 10.42.0.1}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, namespace: red}, status: {phase: Running, podIPs: [{ip: 10.42.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: c, namespace: blue}, status: {phase: Running, podIPs: [{ip: 10.42.0.3}]}}
---
";
const HEAD: &str =
    "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: p}\n";
/// Of namespace red.
const RED: &str = "{namespaces: {matchLabels: {kubernetes.io/metadata.name: red}}}";
const BLUE: &str = "{namespaces: {matchLabels: {kubernetes.io/metadata.name: blue}}}";

/// The verdict on a connection to (or from) TCP port 80, and whether something unreadable came to it.
fn verdict(policies: &str, subject: u8, direction: Direction, remote: u8) -> (Action, bool) {
    let mut compiler = Compiler::new(Options { on_invalid: OnInvalid::Isolate, ..Options::default() });
    for object in parse("test.yaml", &format!("{PODS}{policies}")).objects {
        compiler.upsert(object);
    }
    let cluster = compiler.cluster(&Scope::All);
    let address = |host| IpAddr::from([10, 42, 0, host]);
    let position = cluster.subjects.iter().position(|pod| pod.addresses.contains(&address(subject)));
    let Some(position) = position else { panic!("no pod {subject}") };
    let subject_id = crate::cluster::SubjectId(u32::try_from(position).unwrap_or(u32::MAX));
    let (src, dst) = match direction {
        Direction::Egress => (address(subject), address(remote)),
        Direction::Ingress => (address(remote), address(subject)),
    };
    let key = Key { subject: subject_id, direction, src, dst, protocol: 6, src_port: 49152, dst_port: 80 };
    let info = compiler.reference(&Scope::All, &cluster).judge(&key);
    (info.action, matches!(info.kind, RuleKind::Unreadable { .. }))
}

fn policy(tier: &str, subject: &str, rest: &str) -> String {
    format!("{HEAD}spec:\n  tier: {tier}\n  priority: 5\n  subject: {subject}\n{rest}")
}

const ALLOW: (Action, bool) = (Action::Allow, false);
const DENY: (Action, bool) = (Action::Deny, false);
const UNREADABLE: (Action, bool) = (Action::Deny, true);

#[test]
fn a_rule_with_a_peer_of_unknown_kind_accepts_nobody_or_denies_everybody() {
    for peers in ["[{services: {}}]", "[{}]", "[null]", "[{namespaces: {}}, {services: {}}]"] {
        for (action, from_c) in [("Accept", DENY), ("Deny", UNREADABLE), ("Pass", UNREADABLE)] {
            let rules = format!(
                "  ingress:\n  - {{action: {action}, from: {peers}}}\n  - {{action: Deny, from: [{BLUE}]}}\n"
            );
            let text = policy("Admin", RED, &rules);
            assert_eq!(verdict(&text, 1, Direction::Ingress, 3), from_c, "{action} {peers}");
            let others = if from_c == DENY { ALLOW } else { UNREADABLE };
            assert_eq!(verdict(&text, 1, Direction::Ingress, 200), others, "{action} {peers}");
            assert_eq!(verdict(&text, 1, Direction::Egress, 3), ALLOW, "the other direction");
            assert_eq!(verdict(&text, 3, Direction::Ingress, 1), ALLOW, "another subject");
        }
    }
}

#[test]
fn an_unreadable_rule_denies_what_reaches_it_and_not_what_was_decided_before() {
    let bad = [
        "{action: Allow, from: [{namespaces: {}}]}",
        "{action: Accept, from: [{namespaces: {}}], ports: []}",
        "{action: Accept, from: []}",
        "{action: Accept, from: [{pods: {podSelector: 5}}]}",
        "{action: Accept, from: [{namespaces: {}}], protocols: [{tcp: {}}]}",
        "null",
        "5",
    ];
    for bad in bad {
        let rules = format!("  ingress:\n  - {{action: Accept, from: [{BLUE}]}}\n  - {bad}\n");
        let text = policy("Admin", RED, &rules);
        assert_eq!(verdict(&text, 1, Direction::Ingress, 3), ALLOW, "{bad}");
        assert_eq!(verdict(&text, 1, Direction::Ingress, 2), UNREADABLE, "{bad}");
        assert_eq!(verdict(&text, 1, Direction::Egress, 2), ALLOW, "{bad}");
    }
    let deny_names = "  egress:\n  - {action: Deny, to: [{domainNames: [example.com]}]}\n";
    assert_eq!(verdict(&policy("Admin", RED, deny_names), 1, Direction::Egress, 2), UNREADABLE);
    let section = policy("Admin", RED, "  ingress: {}\n");
    assert_eq!(verdict(&section, 1, Direction::Ingress, 2), UNREADABLE);
    assert_eq!(verdict(&section, 1, Direction::Egress, 2), ALLOW);
}

#[test]
fn an_unreadable_subject_is_everyone() {
    for subject in ["{}", "{namespaces: 5}", "{namespaces: {}, pods: {podSelector: {}}}", "[]", "{pod: {}}"] {
        let text = policy("Admin", subject, "  ingress: []\n");
        for pod in 1..=3 {
            for direction in Direction::ALL {
                assert_eq!(verdict(&text, pod, direction, 200), UNREADABLE, "{subject}");
            }
        }
    }
}

#[test]
fn an_unknown_field_denies_both_directions_at_the_start_of_its_tier() {
    let accept = "{action: Accept, from: [{namespaces: {}}]}";
    let text = policy("Admin", RED, &format!("  ingres: []\n  ingress:\n  - {accept}\n"));
    for direction in Direction::ALL {
        assert_eq!(verdict(&text, 1, direction, 2), UNREADABLE);
        assert_eq!(verdict(&text, 3, direction, 1), ALLOW);
    }
    // In Baseline NetworkPolicy has had its say.
    let network_policy = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n, namespace: red}\n\
                          spec: {podSelector: {}, ingress: [{}]}\n";
    let text = policy("Baseline", RED, "  ingres: []\n") + network_policy;
    assert_eq!(verdict(&text, 1, Direction::Ingress, 2), ALLOW);
    assert_eq!(verdict(&text, 1, Direction::Egress, 2), UNREADABLE);
}

#[test]
fn an_unreadable_place_denies_before_all_tiers_in_the_directions_it_has_rules_for() {
    let first = "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: first}\n\
                 spec: {tier: Admin, priority: 0, subject: {namespaces: {}}, ingress: [{action: Accept, from: [{namespaces: {}}]}]}\n";
    for place in
        ["tier: Base, priority: 5", "tier: Baseline", "tier: Baseline, priority: 1001", "priority: 5"]
    {
        let text = format!(
            "{HEAD}spec: {{{place}, subject: {RED}, ingress: [{{action: Accept, from: [{BLUE}]}}]}}\n{first}"
        );
        assert_eq!(verdict(&text, 1, Direction::Ingress, 3), UNREADABLE, "{place}");
        assert_eq!(verdict(&text, 1, Direction::Egress, 3), ALLOW, "{place}");
        assert_eq!(verdict(&text, 3, Direction::Ingress, 1), ALLOW, "{place}");
    }
    let nothing = format!("{HEAD}{first}");
    assert_eq!(verdict(&nothing, 3, Direction::Ingress, 1), UNREADABLE, "without a spec");
}

#[test]
fn a_baseline_admin_network_policy_of_another_name_denies_its_subject() {
    let text = format!(
        "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {{name: other}}\n\
         spec: {{subject: {RED}}}\n"
    );
    assert_eq!(verdict(&text, 1, Direction::Ingress, 2), UNREADABLE);
    assert_eq!(verdict(&text, 3, Direction::Ingress, 2), ALLOW);
    assert_eq!(verdict(&text.replace("name: other", "name: default"), 1, Direction::Ingress, 2), ALLOW);
}
