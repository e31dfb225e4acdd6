//! What is in force after each turn the directory can take.

use super::{Refresh, StateFollower};
use crate::config::Config;
use crate::control::StateStatus;
use policy_compiler::OnInvalid;
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
    let text = format!(
        "node: node-a\nstate: {{directory: {:?}, on_invalid: {on_invalid}}}",
        root.path().to_str().unwrap()
    );
    StateFollower::new(&Config::parse(&text, Path::new("/node.yaml")).unwrap(), Vec::new())
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
