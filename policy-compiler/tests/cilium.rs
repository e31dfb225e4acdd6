//! Cilium's policies: `testdata/cases-cilium/*.yaml` with `*.probes` beside them, asked of the reference in the scope of all
//! pods and in that of each node; what is not known or not served fails closed; generated policies never open by breaking.

mod support;

use policy_compiler::semantics::reference::Reference;
use policy_compiler::{Action, Compiler, Diagnostic, Direction, Key, OnInvalid, Options, Scope, SubjectId, parse};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use support::compiler;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn read(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

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

/// Both directions of a connection as the reference judges it; nothing where an end is not in its scope.
fn connect(
    reference: &Reference<'_>,
    cluster: &policy_compiler::Cluster,
    (src, dst): (&str, &str),
    (protocol, port): (u8, u16),
    family: Option<u8>,
) -> Option<Action> {
    let end = |text: &str| -> Option<(Option<SubjectId>, Vec<IpAddr>)> {
        if let Ok(address) = text.parse() {
            return Some((None, vec![address]));
        }
        let position = cluster.subjects.iter().position(|subject| subject.name.to_string() == text)?;
        let id = SubjectId(u32::try_from(position).unwrap_or(u32::MAX));
        Some((Some(id), cluster.subjects[position].addresses.clone()))
    };
    let ((source, sources), (destination, destinations)) = (end(src)?, end(dst)?);
    let wanted = |address: &&IpAddr| family.is_none_or(|family| address.is_ipv6() == (family == 6));
    let pair = sources.iter().filter(wanted).find_map(|src| {
        destinations.iter().find(|dst| dst.is_ipv6() == src.is_ipv6()).map(|dst| (*src, *dst))
    });
    let Some((src, dst)) = pair else { panic!("no family both ends have") };
    let ask = |subject: Option<SubjectId>, direction| {
        let Some(subject) = subject else { return Action::Allow };
        let key = Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port: port };
        reference.judge(&key).action
    };
    Some(ask(source, Direction::Egress).max(ask(destination, Direction::Ingress)))
}

#[test]
fn every_case_has_the_verdicts_of_its_table() {
    let objects = read(&testdata().join("cluster.yaml"));
    let Ok(cases) = fs::read_dir(testdata().join("cases-cilium")) else { panic!("the cases are there") };
    let mut files: Vec<_> = cases.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 9, "the cases are there");
    let mut wrong = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let compiler = compiler(Options::default(), &[("cluster.yaml", &objects), (&name, &read(&path))], false);
        for scope in [Scope::All, Scope::Node("a".into()), Scope::Node("b".into())] {
            let cluster = compiler.cluster(&scope);
            let reference = compiler.reference(&scope, &cluster);
            for line in read(&path.with_extension("probes")).lines().filter(|line| !line.starts_with('#')) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let [src, dst, proto, port, verdict, ref family @ ..] = words[..] else {
                    panic!("{name}: {line}");
                };
                let (Ok(port), family) = (port.parse(), family.first().and_then(|family| family.parse().ok()))
                else {
                    panic!("{name}: {line}");
                };
                let action = connect(&reference, &cluster, (src, dst), (protocol(proto), port), family);
                let Some(action) = action else {
                    assert_ne!(scope, Scope::All, "{name}: unknown end in {line}");
                    continue;
                };
                if action.name() != verdict {
                    wrong.push(format!("{name}, {scope:?}: {line}: {action}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
