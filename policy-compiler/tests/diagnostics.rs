//! Every message a person can get from `testdata/invalid`, in one list, so that a change of wording is seen.
//!
//! A file per language and subject; a new one is taken up by being there. Each is read for itself, and compiled for
//! what its objects have against one another.

use policy_compiler::{Compiler, Diagnostic, Options, Scope, parse};
use std::fmt::Write;
use std::path::Path;

#[test]
fn every_problem_is_located_and_says_what_was_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/invalid");
    let Ok(entries) = std::fs::read_dir(&folder) else { panic!("{} is there", folder.display()) };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    files.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    let mut list = String::new();
    for file in files {
        let name = file.to_string_lossy();
        let Ok(text) = std::fs::read_to_string(folder.join(&file)) else { panic!("{name} is there") };
        let parsed = parse(&name, &text);
        let objects: Vec<_> = parsed.objects.iter().map(|object| object.key().to_string()).collect();
        let mut compiler = Compiler::new(Options::default());
        for object in parsed.objects {
            compiler.upsert(object);
        }
        let among_them = compiler.compile(&Scope::All).err().unwrap_or_default();
        let among_them = among_them.into_iter().filter(|problem| !parsed.diagnostics.contains(problem));
        let problems: Vec<Diagnostic> = parsed.diagnostics.iter().cloned().chain(among_them).collect();
        for problem in &problems {
            assert!(problem.origin.line > 0, "{problem}");
            let _ = writeln!(list, "{problem}");
        }
        assert!(!problems.is_empty(), "{name} is in order");
        let _ = writeln!(list, "{name}: read {}; skipped {:?}\n", objects.join(", "), parsed.skipped);
    }
    insta::assert_snapshot!(list);
}
