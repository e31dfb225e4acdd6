//! Calico's policies beyond the truth tables: what cannot be read, what is staged, and generated states, in which all
//! engines agree with the reference, the reference with an oracle of its own, and a broken state never allows more than
//! the same one mended.
//!
//! Deterministic: the seed is fixed and printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` change it.

mod support;

use policy_compiler::{
    Action, Cluster, Compiler, Direction, Key, Object, OnInvalid, Options, RuleKind, Scope, Step, SubjectId,
    parse,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use support::calico_oracle::{Oracle, Packet};
use support::generate::{remotes, runner};
use support::generate_calico::{broken, calico_cluster, mended};
use support::{End, Engines, compiler, connect};

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn protocol(name: &str) -> u8 {
    match name {
        "TCP" => 6,
        "UDP" => 17,
        "SCTP" => 132,
        "ICMP" => 1,
        "GRE" => 47,
        other => panic!("no protocol {other}"),
    }
}

/// What the reference says of lines of probes, one word each.
fn verdicts(compiler: &Compiler, probes: &str) -> Vec<String> {
    let cluster = compiler.cluster(&Scope::All);
    let engines = Engines { compiled: Vec::new(), reference: compiler.reference(&Scope::All, &cluster) };
    let end = |text: &str| {
        let position = cluster.subjects.iter().position(|subject| subject.name.to_string() == text);
        match position {
            Some(position) => End::Pod(
                SubjectId(u32::try_from(position).unwrap_or(u32::MAX)),
                cluster.subjects[position].addresses.clone(),
            ),
            None => End::Outside(text.parse().unwrap_or_else(|_| panic!("no end {text}"))),
        }
    };
    let lines = probes.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let judge = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let family = words.get(5).and_then(|family| family.parse().ok());
        let port = words[3].parse().unwrap_or_else(|_| panic!("no port in {line}"));
        connect(&engines, (&end(words[0]), &end(words[1])), protocol(words[2]), port, family).to_string()
    };
    lines.map(judge).collect()
}

/// A state of two pods, `shop/web` and `shop/api`, a set that can be read, and these documents.
fn state(options: Options, documents: &[&str]) -> Compiler {
    let cluster = read(&testdata("cluster.yaml"));
    let mut text = vec![cluster.as_str()];
    text.extend(documents);
    compiler(options, &[("state.yaml", &text.join("\n---\n"))], true)
}

fn isolating() -> Options {
    Options { on_invalid: OnInvalid::Isolate, ..Options::default() }
}

const ALLOWS: &str = "{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {name: allows, namespace: shop}, \
                      spec: {order: 1, selector: \"app == 'web'\", ingress: [{action: Allow}]}}";

fn web_policy(spec: &str) -> String {
    format!(
        "{{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {{name: broken, namespace: shop}}, spec: {{{spec}}}}}"
    )
}

/// Verdicts of ingress to web, ingress to api, egress of web, egress of api, ingress in another namespace.
fn five(compiler: &Compiler) -> String {
    let probes = "198.51.100.1 shop/web TCP 1\n198.51.100.1 shop/api TCP 1\nshop/web 198.51.100.1 TCP 1\n\
                  shop/api 198.51.100.1 TCP 1\n198.51.100.1 other/client TCP 1";
    verdicts(compiler, probes).join(" ")
}

#[test]
fn what_cannot_be_read_denies_its_direction_its_subject_or_all_it_could_be_about() {
    for (spec, verdicts) in [
        // A rule: its direction, in its tier before all others.
        (
            "selector: \"app == 'web'\", ingress: [{action: Allow, nonsense: 1}]",
            "deny allow allow allow allow",
        ),
        ("selector: \"app == 'web'\", ingress: [{action: Allow, http: {}}]", "deny allow allow allow allow"),
        ("selector: \"app == 'web'\", egress: [{}]", "allow allow deny allow allow"),
        ("selector: \"app == 'web'\", egress: 5", "allow allow deny allow allow"),
        // One of a direction that types leaves out is not used.
        ("selector: \"app == 'web'\", types: [Egress], ingress: [{}]", "allow allow deny allow allow"),
        // More than a rule: both directions.
        ("selector: \"app == 'web'\", nonsense: 1", "deny allow deny allow allow"),
        ("selector: \"app == 'web'\", types: [Sideways]", "deny allow deny allow allow"),
        ("selector: \"app == 'web'\", order: first", "deny allow deny allow allow"),
        ("selector: \"app == 'web'\", tier: Security", "deny allow deny allow allow"),
        // A tier that is not there: the directions of the policy.
        (
            "selector: \"app == 'web'\", tier: nowhere, egress: [{action: Allow}]",
            "allow allow deny allow allow",
        ),
        ("selector: \"app == 'web'\", tier: unreadable", "deny allow allow allow allow"),
        // The subject: the namespace.
        ("selector: \"app = 'web'\", ingress: [{action: Allow}]", "deny deny deny deny allow"),
        ("serviceAccountSelector: 5", "deny deny deny deny allow"),
    ] {
        let policy = web_policy(spec);
        let broken = state(isolating(), &[ALLOWS, &policy]);
        assert_eq!(five(&broken), verdicts, "{spec}");
        let refusing = state(Options::default(), &[ALLOWS, &policy]);
        assert!(refusing.compile(&Scope::All).is_err(), "{spec}");
    }
    let everyone = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: g}, spec: {selector: \"(\"}}";
    assert_eq!(five(&state(isolating(), &[ALLOWS, everyone])), "deny deny deny deny deny");
    let host = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: g}, \
                spec: {selector: \"app == 'web'\", preDNAT: true, applyOnForward: true, ingress: [{action: Allow}]}}";
    assert_eq!(five(&state(isolating(), &[ALLOWS, host])), "deny allow deny allow allow");
}

#[test]
fn a_tier_that_cannot_be_read_denies_the_subjects_of_its_policies() {
    let tier = "{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: t}, spec: {order: 5, defaultAction: Maybe}}";
    let policy = web_policy("tier: t, selector: \"app == 'web'\", ingress: [{action: Allow}]");
    assert_eq!(five(&state(isolating(), &[tier, &policy])), "deny allow allow allow allow");
    // The fixed tiers cannot be moved.
    let tier = "{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: default}, spec: {order: 5, defaultAction: Pass}}";
    let policy = web_policy("selector: \"app == 'web'\", ingress: []");
    assert_eq!(five(&state(isolating(), &[tier, &policy])), "deny allow allow allow allow");
}

#[test]
fn a_rule_that_may_mean_an_unreadable_network_set_is_unreadable() {
    let set = |labels: &str, nets: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {{name: s, labels: {{{labels}}}}}, \
             spec: {{nets: [{nets}]}}}}"
        )
    };
    let denies = "selector: \"app == 'web'\", ingress: [{action: Deny, source: {selector: \"who == 'bad'\"}}, {action: Allow}]";
    let policy =
        web_policy(denies).replace("NetworkPolicy", "GlobalNetworkPolicy").replace(", namespace: shop", "");
    for (labels, nets, verdicts) in [
        ("who: bad", "198.51.100.0/24", "deny allow allow allow allow"),
        ("who: good", "198.51.100.0/24", "allow allow allow allow allow"),
        ("who: bad", "198.51.100.0/244", "deny allow allow allow allow"),
        ("who: bad", "203.0.113.0/244", "deny allow allow allow allow"),
        ("who: good", "198.51.100.0/244", "allow allow allow allow allow"),
        ("who: 5", "203.0.113.0/24", "deny allow allow allow allow"),
    ] {
        let compiler = state(isolating(), &[&set(labels, nets), &policy]);
        assert_eq!(five(&compiler), verdicts, "{labels} {nets}");
    }
}

#[test]
fn staged_policies_count_only_where_asked_and_then_hide_what_they_replace() {
    let staged = |kind: &str, name: &str, spec: &str| {
        format!(
            "{{apiVersion: projectcalico.org/v3, kind: Staged{kind}, metadata: {{name: {name}, namespace: shop}}, spec: {{{spec}}}}}"
        )
    };
    let isolates = web_policy("selector: \"app == 'web'\"");
    let asked = || Options { staged: true, ..isolating() };
    for (document, verdicts) in [
        (staged("NetworkPolicy", "new", "selector: \"app == 'api'\""), "deny deny allow allow allow"),
        (
            staged("NetworkPolicy", "new", "stagedAction: Ignore, selector: \"app == 'api'\""),
            "deny allow allow allow allow",
        ),
        (
            staged("NetworkPolicy", "new", "stagedAction: Later, selector: \"app == 'api'\""),
            "deny deny allow deny allow",
        ),
        (staged("NetworkPolicy", "broken", "stagedAction: Delete"), "allow allow allow allow allow"),
        (staged("NetworkPolicy", "broken", "stagedAction: Delete, order: 5"), "deny allow allow allow allow"),
        (
            staged("NetworkPolicy", "broken", "selector: \"app == 'web'\", egress: [{action: Deny}]"),
            "allow allow deny allow allow",
        ),
        (staged("NetworkPolicy", "broken", "stagedAction: Ignore"), "deny allow allow allow allow"),
        (staged("GlobalNetworkPolicy", "broken", "stagedAction: Delete"), "deny allow allow allow allow"),
        (
            staged("KubernetesNetworkPolicy", "new", "podSelector: {matchLabels: {app: api}}"),
            "deny deny allow allow allow",
        ),
        (
            staged("KubernetesNetworkPolicy", "new", "stagedAction: Maybe, podSelector: {}"),
            "deny deny deny deny allow",
        ),
        (staged("KubernetesNetworkPolicy", "broken", "stagedAction: Delete"), "deny allow allow allow allow"),
    ] {
        assert_eq!(five(&state(asked(), &[&isolates, &document])), verdicts, "{document}");
        assert_eq!(
            five(&state(isolating(), &[&isolates, &document])),
            "deny allow allow allow allow",
            "{document}"
        );
    }
}

#[test]
fn every_sample_is_read_without_a_remark_and_holds_of_its_state() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/policies/calico");
    let cluster = read(&folder.join("state/cluster.yaml"));
    let Ok(files) = fs::read_dir(&folder) else { panic!("the samples are there") };
    let mut seen = 0;
    let is_sample = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "yaml");
    for path in files.flatten().map(|entry| entry.path()).filter(is_sample) {
        let text = read(&path);
        let parsed = parse(&path.display().to_string(), &text);
        let remarks: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
        assert!(remarks.is_empty() && !parsed.objects.is_empty(), "{remarks:?}");
        let compiler = compiler(Options::default(), &[("cluster", &cluster), ("sample", &text)], false);
        let result = compiler.compile(&Scope::All);
        assert!(result.is_ok(), "{}: {result:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 14);
}

/// Probes of every subject, with the names of the subjects.
fn keys(cluster: &Cluster) -> Vec<(String, Key)> {
    let remotes: Vec<IpAddr> = remotes().into_iter().step_by(3).collect();
    let ports = [(6, 80), (6, 8080), (17, 53), (132, 7), (1, 0x0800), (1, 0x0301), (136, 80), (47, 0)];
    let mut keys = Vec::new();
    for (number, subject) in cluster.subjects.iter().enumerate() {
        let id = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        for &remote in &remotes {
            let own = subject.addresses.iter().copied().find(|own| own.is_ipv4() == remote.is_ipv4());
            let Some(own) = own else { continue };
            for direction in Direction::ALL {
                for (protocol, dst_port) in ports {
                    let (src, dst) =
                        if direction == Direction::Egress { (own, remote) } else { (remote, own) };
                    let key = Key { subject: id, direction, src, dst, protocol, src_port: 80, dst_port };
                    keys.push((subject.name.to_string(), key));
                }
            }
        }
    }
    keys
}

/// The verdicts of every probe, and how many came to what. `asked`: of the engines too.
fn judged(text: &str, staged: bool, asked: bool, seen: &mut BTreeMap<String, u64>) -> Vec<Action> {
    let options = Options { staged, ..isolating() };
    let compiler = compiler(options, &[("generated.yaml", text)], true);
    let cluster = compiler.cluster(&Scope::All);
    let engines = if asked {
        Engines::new(&compiler, &Scope::All, &cluster)
    } else {
        Engines { compiled: Vec::new(), reference: compiler.reference(&Scope::All, &cluster) }
    };
    let judge = |(_, key): (String, Key)| {
        let info = engines.judge(&key);
        let kind = match &info.kind {
            RuleKind::Rule { policy, .. } => format!("rule of {}", policy.kind),
            RuleKind::Unreadable { policy, .. } => format!("unreadable {}", policy.kind),
            RuleKind::DefaultDeny { .. } => "default deny".to_owned(),
            RuleKind::NotIsolated => "not isolated".to_owned(),
            _ => "other".to_owned(),
        };
        *seen.entry(format!("{} {kind}", info.action)).or_default() += 1;
        for step in &info.via {
            let step = match step {
                Step::Logged { .. } => "logged",
                Step::Passed { .. } => "passed",
                Step::Undecided { .. } => "undecided",
            };
            *seen.entry(step.to_owned()).or_default() += 1;
        }
        info.action
    };
    keys(&cluster).into_iter().map(judge).collect()
}

#[test]
fn all_engines_agree_on_generated_states() {
    let result = runner(64).run(&(calico_cluster(), proptest::bool::weighted(0.2)), |(text, staged)| {
        judged(&broken(&text), staged, true, &mut BTreeMap::new());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_reference_agrees_with_one_that_knows_only_addresses() {
    let compared = Cell::new(0_u64);
    let denied = Cell::new(0_u64);
    let result = runner(128).run(&calico_cluster(), |text| {
        let text = mended(&text);
        let documents = text.split("---\n").filter(|document| !document.contains("networking.k8s.io"));
        let text = documents.collect::<Vec<_>>().join("---\n");
        let compiler = compiler(isolating(), &[("generated.yaml", &text)], true);
        let objects: Vec<Object> = compiler.objects().cloned().collect();
        let oracle = Oracle::new(&objects);
        let cluster = compiler.cluster(&Scope::All);
        // The oracle believes what pods show.
        if !cluster.misplaced.is_empty() {
            return Ok(());
        }
        let reference = compiler.reference(&Scope::All, &cluster);
        for (pod, key) in keys(&cluster) {
            let info = reference.judge(&key);
            // The rest is decided before any policy.
            if !matches!(
                info.kind,
                RuleKind::Rule { .. } | RuleKind::DefaultDeny { .. } | RuleKind::NotIsolated
            ) {
                continue;
            }
            let Key { src, dst, protocol, src_port, dst_port, .. } = key;
            let packet = Packet { src, dst, protocol, src_port, dst_port };
            let expected = oracle.judge(&pod, key.direction, &packet);
            assert_eq!(info.action, expected, "{pod} {key:?} {info:?}\n{text}");
            compared.set(compared.get() + 1);
            denied.set(denied.get() + u64::from(expected == Action::Deny));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    println!("{} compared, {} denied", compared.get(), denied.get());
    assert!(denied.get() > 1000 && compared.get() > 2 * denied.get());
}

#[test]
fn a_broken_state_never_allows_more_than_the_same_one_mended() {
    let seen = RefCell::new(BTreeMap::new());
    let result = runner(96).run(&(calico_cluster(), proptest::bool::weighted(0.2)), |(text, staged)| {
        let seen = &mut seen.borrow_mut();
        let (broken, mended) = (broken(&text), mended(&text));
        let calico = |object: Option<&policy_compiler::ObjectKey>| {
            object.is_some_and(|key| key.kind.api_versions()[0].starts_with("projectcalico"))
        };
        for diagnostic in parse("mended.yaml", &mended).diagnostics {
            assert!(!diagnostic.is_error() || !calico(diagnostic.object.as_ref()), "{diagnostic}\n{mended}");
        }
        let is_broken = broken != mended;
        *seen.entry(format!("broken {is_broken}")).or_default() += 1;
        let as_mended = judged(&mended, staged, false, seen);
        if is_broken {
            let as_broken = judged(&broken, staged, false, seen);
            assert_eq!(as_broken.len(), as_mended.len());
            for (broken, mended) in as_broken.iter().zip(&as_mended) {
                assert!(*broken == Action::Deny || *mended == Action::Allow, "{text}");
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    // The generator is worth something only if everything came up.
    for kind in [
        "broken true",
        "broken false",
        "allow rule of Calico NetworkPolicy",
        "deny rule of Calico NetworkPolicy",
        "allow rule of GlobalNetworkPolicy",
        "deny rule of GlobalNetworkPolicy",
        "deny unreadable Calico NetworkPolicy",
        "deny unreadable GlobalNetworkPolicy",
        "deny default deny",
        "allow not isolated",
        "logged",
        "passed",
        "undecided",
    ] {
        assert!(seen.contains_key(kind), "no probe came to: {kind}");
    }
}
