//! Generated clusters and policies: flat, linear and reference give the same verdict for the same reason on
//! every probe, one by one and in batches, valid objects and (isolated) invalid ones alike.
//!
//! Deterministic: the seed is fixed and printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` change it.

mod support;

use policy_compiler::{
    Action, Compiled, Direction, Key, OnInvalid, Options, Pair, PairBurst, PairVerdict, RuleId, RuleKind,
    Scope, SubjectId, Verdict,
};
use proptest::sample::select;
use std::collections::BTreeMap;
use std::net::IpAddr;
use support::generate::{L4, cluster, remotes, runner};
use support::{Engines, compiler};

const CASES: u32 = 512;

fn check(text: &str, scope: &Scope, seen: &mut BTreeMap<String, u64>) {
    let gateway = IpAddr::from([203, 0, 113, 9]);
    let options =
        Options { on_invalid: OnInvalid::Isolate, node_addresses: vec![gateway], ..Options::default() };
    let compiler = compiler(options, &[("generated.yaml", text)], true);
    let cluster = compiler.cluster(scope);
    let engines = Engines::new(&compiler, scope, &cluster);
    let mut keys = Vec::new();
    // One subject too many: it must be unknown to all.
    for number in 0..=cluster.subjects.len() {
        let subject = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        let own = cluster.subjects.get(number).and_then(|subject| subject.addresses.first().copied());
        let own = own.unwrap_or(gateway);
        for direction in Direction::ALL {
            for &remote in &remotes() {
                for (protocol, dst_port) in L4 {
                    let (src, dst) =
                        if direction == Direction::Egress { (own, remote) } else { (remote, own) };
                    keys.push(Key { subject, direction, src, dst, protocol, src_port: 49152, dst_port });
                }
            }
        }
    }
    for key in &keys {
        let info = engines.judge(key);
        let action = info.action;
        let kind = match info.kind {
            RuleKind::Rule { .. } => "rule",
            RuleKind::DefaultDeny { .. } => "default deny",
            RuleKind::NotIsolated => "not isolated",
            RuleKind::OwnNode => "own node",
            RuleKind::SelfTraffic => "self",
            RuleKind::Unreadable { .. } => "unreadable",
            RuleKind::TooLarge { .. } => "too large",
            RuleKind::UnreadableObject { .. } => "unreadable object",
            RuleKind::IpConflict { .. } => "conflict",
            RuleKind::Misplaced { .. } => "misplaced",
            RuleKind::UnknownSubject => "unknown",
        };
        *seen.entry(format!("{action} {kind}")).or_default() += 1;
    }
    let untouched = Verdict { action: Action::Allow, rule: RuleId(u32::MAX) };
    for compiled in &engines.compiled {
        let mut batch = vec![untouched; keys.len() + 3];
        compiled.classifier.classify_batch(&keys, &mut batch);
        for (key, verdict) in keys.iter().zip(&batch) {
            assert_eq!(*verdict, compiled.classifier.classify(key), "batch and single on {key:?}");
        }
        assert_eq!(batch[keys.len()..], [untouched; 3], "answers without a key stay as they were");
        let mut short = vec![untouched; 5];
        compiled.classifier.classify_batch(&keys, &mut short);
        assert!(short.iter().zip(&batch).all(|(short, long)| short == long));
        check_pairs(compiled, &keys);
        assert!(compiled.classifier.memory_bytes() < 4 << 20);
    }
}

/// Both ends at once is what each end says alone.
fn check_pairs(compiled: &Compiled, keys: &[Key]) {
    let pairs: Vec<Pair> = keys
        .iter()
        .zip(keys.iter().rev())
        .enumerate()
        .map(|(number, (key, other))| {
            let &Key { src, dst, protocol, src_port, dst_port, .. } = key;
            let source = (number % 3 != 0).then_some(key.subject);
            let destination = (number % 4 != 0).then_some(other.subject);
            Pair { source, destination, src, dst, protocol, src_port, dst_port }
        })
        .collect();
    let untouched = PairVerdict { egress: None, ingress: Some(Verdict::UNKNOWN_SUBJECT) };
    let mut verdicts = vec![untouched; pairs.len() + 3];
    compiled.classifier.classify_pairs(&pairs, &mut verdicts);
    for (pair, verdict) in pairs.iter().zip(&verdicts) {
        let alone = |direction| pair.key(direction).map(|key| compiled.classifier.classify(&key));
        assert_eq!(verdict.egress, alone(Direction::Egress), "{pair:?}");
        assert_eq!(verdict.ingress, alone(Direction::Ingress), "{pair:?}");
    }
    assert_eq!(verdicts[pairs.len()..], [untouched; 3], "answers without a pair stay as they were");
    let mut burst = PairBurst::default();
    for pairs in [&pairs[..], &pairs[..pairs.len().min(3)], &[]] {
        burst.clear();
        let places: Vec<_> = pairs.iter().map(|pair| burst.push(pair)).collect();
        compiled.classifier.classify_burst(&mut burst);
        for ((pair, place), verdict) in pairs.iter().zip(places).zip(&verdicts) {
            let answer = burst.answer(place);
            assert_eq!((burst.pair(place), answer.verdicts()), (Some(*pair), *verdict));
            let judged = [verdict.egress, verdict.ingress].into_iter().flatten();
            assert_eq!(answer.allows(), judged.clone().all(|one| one.action == Action::Allow), "{pair:?}");
            let noted = judged.into_iter().any(|one| compiled.rules.get(one.rule).is_logged());
            assert!(answer.may_be_noted() || !noted, "{pair:?}");
        }
    }
}

#[test]
fn all_engines_agree_on_generated_clusters() {
    let seen = std::cell::RefCell::new(BTreeMap::new());
    let scopes = vec![Scope::All, Scope::Node("a".into()), Scope::Node("b".into())];
    let result = runner(CASES).run(&(cluster(), select(scopes)), |(text, scope)| {
        check(&text, &scope, &mut seen.borrow_mut());
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let seen = seen.into_inner();
    println!("{seen:#?}");
    // The generator is worth something only if every kind of verdict came up.
    for kind in [
        "allow rule",
        "deny default deny",
        "allow not isolated",
        "allow own node",
        "allow self",
        "deny unreadable",
        "deny conflict",
        "deny misplaced",
        "deny unknown",
    ] {
        assert!(seen.contains_key(kind), "no probe came to: {kind}");
    }
}
