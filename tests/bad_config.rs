//! Mistakes in a configuration meet a message that says where and how to mend it, in `weir config check` and `weir run`
//! alike.

mod support;

use std::fs;
use std::path::Path;

use support::{text, weir};

fn config_file(directory: &Path, text: &str) -> String {
    let path = directory.join("node.yaml");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn a_mistake_in_the_configuration_is_located() {
    let directory = tempfile::tempdir().unwrap();
    for (name, yaml, line, words) in [
        ("an unknown key", "node: node-a\nunderlay:\n  prot: 8472\n", 3, &["underlay", "prot", "port"][..]),
        ("an unknown key at the top", "node: node-a\nstates: {}\n", 2, &["states", "state"]),
        ("a wrong VNI", "node: node-a\nunderlay:\n  vni: 16777216\n", 3, &["underlay.vni", "16777215"]),
        ("no node", "underlay: {port: 8472}\n", 1, &["node"]),
        (
            "a wrong address",
            "node: node-a\nunderlay:\n  address: 192.0.2.256\n",
            3,
            &["192.0.2.256", "expected"],
        ),
        ("no YAML", "node: \"node-a\n", 2, &[]),
    ] {
        let file = config_file(directory.path(), yaml);
        for arguments in [vec!["config", "check", &file], vec!["run", "--config", &file]] {
            let output = weir(&arguments);
            let said = text(&output);
            assert_eq!(output.status.code(), Some(2), "{name}: {arguments:?}: {said}");
            let place = format!("{file}:{line}:");
            let located = |said: &str| words.iter().all(|word| said.contains(word)) && said.contains(&place);
            assert!(said.lines().any(located), "{name}: no line with {place} and {words:?}: {said}");
        }
    }
}

#[test]
fn a_good_configuration_checks_with_exit_code_0_and_a_missing_one_with_2() {
    let directory = tempfile::tempdir().unwrap();
    let good = weir(&["config", "check", &config_file(directory.path(), "node: node-a\n")]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    let gone = weir(&["config", "check", "/nowhere/node.yaml"]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(text(&gone).contains("/nowhere/node.yaml"), "{}", text(&gone));
    let schema = weir(&["config", "schema"]);
    assert_eq!(schema.status.code(), Some(0));
    assert!(
        serde_json::from_slice::<serde_json::Value>(&schema.stdout).unwrap()["properties"]["node"]
            .is_object()
    );
}
