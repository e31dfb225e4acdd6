//! What a person sees of a directory full of mistakes: all of them in one run, each with its line and a mark.

use std::path::Path;
use std::process::Command;

#[test]
fn every_mistake_of_a_directory_is_shown_with_its_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .current_dir(root)
        .args(["policy", "matrix", "--state", "policy-compiler/testdata/invalid"])
        .output()
        .expect("weir runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "nothing is answered");
    let shown = String::from_utf8(output.stderr).expect("text");
    let messages = shown.lines().filter(|line| line.starts_with("policy-compiler/testdata/invalid/")).count();
    let marks =
        shown.lines().filter(|line| line.trim_end().ends_with('^') && line.starts_with("      |")).count();
    assert!(messages > 90 && marks > 90, "{messages} messages, {marks} marks\n{shown}");
    for file in ["cluster.yaml", "misspelled.yaml", "objects.yaml", "policies.yaml"] {
        assert!(shown.contains(file), "{file}\n{shown}");
    }
    insta::assert_snapshot!(shown);
}
