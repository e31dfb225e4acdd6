//! Generated clusters that change object by object: after each change the compilation made from the one before is what
//! a build from nothing gives: the same verdicts for the same reasons, the same cluster, the same diagnostics.
//!
//! Deterministic: the seed is fixed and printed; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` change it.

mod support;

use policy_compiler::{
    Compiled, Compiler, Direction, Key, Object, OnInvalid, Options, Scope, SubjectId, Verdict, parse,
};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::sample::{Index, select};
use std::cell::Cell;
use std::net::IpAddr;
use support::generate::{cluster, remotes, runner};
use support::generate_mixed::case;

const CASES: u32 = 96;
const STEPS: usize = 12;
/// Protocol, source port, destination port.
const L4: [(u8, u16, u16); 8] = [
    (6, 49152, 80),
    (6, 80, 53),
    (6, 49152, 8080),
    (6, 1, 9000),
    (6, 1, 65535),
    (17, 53, 53),
    (132, 1, 7),
    (1, 0, 0x0800),
];

fn keys(compiled: &Compiled) -> Vec<Key> {
    let mut keys = Vec::new();
    for (number, own) in compiled.cluster.subjects.iter().enumerate() {
        let subject = SubjectId(u32::try_from(number).unwrap_or(u32::MAX));
        let Some(&own) = own.addresses.first() else { continue };
        for direction in Direction::ALL {
            for &remote in &remotes() {
                for (protocol, src_port, dst_port) in L4 {
                    let (src, dst) =
                        if direction == Direction::Egress { (own, remote) } else { (remote, own) };
                    keys.push(Key { subject, direction, src, dst, protocol, src_port, dst_port });
                }
            }
        }
    }
    keys
}

fn verdicts(compiled: &Compiled, keys: &[Key]) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::UNKNOWN_SUBJECT; keys.len()];
    compiled.classifier.classify_batch(keys, &mut verdicts);
    verdicts
}

fn assert_same(changed: &Compiled, fresh: &Compiled, what: &str) {
    assert_eq!(changed.cluster, fresh.cluster, "{what}");
    assert_eq!(changed.warnings, fresh.warnings, "{what}");
    assert_eq!(changed.degraded, fresh.degraded, "{what}");
    let keys = keys(fresh);
    for ((key, one), other) in keys.iter().zip(verdicts(changed, &keys)).zip(verdicts(fresh, &keys)) {
        let (one, other) =
            ((one.action, changed.rules.get(one.rule)), (other.action, fresh.rules.get(other.rule)));
        assert_eq!(one, other, "{what}: {key:?}");
    }
}

fn compile(compiler: &Compiler, scope: &Scope) -> Compiled {
    match compiler.compile(scope) {
        Ok(compiled) => compiled,
        Err(errors) => panic!("{errors:?}"),
    }
}

/// How many changes there were, and how many of them took a full build.
#[derive(Default)]
struct Ways {
    changes: Cell<u64>,
    full: Cell<u64>,
}

/// From one state to another, object by object: each step deletes an object (0) or takes it from one of the two.
fn check((first, second): (&str, &str), scope: &Scope, staged: bool, steps: &[(Index, u8)], ways: &Ways) {
    let node_addresses = vec![IpAddr::from([203, 0, 113, 9])];
    let on_invalid = OnInvalid::Isolate;
    let mut compiler = Compiler::new(Options { on_invalid, node_addresses, staged, ..Options::default() });
    let pool: Vec<Object> =
        [first, second].iter().flat_map(|text| parse("generated.yaml", text).objects).collect();
    for object in parse("generated.yaml", first).objects {
        compiler.upsert(object);
    }
    let Ok(mut last) = compiler.compile(scope) else { return };
    for (place, action) in steps {
        let Some(object) = pool.get(place.index(pool.len())) else { continue };
        let before = keys(&last);
        let judged = verdicts(&last, &before);
        if *action == 0 {
            compiler.delete(object.key());
        } else {
            compiler.upsert(object.clone());
        }
        let next = compiler.compile(scope);
        ways.changes.set(ways.changes.get() + 1);
        let (next, fresh) = match (next, compiler.clone().compile(scope)) {
            (Ok(next), Ok(fresh)) => (next, fresh),
            (next, fresh) => {
                assert_eq!(next.err(), fresh.err(), "{action} {:?}", object.key());
                continue;
            }
        };
        assert_same(&next, &fresh, &format!("{action} {:?}", object.key()));
        // Whoever still holds the one before sees nothing of the change.
        assert_eq!(verdicts(&last, &before), judged);
        last = next;
    }
    ways.full.set(ways.full.get() + compiler.full_builds() - 1);
}

#[test]
fn a_compilation_made_from_the_one_before_is_what_a_full_build_gives() {
    let ways = Ways::default();
    let scopes = select(vec![Scope::All, Scope::Node("a".into())]);
    let steps = vec((any::<Index>(), 0_u8..4), STEPS);
    let result =
        runner(CASES).run(&(cluster(), cluster(), scopes, steps), |(first, second, scope, steps)| {
            check((&first, &second), &scope, false, &steps, &ways);
            Ok(())
        });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (changes, full) = (ways.changes.get(), ways.full.get());
    println!("{changes} changes, of which {full} took a full build");
    assert!(full * 3 < changes, "too few changes went the short way: {full} of {changes} did not");
}

#[test]
fn so_it_is_with_policies_of_every_language() {
    let ways = Ways::default();
    let scopes = select(vec![Scope::All, Scope::Node("a".into())]);
    let steps = vec((any::<Index>(), 0_u8..4), STEPS);
    let states = (case(), case(), scopes, any::<bool>(), steps);
    let result = runner(CASES).run(&states, |(first, second, scope, staged, steps)| {
        check((&first.written, &second.written), &scope, staged, &steps, &ways);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let (changes, full) = (ways.changes.get(), ways.full.get());
    println!("{changes} changes, of which {full} took a full build");
    assert!(full * 5 < changes * 4, "too few changes went the short way: {full} of {changes} did not");
}

/// Pods and policies of one namespace that come, change and go.
fn random_change(compiler: &mut Compiler, state: &mut u64) {
    let mut below = |bound: u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % bound
    };
    let (kind, number, gone) = (below(4), below(60), below(3) == 0);
    let text = if kind < 3 {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: pod-{number}, namespace: n1, labels: {{app: app-{}, \
             unique: u-{}}}}}, spec: {{nodeName: a, containers: [{{ports: [{{name: http, containerPort: {}}}]}}]}}, \
             status: {{podIPs: [{{ip: 10.42.0.{}}}, {{ip: \"fd00:42::{}\"}}]}}}}",
            below(5),
            below(1000),
            8000 + below(3),
            number + 10,
            number + 10,
        )
    } else {
        format!(
            "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: p-{number}, namespace: n1}}, \
             spec: {{podSelector: {{matchLabels: {{app: app-{}}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: \
             {{app: app-{}}}}}}}, {{ipBlock: {{cidr: 198.51.{}.0/24}}}}], ports: [{{port: {}}}, {{port: http}}]}}]}}}}",
            below(5),
            below(5),
            below(40),
            1000 + below(40),
        )
    };
    for object in parse("change.yaml", &text).objects {
        if gone {
            compiler.delete(object.key());
        } else {
            compiler.upsert(object);
        }
    }
}

#[test]
fn tables_do_not_grow_with_the_number_of_changes() {
    // Fewer than is claimed show a leak as well.
    check_growth(6_000);
}

#[test]
#[ignore = "takes minutes: cargo test -p policy-compiler --test incremental -- --ignored"]
fn so_it_is_after_a_hundred_thousand_changes() {
    check_growth(100_000);
}

fn check_growth(changes: usize) {
    let mut compiler = Compiler::new(Options::default());
    let node = "{apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDRs: [10.42.0.0/24, \"fd00:42::/64\"]}}";
    for object in parse("node.yaml", node).objects {
        compiler.upsert(object);
    }
    let mut state = 0x8472;
    let mut worst = 0;
    for change in 1..=changes {
        random_change(&mut compiler, &mut state);
        let compiled = compile(&compiler, &Scope::All);
        if change % (changes / 20) == 0 {
            let fresh = compile(&compiler.clone(), &Scope::All);
            assert_same(&compiled, &fresh, &format!("after {change} changes"));
            let [now, then] = [&compiled, &fresh].map(|one| (one.classifier.memory_bytes(), one.rules.len()));
            // At most an eighth and some is left behind before all is built anew.
            assert!(now.0 <= then.0 + then.0 / 2 + (256 << 10), "tables: {now:?} against {then:?}");
            assert!(now.1 <= then.1 + then.1 / 2 + 2_500, "rules: {now:?} against {then:?}");
            worst = worst.max(now.0 * 100 / then.0);
        }
    }
    println!(
        "{changes} changes, {} full builds; tables at worst {worst} % of fresh ones",
        compiler.full_builds()
    );
    assert!(compiler.full_builds() * 20 < changes as u64, "{} full builds", compiler.full_builds());
}
