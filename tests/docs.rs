//! What the documents say of the tree is so: links resolve, files named exist, dependencies are explained.
//!
//! That every YAML block of the README loads is held by `configs.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const LIBRARIES: [&str; 4] = ["dataplane", "policy-compiler", "vxlan", "harness"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn markdown_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// All documents, without the code blocks in them.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = markdown_in(&root());
    paths.extend(markdown_in(&root().join("docs")));
    paths.extend(markdown_in(&root().join("docs/decisions")));
    assert!(paths.len() > 15, "documents are found: {paths:?}");
    paths
        .into_iter()
        .map(|path| {
            let text = read(&path);
            let prose = text.split("```").step_by(2).collect();
            (path, prose)
        })
        .collect()
}

/// What stands between `open` and `close`.
fn between<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split(close).next())
}

/// The anchor that a heading gets on GitHub.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

#[test]
fn links_between_the_documents_resolve() {
    for (path, text) in documents() {
        for link in between(&text, "](", ')').filter(|link| !link.contains("://")) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap_or(Path::new("")).join(file)
            };
            assert!(target.exists(), "{}: {link} leads nowhere", path.display());
            if !fragment.is_empty() {
                let found = read(&target)
                    .lines()
                    .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == fragment);
                assert!(found, "{}: {link} names no heading", path.display());
            }
        }
    }
}

/// A path in backquotes that looks like a source file or a directory is one: from the root, or from the sources
/// of some crate.
#[test]
fn files_that_the_architecture_and_the_decisions_name_exist() {
    let sources: Vec<PathBuf> = LIBRARIES.iter().map(|name| root().join(name).join("src")).collect();
    let named = |path: &Path| path.ends_with("ARCHITECTURE.md") || path.parent().is_some_and(is_decisions);
    for (path, text) in documents().into_iter().filter(|(path, _)| named(path)) {
        for name in between(&text, "`", '`').filter(|name| is_path(name)) {
            let exists =
                root().join(name).exists() || sources.iter().any(|source| source.join(name).exists());
            // Short for a file of the directory the sentence is about.
            let short = !name.contains('/') && sources.iter().any(|source| has_file(source, name));
            assert!(exists || short, "{}: there is no {name}", path.display());
        }
    }
}

fn is_decisions(directory: &Path) -> bool {
    directory.ends_with("docs/decisions")
}

fn is_path(name: &str) -> bool {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "/_-.".contains(c));
    let source = Path::new(name).extension().is_some_and(|extension| extension == "rs");
    plain && !name.starts_with('/') && (source || (name.ends_with('/') && name.len() > 1))
}

fn has_file(directory: &Path, name: &str) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        path.file_name().is_some_and(|file| file == name) || (path.is_dir() && has_file(&path, name))
    })
}

#[test]
fn every_workspace_dependency_has_its_reason_and_every_reason_its_dependency() {
    let manifest = read(&root().join("Cargo.toml"));
    let declared: BTreeSet<&str> = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.contains("path = "))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    assert!(declared.len() > 20, "{declared:?}");
    let page = read(&root().join("docs/decisions/0002-dependencies.md"));
    let explained: BTreeSet<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| between(line.split(" | ").next().unwrap_or(""), "`", '`').step_by(2))
        .collect();
    assert_eq!(declared, explained, "docs/decisions/0002-dependencies.md");
}

/// The README's test command is the last thing that CI runs.
#[test]
fn ci_runs_the_readmes_test_command() {
    let command = "cargo test --workspace";
    assert!(read(&root().join("README.md")).lines().any(|line| line.trim() == command));
    assert_eq!(read(&root().join(".ci/run")).lines().last(), Some(command));
}
