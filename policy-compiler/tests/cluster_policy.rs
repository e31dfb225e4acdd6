//! ClusterNetworkPolicy and its ancestors: what is wrong with them is said, examples are read without an error, and the
//! tables of `testdata/cases-cnp` hold for the reference evaluator.

mod support;

use policy_compiler::{Action, Diagnostic, Direction, Key, Options, Scope, SubjectId, parse};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use support::compiler;

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
fn every_case_has_the_verdicts_of_its_table() {
    let objects = read(&crate_folder().join("testdata/cluster.yaml"));
    let files = manifests(&crate_folder().join("testdata/cases-cnp"));
    assert!(files.len() >= 11, "the cases are there");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.display().to_string();
        let compiler =
            compiler(Options::default(), &[("cluster.yaml", &objects), (&name, &read(&path))], false);
        for scope in [Scope::All, Scope::Node("a".into()), Scope::Node("b".into())] {
            let cluster = compiler.cluster(&scope);
            let reference = compiler.reference(&scope, &cluster);
            for line in read(&path.with_extension("probes")).lines().filter(|line| !line.starts_with('#')) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [src, dst, protocol, port, verdict, ref family @ ..] = words[..] else {
                    panic!("{name}: {line}")
                };
                let end = |text: &str| -> Option<(Option<SubjectId>, Vec<IpAddr>)> {
                    let found = cluster.subjects.iter().position(|subject| subject.name.to_string() == text);
                    let Some(position) = found else { return Some((None, vec![text.parse().ok()?])) };
                    Some((Some(SubjectId(position as u32)), cluster.subjects[position].addresses.clone()))
                };
                // In a node's scope, probes with the other node's pods are not for us.
                let (Some((source, from)), Some((destination, to))) = (end(src), end(dst)) else {
                    assert_ne!(scope, Scope::All, "{name}: unknown end in {line}");
                    continue;
                };
                let wanted = family.first().map(|family| *family == "6");
                let pair =
                    from.iter().flat_map(|src| to.iter().map(move |dst| (*src, *dst))).find(|(src, dst)| {
                        src.is_ipv6() == dst.is_ipv6() && wanted.is_none_or(|v6| src.is_ipv6() == v6)
                    });
                let protocol = match protocol {
                    "TCP" => 6,
                    "UDP" => 17,
                    "SCTP" => 132,
                    "ICMP" => 1,
                    "GRE" => 47,
                    other => panic!("{name}: no protocol {other}"),
                };
                let (Some((src, dst)), Ok(dst_port)) = (pair, port.parse()) else { panic!("{name}: {line}") };
                let ask = |subject: Option<SubjectId>, direction| {
                    subject.is_none_or(|subject| {
                        let key = Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port };
                        reference.judge(&key).action == Action::Allow
                    })
                };
                let allowed = ask(source, Direction::Egress) && ask(destination, Direction::Ingress);
                if allowed != (verdict == "allow") {
                    wrong.push(format!("{name}, {scope:?}: {line}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
