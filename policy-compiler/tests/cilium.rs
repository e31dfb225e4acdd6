//! Cilium's policies: what is wrong with them is said, generated ones are judged, what is broken never allows more than
//! what was meant, and the samples are read. Their truth tables are with those of the other languages.

mod support;

use policy_compiler::semantics::reference::Reference;
use policy_compiler::{
    Action, Diagnostic, Direction, Key, OnInvalid, Options, RuleInfo, Scope, SubjectId, parse,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use support::compiler;
use support::generate::{L4, cluster, remotes, runner};
use support::generate_cilium::manifests;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn read(path: &Path) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{}: {error}", path.display()),
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
fn every_problem_is_located_and_says_what_was_expected() {
    let file = "cilium.yaml";
    let parsed = parse(file, &read(&testdata().join("invalid").join(file)));
    let lines: Vec<String> = parsed.diagnostics.iter().map(Diagnostic::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Every verdict of the reference in a state.
fn verdicts(text: &str) -> Vec<(Key, RuleInfo)> {
    let options = Options { on_invalid: OnInvalid::Isolate, ..Options::default() };
    let compiler = compiler(options, &[("generated.yaml", text)], true);
    let cluster = compiler.cluster(&Scope::All);
    let reference = compiler.reference(&Scope::All, &cluster);
    let mut verdicts = Vec::new();
    for (number, subject) in cluster.subjects.iter().enumerate() {
        let id = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        for (direction, remote) in Direction::ALL
            .into_iter()
            .flat_map(|direction| remotes().into_iter().map(move |remote| (direction, remote)))
        {
            let own = subject.addresses.iter().find(|own| own.is_ipv4() == remote.is_ipv4());
            let Some(&own) = own else { continue };
            let (src, dst) = if direction == Direction::Egress { (own, remote) } else { (remote, own) };
            for (protocol, dst_port) in L4 {
                let key = Key { subject: id, direction, src, dst, protocol, src_port: 49152, dst_port };
                verdicts.push((key, reference.judge(&key)));
            }
        }
    }
    verdicts
}

/// Every construct of the language, by a word that only it uses.
const CONSTRUCTS: [&str; 60] = [
    "CiliumNetworkPolicy",
    "CiliumClusterwideNetworkPolicy",
    "spec:",
    "specs:",
    "ingress: [{",
    "ingress: []",
    "egress: [{",
    "egress: []",
    "ingressDeny: [{",
    "egressDeny: [{",
    "{}",
    "enableDefaultDeny: {ingress: false}",
    "enableDefaultDeny: {egress: true}",
    "fromEndpoints: []",
    "fromEndpoints: [{",
    "toEndpoints: [{",
    "fromEntities: [",
    "toEntities: []",
    "fromCIDR: [",
    "toCIDR: [",
    "fromCIDRSet",
    "toCIDRSet",
    "except",
    "cidrGroupRef: some",
    "cidrGroupRef: nowhere",
    "cidrGroupSelector: {matchLabels: {kind: x}}",
    "cidrGroupSelector: {matchLabels: {kind: y}}",
    "fromNodes",
    "toNodes",
    "toFQDNs",
    "matchPattern",
    "toPorts: []",
    "ports: []",
    "endPort: 9000",
    "port: http",
    "port: \"0\"",
    "ANY",
    "protocol: ICMP",
    "VRRP",
    "rules: {http",
    "icmps: []",
    "fields: []",
    "EchoRequest",
    "family: IPv6",
    "k8s:app",
    "any:tier",
    "operator: In,",
    "operator: NotIn",
    "operator: Exists",
    "operator: DoesNotExist",
    "io.kubernetes.pod.namespace",
    "io.cilium.k8s.namespace.labels.team",
    "io.cilium.k8s.policy.serviceaccount",
    "io.cilium.k8s.policy.cluster",
    "reserved:world",
    "reserved:host",
    "reserved:kube-apiserver",
    "reserved:remote-node",
    "node-role.kubernetes.io/control-plane",
    "kube-apiserver, ",
];

#[test]
fn what_is_broken_never_allows_more_than_what_was_meant() {
    let (objects, broken) = (Cell::new(0_u32), Cell::new(0_u32));
    let missing: RefCell<BTreeSet<&str>> = RefCell::new(CONSTRUCTS.into());
    let result = runner(96).run(&(cluster(), manifests()), |(cluster, manifests)| {
        let errors = |text: &str| {
            let parsed = parse("generated.yaml", text);
            objects.set(objects.get() + u32::try_from(parsed.objects.len()).unwrap_or(0));
            let broken =
                parsed.objects.iter().filter(|object| object.diagnostics().iter().any(Diagnostic::is_error));
            let broken: Vec<String> =
                broken.flat_map(|object| object.diagnostics().iter().map(Diagnostic::to_string)).collect();
            broken
        };
        assert_eq!(errors(&manifests.mended), [""; 0], "{}", manifests.mended);
        missing.borrow_mut().retain(|construct| !manifests.mended.contains(construct));
        let problems = errors(&manifests.written);
        assert_eq!(problems.is_empty(), manifests.written == manifests.mended, "{}", manifests.written);
        let meant = verdicts(&format!("{cluster}{}", manifests.mended));
        if problems.is_empty() {
            return Ok(());
        }
        broken.set(broken.get() + 1);
        let written = verdicts(&format!("{cluster}{}", manifests.written));
        for ((key, meant), (_, written)) in meant.iter().zip(&written) {
            assert!(
                meant.action == Action::Allow || written.action == Action::Deny,
                "{key:?}: {written:?}\n{cluster}{}",
                manifests.written
            );
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{} objects, {} broken states", objects.get(), broken.get());
    assert!(missing.borrow().is_empty(), "never generated: {missing:?}");
    assert!(broken.get() * 30 >= 96, "at least one in thirty is broken");
}

#[test]
fn every_sample_is_read_and_what_needs_other_layers_is_not_open() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/policies/cilium");
    let state = read(&folder.join("state/cluster.yaml"));
    let Ok(samples) = fs::read_dir(&folder) else { panic!("the samples are there") };
    let mut warned = Vec::new();
    let is_sample = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    for path in samples.flatten().map(|entry| entry.path()).filter(is_sample) {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = read(&path);
        let compiler = compiler(Options::default(), &[("state", &state), (&name, &text)], false);
        warned.extend(parse(&name, &text).diagnostics.iter().map(|_| name.clone()));
        let cluster = compiler.cluster(&Scope::All);
        let reference = compiler.reference(&Scope::All, &cluster);
        let ask = |ends, port| connect(&reference, &cluster, ends, port, None);
        let (closed, tcp) = (Some(Action::Deny), (6, 8080));
        match name.as_str() {
            "allow-only-google" => {
                assert_eq!(ask(("shop/crawler", "198.51.100.9"), (6, 443)), closed);
                assert_eq!(ask(("shop/crawler", "kube-system/dns"), (17, 53)), closed);
            }
            "http-methods" => assert_eq!(ask(("shop/frontend", "shop/backend"), tcp), closed),
            "frontend-to-backend" => {
                assert_eq!(ask(("shop/frontend", "shop/backend"), tcp), Some(Action::Allow));
                assert_eq!(ask(("shop/crawler", "shop/backend"), tcp), closed);
            }
            "metadata-deny" => {
                assert_eq!(ask(("shop/crawler", "169.254.169.254"), (6, 80)), closed);
                assert_eq!(ask(("shop/crawler", "198.51.100.9"), (6, 80)), Some(Action::Allow));
            }
            _ => {}
        }
    }
    warned.sort();
    assert_eq!(warned, ["allow-only-google", "allow-only-google", "http-methods"]);
}
