//! Every language and every permitted mixture of them: flat, linear and reference give the same verdict for the same
//! reason on the same way, one by one and in batches; what is invalid never allows what its mended form would not; and
//! every corner of the languages came up.
//!
//! Deterministic: the seed is fixed and printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` change it. Cases are shared out
//! between two threads, each with a seed of its own. The longer run, a million probes of other cases:
//!
//! ```text
//! cargo test -p policy-compiler --test all_languages -- --ignored --nocapture
//! ```
//!
//! `POLICY_PROBES` asks for another number of them.

mod support;

use policy_compiler::{
    Action, Compiler, Direction, Key, OnInvalid, Options, RuleId, RuleInfo, RuleKind, Scope, Step, SubjectId,
    Verdict, parse,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;
use support::corners::Counts;
use support::generate::runner_beside;
use support::generate_mixed::{Case, case};
use support::probes::{Draw, Mentioned};
use support::{Engines, compiler};

const CASES: u32 = 10_000;
const PROBES: usize = 48;
const THREADS: u64 = 2;

/// What came up.
struct Seen {
    corners: Counts,
    verdicts: BTreeMap<String, u64>,
    probes: u64,
}

impl Seen {
    fn new() -> Self {
        Self { corners: Counts::new(), verdicts: BTreeMap::new(), probes: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.corners.add(&other.corners);
        self.probes += other.probes;
        for (kind, count) in &other.verdicts {
            *self.verdicts.entry(kind.clone()).or_default() += count;
        }
    }

    fn count(&mut self, what: String) {
        *self.verdicts.entry(what).or_default() += 1;
    }

    fn verdict(&mut self, key: &Key, info: &RuleInfo) {
        let kind = match &info.kind {
            RuleKind::Rule { policy, .. } => format!("rule of {}", policy.kind),
            RuleKind::Unreadable { policy, .. } => format!("unreadable {}", policy.kind),
            RuleKind::DefaultDeny { policies, .. } if policies.len() > 1 => {
                "default deny of several policies".to_owned()
            }
            RuleKind::DefaultDeny { .. } => "default deny".to_owned(),
            RuleKind::NotIsolated => "not isolated".to_owned(),
            RuleKind::OwnNode => "own node".to_owned(),
            RuleKind::SelfTraffic => "self".to_owned(),
            RuleKind::TooLarge { .. } => "too large".to_owned(),
            RuleKind::UnreadableObject { .. } => "unreadable object".to_owned(),
            RuleKind::IpConflict { .. } => "conflict".to_owned(),
            RuleKind::Misplaced { .. } => "misplaced".to_owned(),
            RuleKind::UnknownSubject => "unknown".to_owned(),
        };
        self.count(format!("{} {kind}", info.action));
        for step in &info.via {
            let step = match step {
                Step::Logged { .. } => "logged",
                Step::Passed { .. } => "passed",
                Step::Undecided { .. } => "undecided",
            };
            self.count(format!("{} {step}", info.action));
        }
        if matches!(info.kind, RuleKind::Rule { .. }) {
            let family = if key.dst.is_ipv6() { "IPv6" } else { "IPv4" };
            self.count(format!("rule for protocol {} on {family}", key.protocol));
        }
    }
}

fn options() -> Options {
    Options {
        on_invalid: OnInvalid::Isolate,
        node_addresses: vec![[203, 0, 113, 9].into()],
        ..Options::default()
    }
}

fn check(case: &Case, scope: &Scope, probes: usize, seen: &mut Seen) {
    let compiler = compiler(options(), &[("generated.yaml", &case.written)], true);
    let cluster = compiler.cluster(scope);
    let engines = Engines::new(&compiler, scope, &cluster);
    let mentioned = Mentioned::new(&case.written);
    let lines: Vec<&str> = case.written.lines().collect();
    let mut draw = Draw(case.seed);
    let keys: Vec<Key> = (0..probes).map(|_| draw.probe(&cluster, &mentioned)).collect();
    seen.corners.made(&case.written);
    seen.probes += u64::try_from(probes).unwrap_or(0);
    let mut actions = Vec::new();
    for key in &keys {
        let info = engines.judge(key);
        seen.verdict(key, &info);
        seen.corners.reached(&lines, &info);
        actions.push(info.action);
    }
    let untouched = Verdict { action: Action::Allow, rule: RuleId(u32::MAX) };
    for compiled in &engines.compiled {
        let mut batch = vec![untouched; keys.len() + 1];
        compiled.classifier.classify_batch(&keys, &mut batch);
        for (key, verdict) in keys.iter().zip(&batch) {
            assert_eq!(*verdict, compiled.classifier.classify(key), "batch and single on {key:?}");
        }
        assert_eq!(batch.last(), Some(&untouched));
    }
    seen.count(format!("{:?}", case.mixture));
    seen.count(format!("{:?}", case.family));
    if case.written == case.mended {
        return;
    }
    seen.count("invalid".to_owned());
    let mended = support::compiler(options(), &[("mended.yaml", &case.mended)], true);
    let mended_cluster = mended.cluster(scope);
    assert_eq!(mended_cluster.subjects.len(), cluster.subjects.len(), "only policies are broken");
    let reference = mended.reference(scope, &mended_cluster);
    for (key, action) in keys.iter().zip(actions) {
        let meant = reference.judge(key);
        assert!(
            action == Action::Deny || meant.action == Action::Allow,
            "{key:?} is open: {:?}, meant: {:?}",
            engines.judge(key),
            meant.kind
        );
    }
}

fn run(cases: u32, probes: usize, first_seed: u64) -> Seen {
    let scopes =
        || proptest::sample::select(vec![Scope::All, Scope::Node("a".into()), Scope::Node("b".into())]);
    let share = |number: u64| {
        let seen = RefCell::new(Seen::new());
        let cases = cases.div_ceil(u32::try_from(THREADS).unwrap_or(1));
        let result = runner_beside(cases, first_seed + number).run(&(case(), scopes()), |(case, scope)| {
            check(&case, &scope, probes, &mut seen.borrow_mut());
            Ok(())
        });
        if let Err(error) = result {
            // What proptest shows of a text is one line.
            panic!("{}", format!("{error}").replace("\\n", "\n"));
        }
        seen.into_inner()
    };
    let mut seen = Seen::new();
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || share(number))).collect();
        for share in shares {
            match share.join() {
                Ok(share) => seen.add(&share),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    seen
}

#[test]
fn engines_agree_on_all_languages_and_every_corner_came_up() {
    let started = Instant::now();
    let seen = run(CASES, PROBES, 0);
    println!("{}", seen.corners.table());
    println!("{:#?}", seen.verdicts);
    println!("{} probes in {:?}", seen.probes, started.elapsed());
    if std::env::var_os("PROPTEST_CASES").is_some() {
        // Of few cases not all can be asked.
        return;
    }
    assert_eq!(seen.corners.missing(), [""; 0], "corners that nothing came to");
    let kinds = [
        "NetworkPolicy",
        "ClusterNetworkPolicy",
        "AdminNetworkPolicy",
        "BaselineAdminNetworkPolicy",
        "Calico NetworkPolicy",
        "GlobalNetworkPolicy",
        "CiliumNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
    ];
    let mut wanted: Vec<String> = kinds.iter().map(|kind| format!("allow rule of {kind}")).collect();
    wanted.extend(kinds.iter().skip(1).map(|kind| format!("deny rule of {kind}")));
    wanted.extend(kinds.iter().map(|kind| format!("deny unreadable {kind}")));
    let others = [
        "deny default deny",
        "deny default deny of several policies",
        "allow not isolated",
        "allow own node",
        "allow self",
        "deny conflict",
        "deny unknown",
        "allow logged",
        "deny logged",
        "allow passed",
        "deny passed",
        "allow undecided",
        "deny undecided",
        "invalid",
        "V4",
        "V6",
        "Dual",
        "Kubernetes",
        "ClusterPolicies",
        "Calico",
        "CalicoAndClusterPolicies",
        "Cilium",
        "CiliumAndClusterPolicies",
    ];
    wanted.extend(others.map(str::to_owned));
    for protocol in [6, 17, 132] {
        wanted.extend(["IPv4", "IPv6"].map(|family| format!("rule for protocol {protocol} on {family}")));
    }
    wanted.extend(["rule for protocol 1 on IPv4", "rule for protocol 58 on IPv6"].map(str::to_owned));
    for kind in wanted {
        assert!(seen.verdicts.contains_key(&kind), "no probe came to: {kind}");
    }
}

#[test]
#[ignore = "about a minute: see the head of this file"]
fn a_million_probes() {
    let wanted = std::env::var("POLICY_PROBES").ok().and_then(|text| text.parse().ok());
    let wanted: u64 = wanted.unwrap_or(1_000_000);
    let cases = u32::try_from(wanted.div_ceil(PROBES as u64)).unwrap_or(u32::MAX);
    let started = Instant::now();
    let seen = run(cases, PROBES, 1_000);
    println!("{:#?}", seen.verdicts);
    println!("{} probes in {:?}", seen.probes, started.elapsed());
    assert!(seen.probes >= wanted);
}

/// Calico's and Cilium's policies in one state.
const CALICO_AND_CILIUM: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.42.0.0/24]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}}, spec: {nodeName: a},
 status: {phase: Running, podIPs: [{ip: 10.42.0.2}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db, namespace: shop, labels: {app: db}}, spec: {nodeName: a},
 status: {phase: Running, podIPs: [{ip: 10.42.0.3}]}}
---
{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: open},
 spec: {selector: all(), types: [Ingress], ingress: [{action: Allow}]}}
---
{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: web, namespace: shop},
 spec: {endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEntities: [all]}]}}
";

fn calico_and_cilium(on_invalid: OnInvalid) -> Compiler {
    compiler(Options { on_invalid, ..Options::default() }, &[("mixed.yaml", CALICO_AND_CILIUM)], false)
}

#[test]
fn calico_and_cilium_in_one_state_are_refused_naming_both() {
    let Err(errors) = calico_and_cilium(OnInvalid::Refuse).compile(&Scope::All) else {
        panic!("the state is refused")
    };
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let about = |of: &str, other: &str| {
        errors.iter().any(|error| error.contains(of) && error.contains(&format!("there is also {other}")))
    };
    assert!(about("GlobalNetworkPolicy open", "CiliumNetworkPolicy shop/web"), "{errors:#?}");
    assert!(about("CiliumNetworkPolicy shop/web", "GlobalNetworkPolicy open"), "{errors:#?}");
    assert!(errors.iter().all(|error| error.contains("mixed.yaml:")), "{errors:#?}");
}

#[test]
fn calico_and_cilium_in_one_state_isolated_deny_the_subjects_of_ciliums() {
    let compiler = calico_and_cilium(OnInvalid::Isolate);
    assert!(parse("mixed.yaml", CALICO_AND_CILIUM).diagnostics.is_empty());
    let cluster = compiler.cluster(&Scope::All);
    let engines = Engines::new(&compiler, &Scope::All, &cluster);
    assert_eq!(engines.compiled[0].degraded.len(), 2);
    for (number, subject) in cluster.subjects.iter().enumerate() {
        let Some(other) = cluster.subjects.iter().find(|other| other.name != subject.name) else {
            panic!("there are two pods")
        };
        let key = Key {
            subject: SubjectId(u32::try_from(number).unwrap_or(u32::MAX)),
            direction: Direction::Ingress,
            src: other.addresses[0],
            dst: subject.addresses[0],
            protocol: 6,
            src_port: 49152,
            dst_port: 80,
        };
        let info = engines.judge(&key);
        if subject.name.name == "web" {
            assert_eq!(info.action, Action::Deny, "{info:?}");
            assert!(info.kind.to_string().contains("CiliumNetworkPolicy shop/web"), "{info:?}");
        } else {
            assert_eq!(info.action, Action::Allow, "{info:?}");
        }
    }
}
