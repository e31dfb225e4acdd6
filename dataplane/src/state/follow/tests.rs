//! What is in force after each turn the directory can take.

use super::{Refresh, StateFollower};
use crate::config::Config;
use crate::control::StateStatus;
use policy_compiler::{Action, Compiled, Direction, Key, OnInvalid, SubjectId};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
const NODE: &str =
    "apiVersion: v1\nkind: Node\nmetadata: {name: node-a}\nspec: {podCIDRs: [10.244.1.0/24]}\n";

fn pod(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{nodeName: node-a}}\n\
         status: {{phase: Running, podIPs: [{{ip: {address}}}]}}\n"
    )
}

fn policy(cidr: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: allow, namespace: shop}}\n\
         spec:\n  podSelector: {{}}\n  ingress:\n  - from: [{{ipBlock: {{cidr: {cidr}}}}}]\n"
    )
}

fn write(root: &TempDir, name: &str, text: &str) {
    fs::write(root.path().join(name), text).unwrap();
}

fn follower(root: &TempDir, on_invalid: &str) -> StateFollower {
    follower_within(root, on_invalid, "256MiB")
}

fn follower_within(root: &TempDir, on_invalid: &str, memory: &str) -> StateFollower {
    let text = format!(
        "node: node-a\nstate: {{directory: {:?}, on_invalid: {on_invalid}}}\nlimits: {{compile_memory: {memory}}}",
        root.path().to_str().unwrap()
    );
    StateFollower::new(&Config::parse(&text, Path::new("/node.yaml")).unwrap(), Vec::new())
}

/// TCP 80 of a pod, from outside.
fn ingress(compiled: &Compiled, pod: &str, from: &str) -> Action {
    let subjects = &compiled.cluster.subjects;
    let position = subjects.iter().position(|subject| subject.name.name == pod).unwrap();
    let (src, dst) = (from.parse().unwrap(), subjects[position].addresses[0]);
    let subject = SubjectId(u32::try_from(position).unwrap());
    let direction = Direction::Ingress;
    let key = Key { subject, direction, src, dst, protocol: 6, src_port: 49152, dst_port: 80 };
    compiled.classifier.classify(&key).action
}

fn valid() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write(&root, "cluster.yaml", &format!("{NAMESPACE}---\n{NODE}"));
    write(&root, "pod.yaml", &pod("web", "10.244.1.2"));
    write(&root, "policy.yaml", &policy("10.0.0.0/8"));
    root
}

#[test]
fn a_valid_directory_is_compiled_once() {
    let root = valid();
    let mut follower = follower(&root, "refuse");
    assert_eq!(follower.status(), StateStatus::Starting);
    let Refresh::Compiled(compiled) = follower.refresh() else { panic!("{follower:?}") };
    assert_eq!(compiled.cluster.subjects.len(), 1);
    assert_eq!(follower.status(), StateStatus::Ok);
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
}

#[test]
fn refusing_keeps_what_is_in_force_and_says_so_once() {
    let root = valid();
    let mut follower = follower(&root, "refuse");
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    write(&root, "policy.yaml", &policy("10.0.0.0/33"));
    assert!(matches!(follower.refresh(), Refresh::Rejected(problems) if !problems.is_empty()));
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
    assert_eq!(follower.status(), StateStatus::Rejected);
    assert!(!follower.problems().is_empty());
    write(&root, "policy.yaml", &policy("10.0.0.0/9"));
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    assert_eq!(follower.status(), StateStatus::Ok);
    assert!(follower.problems().is_empty());
}

#[test]
fn a_directory_that_vanishes_and_returns_changes_nothing() {
    let root = valid();
    let mut follower = follower(&root, "refuse");
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    let (here, away) = (root.path().to_owned(), root.path().with_extension("away"));
    fs::rename(&here, &away).unwrap();
    assert!(matches!(follower.refresh(), Refresh::Rejected(_)));
    assert_eq!(follower.status(), StateStatus::Rejected);
    fs::rename(&away, &here).unwrap();
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
    assert_eq!(follower.status(), StateStatus::Ok);
}

#[test]
fn at_start_even_refusing_puts_in_force_what_is_known() {
    let root = valid();
    write(&root, "policy.yaml", &policy("10.0.0.0/33"));
    let mut follower = follower(&root, "refuse");
    let Refresh::Compiled(compiled) = follower.refresh() else { panic!("{follower:?}") };
    assert!(!compiled.degraded.is_empty());
    assert_eq!(follower.status(), StateStatus::Degraded);
    // Mended: from now on, the configured mode.
    write(&root, "policy.yaml", &policy("10.0.0.0/8"));
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    assert_eq!(follower.status(), StateStatus::Ok);
    assert_eq!(follower.compiler().options().on_invalid, OnInvalid::Refuse);
    write(&root, "policy.yaml", &policy("10.0.0.0/33"));
    assert!(matches!(follower.refresh(), Refresh::Rejected(_)));
}

#[test]
fn at_start_a_file_of_which_nothing_can_be_known_keeps_everything_closed() {
    let root = valid();
    write(&root, "policy.yaml", "kind: [");
    let mut follower = follower(&root, "refuse");
    assert!(matches!(follower.refresh(), Refresh::Rejected(_)));
    assert_eq!(follower.status(), StateStatus::Rejected);
    write(&root, "policy.yaml", &policy("10.0.0.0/8"));
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    assert_eq!(follower.status(), StateStatus::Ok);
}

#[test]
fn isolating_goes_on_with_what_can_be_read() {
    let root = valid();
    let mut follower = follower(&root, "isolate");
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    write(&root, "policy.yaml", &policy("10.0.0.0/33"));
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    assert_eq!(follower.status(), StateStatus::Degraded);
    assert_eq!(follower.compiler().options().on_invalid, OnInvalid::Isolate);
}

#[test]
fn a_problem_that_goes_without_any_object_changing_is_gone_from_the_status() {
    let root = valid();
    let mut follower = follower(&root, "isolate");
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    write(&root, "twin.yaml", &pod("web", "10.244.1.3"));
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
    assert_eq!(follower.status(), StateStatus::Degraded);
    fs::remove_file(root.path().join("twin.yaml")).unwrap();
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
    assert_eq!(follower.status(), StateStatus::Ok);
}

#[test]
fn other_addresses_of_the_node_are_compiled_in() {
    let root = valid();
    let mut follower = follower(&root, "refuse");
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    follower.set_node_addresses(vec!["10.244.1.1".parse().unwrap()]);
    assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
    follower.set_node_addresses(vec!["10.244.1.1".parse().unwrap()]);
    assert!(matches!(follower.refresh(), Refresh::Unchanged));
}

/// Readable and valid, and more than fits: each block with an exception of its own meets all others.
fn endless_policy() -> String {
    let mut peers = String::new();
    for n in 0..3000 {
        let (high, low) = (n >> 8, n & 255);
        let _ = writeln!(peers, "    - ipBlock: {{cidr: 10.0.0.0/8, except: [10.{high}.{low}.1/32]}}");
    }
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: endless, namespace: tenant}}\n\
         spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n{peers}"
    )
}

#[test]
fn a_policy_that_does_not_fit_holds_back_nobody_elses_change() {
    for on_invalid in ["refuse", "isolate"] {
        let root = valid();
        let tenant = pod("tenant", "10.244.1.9").replace("namespace: shop", "namespace: tenant");
        write(&root, "tenant.yaml", &tenant);
        let mut follower = follower_within(&root, on_invalid, "4MiB");
        assert!(matches!(follower.refresh(), Refresh::Compiled(_)));
        write(&root, "endless.yaml", &endless_policy());
        let Refresh::Compiled(compiled) = follower.refresh() else {
            panic!("{on_invalid}: {:?}", follower.problems())
        };
        assert_eq!(follower.status(), StateStatus::Degraded);
        let [problem] = &compiled.degraded[..] else { panic!("{:?}", compiled.degraded) };
        let problem = problem.to_string();
        assert!(problem.contains("endless.yaml:1:1: NetworkPolicy tenant/endless: "), "{problem}");
        assert_eq!(ingress(&compiled, "tenant", "192.0.2.7"), Action::Deny);
        // While it stands, others go on: what another closes is closed.
        assert_eq!(ingress(&compiled, "web", "10.1.2.3"), Action::Allow);
        write(&root, "policy.yaml", &policy("172.16.0.0/12"));
        let Refresh::Compiled(compiled) = follower.refresh() else { panic!("{:?}", follower.problems()) };
        assert_eq!(ingress(&compiled, "web", "10.1.2.3"), Action::Deny);
        assert_eq!(ingress(&compiled, "tenant", "192.0.2.7"), Action::Deny);
        fs::remove_file(root.path().join("endless.yaml")).unwrap();
        let Refresh::Compiled(compiled) = follower.refresh() else { panic!("{:?}", follower.problems()) };
        assert_eq!(ingress(&compiled, "tenant", "192.0.2.7"), Action::Allow);
        assert_eq!(follower.status(), StateStatus::Ok);
    }
}
