//! Every corner of NetworkPolicy as a table of probes: `testdata/cases/*.yaml` with `*.probes` beside them,
//! over `testdata/cluster.yaml`, asked of every engine and of the reference, in the scope of all pods and in
//! that of each node.

mod support;

use policy_compiler::{Action, Options, Scope, SubjectId};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use support::{End, Engines, compiler, connect};

fn protocol(name: &str) -> u8 {
    match name {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        "ICMP" => 1,
        "ICMPv6" => 58,
        "GRE" => 47,
        other => panic!("no protocol {other}"),
    }
}

#[test]
fn every_case_has_the_verdicts_of_its_table() {
    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    };
    let objects = read(&testdata.join("cluster.yaml"));
    let Ok(cases) = fs::read_dir(testdata.join("cases")) else { panic!("testdata/cases is there") };
    let mut files: Vec<_> = cases.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 14, "the cases are there");
    let mut wrong = Vec::new();
    for path in files {
        let policies = read(&path);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let compiler = compiler(Options::default(), &[("cluster.yaml", &objects), (&name, &policies)], false);
        for scope in [Scope::All, Scope::Node("a".into()), Scope::Node("b".into())] {
            let cluster = compiler.cluster(&scope);
            let engines = Engines::new(&compiler, &scope, &cluster);
            for line in read(&path.with_extension("probes")).lines() {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [src, dst, proto, port, verdict, ref family @ ..] = words[..] else { continue };
                if src == "#" {
                    continue;
                }
                let end = |text: &str| {
                    let found = cluster.subjects.iter().position(|subject| subject.name.to_string() == text);
                    if let Some(position) = found {
                        let addresses = cluster.subjects[position].addresses.clone();
                        return Some(End::Pod(
                            SubjectId(u32::try_from(position).unwrap_or(u32::MAX)),
                            addresses,
                        ));
                    }
                    text.parse::<IpAddr>().ok().map(End::Outside)
                };
                // In a node's scope, probes with the other node's pods are not for us.
                let (Some(source), Some(destination)) = (end(src), end(dst)) else {
                    assert_ne!(scope, Scope::All, "{name}: unknown end in {line}");
                    continue;
                };
                let (Ok(port), family) =
                    (port.parse(), family.first().and_then(|family| family.parse().ok()))
                else {
                    panic!("{name}: {line}");
                };
                let action = connect(&engines, (&source, &destination), protocol(proto), port, family);
                if action.name() != verdict {
                    wrong.push(format!("{name}, {scope:?}: {line}: {action}"));
                }
                assert!(matches!(action, Action::Allow | Action::Deny));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
