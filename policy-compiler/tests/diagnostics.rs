//! Every message a person can get from `testdata/invalid`, in one list, so that a change of wording is seen.

use policy_compiler::parse;
use std::fmt::Write;
use std::path::Path;

#[test]
fn every_problem_is_located_and_says_what_was_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/invalid");
    let mut list = String::new();
    for file in ["policies.yaml", "objects.yaml"] {
        let Ok(text) = std::fs::read_to_string(folder.join(file)) else { panic!("{file} is there") };
        let parsed = parse(file, &text);
        for diagnostic in &parsed.diagnostics {
            let _ = writeln!(list, "{diagnostic}");
        }
        let objects: Vec<_> = parsed.objects.iter().map(|object| object.key().to_string()).collect();
        let _ = writeln!(list, "{file}: read {}; skipped {:?}\n", objects.join(", "), parsed.skipped);
    }
    insta::assert_snapshot!(list);
}
