//! What a policy becomes when it is read.

use super::{ClusterAction, ClusterPeer, ClusterPlace, ClusterPolicy, ClusterPort, ClusterTier};
use crate::api::{Diagnostic, Object, Selector, parse};

fn read(spec: &str) -> (ClusterPolicy, Vec<String>) {
    let text = format!(
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: p}}\nspec: {spec}\n"
    );
    let output = parse("p.yaml", &text);
    let problems = output.diagnostics.iter().map(Diagnostic::to_string).collect();
    let Some(Object::ClusterPolicy(policy)) = output.objects.into_iter().next() else {
        panic!("{problems:?}")
    };
    (policy, problems)
}

#[test]
fn null_is_missing() {
    let (policy, problems) =
        read("{tier: Admin, priority: 0, subject: {namespaces: {}, pods: }, ingress: , egress: null}");
    assert_eq!(problems, [""; 0]);
    assert_eq!(policy.place, Some(ClusterPlace { tier: ClusterTier::Admin, priority: Some(0) }));
    assert_eq!((policy.ingress.len(), policy.egress.len()), (0, 0));
    let (_, problems) = read("{tier: Admin, priority: 0, subject: {namespaces: }}");
    assert_eq!(problems.len(), 1, "a subject that is null is none");
}

#[test]
fn status_and_a_name_of_a_rule_mean_nothing() {
    let (policy, problems) = read(
        "{tier: Baseline, priority: 1000, subject: {namespaces: {}}, ingress: [{name: x, action: Pass, from: [{namespaces: {}}]}]}\nstatus: {conditions: []}",
    );
    assert_eq!(problems, [""; 0]);
    let [rule] = &policy.ingress[..] else { panic!("{policy:?}") };
    assert_eq!(rule.provenance.field, "spec.ingress[0]");
    assert_eq!(rule.body.as_ref().map(|body| body.action), Some(ClusterAction::Pass));
    assert_eq!(policy.unreadable, None);
}

#[test]
fn peers_and_ports_are_kept_as_written() {
    let (policy, problems) = read(
        "{tier: Admin, priority: 1, subject: {pods: {podSelector: {}}}, egress: [\
         {action: Accept, to: [{nodes: {}}, {networks: [10.1.2.3/8, \"fd00::/8\"]}], protocols: [{sctp: {destinationPort: {range: {start: 7, end: 9}}}}]},\
         {action: Accept, to: [{domainNames: [WWW.Example.com., \"*.example.com\"]}]},\
         {action: Deny, to: [{pods: {podSelector: {}}}], protocols: [{destinationNamedPort: http}]}]}",
    );
    assert_eq!(problems.len(), 1, "only the names are warned about: {problems:?}");
    assert!(problems[0].contains("warning: ") && problems[0].contains("domainNames"), "{problems:?}");
    let bodies: Vec<_> = policy.egress.iter().filter_map(|rule| rule.body.as_ref()).collect();
    let [first, second, third] = bodies[..] else { panic!("{policy:?}") };
    let [ClusterPeer::Nodes(nodes), ClusterPeer::Networks(networks)] = &first.peers[..] else {
        panic!("{first:?}")
    };
    assert_eq!(*nodes, Selector::default());
    assert_eq!(networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "fd00::/8"]);
    assert_eq!(first.ports, [ClusterPort::Range { protocol: 132, first: 7, last: 9 }]);
    assert_eq!(
        second.peers,
        [ClusterPeer::DomainNames(vec!["www.example.com".into(), "*.example.com".into()])]
    );
    assert_eq!(third.ports, [ClusterPort::Named("http".into())]);
}

#[test]
fn lists_are_taken_up_to_their_limit() {
    let rules = |count| vec!["{action: Deny, from: [{namespaces: {}}]}"; count].join(", ");
    let spec = |count| {
        format!("{{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, ingress: [{}]}}", rules(count))
    };
    let (policy, problems) = read(&spec(25));
    assert_eq!((policy.ingress.len(), problems.len()), (25, 0));
    let (policy, problems) = read(&spec(26));
    assert_eq!((policy.ingress.len(), problems.len()), (1, 1));
    assert_eq!(policy.ingress[0].body, None);
    let old = |count| {
        format!(
            "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: p}}\n\
             spec: {{priority: 1, subject: {{namespaces: {{}}}}, ingress: [{}]}}\n",
            rules(count)
        )
    };
    assert!(parse("p.yaml", &old(100)).diagnostics.is_empty());
    assert_eq!(parse("p.yaml", &old(101)).diagnostics.len(), 1);
}

#[test]
fn a_text_that_is_broken_leaves_the_whole_policy_unread() {
    let (policy, problems) = read("{tier: Admin, tier: Baseline, priority: 1, subject: {namespaces: {}}}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(policy.unreadable.is_some());
}
