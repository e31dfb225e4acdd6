//! What those who may write policies in one namespace can have a compilation cost: objects that are readable and within
//! all bounds of text, and that ask for tables or work far beyond their size. Each is compiled or refused in memory that
//! does not depend on how far beyond, and a change never costs more than building everything.
//!
//! No time is asserted.

mod counting;

use counting::{Memory, counted};
use policy_compiler::{Compiled, Compiler, Diagnostic, Object, Options, Scope, parse};
use std::fmt::Write;
use std::time::Instant;

const MIB: usize = 1 << 20;

/// A cluster with so many pods in one namespace, and a policy: where the first of a kind comes, all is built anew.
fn compiler(pods: usize, ceiling: usize, label: impl Fn(usize) -> String) -> Compiler {
    let mut text = String::from(
        "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {podCIDRs: [10.0.0.0/8, 'fd00::/64']}}\n",
    );
    for number in 0..pods {
        let _ = writeln!(
            text,
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: x, labels: {{{}}}}}, \
             spec: {{nodeName: n}}, status: {{podIP: 10.1.{}.{}}}}}",
            label(number),
            number >> 8,
            number & 255
        );
    }
    let _ = writeln!(text, "---\n{}", policy("before", "  - {}\n"));
    let mut compiler = Compiler::new(Options { memory_ceiling: ceiling, ..Options::default() });
    upsert(&mut compiler, &text);
    compiler
}

fn objects(text: &str) -> Vec<Object> {
    let parsed = parse("hostile.yaml", text);
    assert!(parsed.diagnostics.is_empty(), "{:?}", parsed.diagnostics.first());
    parsed.objects
}

fn upsert(compiler: &mut Compiler, text: &str) {
    for object in objects(text) {
        compiler.upsert(object);
    }
}

struct Cost {
    result: Result<Compiled, Vec<Diagnostic>>,
    /// Most bytes at once, all bytes.
    peak: usize,
    asked: usize,
}

impl Cost {
    fn of(what: &str, compiler: &Compiler) -> Self {
        let start = Instant::now();
        let (result, Memory { peak, asked }) = counted(|| compiler.compile(&Scope::All));
        println!(
            "{what}: {} in {:?}, {} MiB at once, {} MiB in all",
            if result.is_ok() { "compiled" } else { "refused" },
            start.elapsed(),
            peak / MIB,
            asked / MIB
        );
        Self { result, peak, asked }
    }

    fn refused(&self, part: &str) {
        match &self.result {
            Ok(_) => panic!("{part} were not counted"),
            Err(errors) => {
                assert!(errors.iter().any(|error| error.to_string().contains(part)), "{:?}", errors.first());
            }
        }
    }
}

/// Size of the hostile objects: half of what is possible takes hours where nothing bounds it.
fn size(usual: usize) -> usize {
    std::env::var("HOSTILE").ok().and_then(|size| size.parse().ok()).unwrap_or(usual)
}

fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: x}}\n\
         spec:\n  podSelector: {{}}\n  ingress:\n{spec}"
    )
}

fn outside(number: usize) -> String {
    format!("10.{}.{}.{}", 128 + (number >> 16), number >> 8 & 255, number & 255)
}

#[test]
fn blocks_that_each_leave_out_another_address_are_refused() {
    let mut peers = String::from("  - from:\n");
    for number in 0..size(20_000) {
        let _ = writeln!(peers, "    - ipBlock: {{cidr: 10.0.0.0/8, except: [{}/32]}}", outside(number));
    }
    let mut compiler = compiler(20, 32 * MIB, |_| String::new());
    assert!(compiler.compile(&Scope::All).is_ok());
    upsert(&mut compiler, &policy("a", &peers));
    let cost = Cost::of("as a change", &compiler);
    cost.refused("overlapping ipBlocks");
    assert!(cost.peak < 128 * MIB && cost.asked < 1024 * MIB, "{} {}", cost.peak, cost.asked);
    let cost = Cost::of("from nothing", &compiler.clone());
    cost.refused("overlapping ipBlocks");
    assert!(cost.peak < 128 * MIB && cost.asked < 512 * MIB, "{} {}", cost.peak, cost.asked);
}

#[test]
fn a_block_that_leaves_out_very_many_is_added_in_place() {
    let mut spec = String::from("  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n");
    for number in 0..size(100_000) {
        let _ = writeln!(spec, "        - {}/32", outside(number));
    }
    let mut compiler = compiler(20, 256 * MIB, |_| String::new());
    assert!(compiler.compile(&Scope::All).is_ok());
    upsert(&mut compiler, &policy("a", &spec));
    let cost = Cost::of("many exceptions", &compiler);
    assert!(cost.result.is_ok());
    assert_eq!(compiler.full_builds(), 1);
}

#[test]
fn combinations_of_a_few_exceptions_do_not_take_a_change_hostage() {
    // No identity is new after the first few, yet each block goes to all of them and to all pods.
    let mut peers = String::from("  - from:\n");
    for number in 0..size(10_000) {
        let some: Vec<String> =
            (0..14).filter(|bit| number >> bit & 1 == 1).map(|bit| format!("{}/32", outside(bit))).collect();
        let _ = writeln!(peers, "    - ipBlock: {{cidr: 10.0.0.0/8, except: [{}]}}", some.join(", "));
    }
    let mut compiler = compiler(2000, 32 * MIB, |number| format!("l: a{number}"));
    assert!(compiler.compile(&Scope::All).is_ok());
    upsert(&mut compiler, &policy("a", &peers));
    let cost = Cost::of("combinations", &compiler);
    assert!(cost.peak < 256 * MIB && cost.asked < 2048 * MIB, "{} {}", cost.peak, cost.asked);
}

#[test]
fn rules_that_each_ask_for_another_source_port_cost_little_more_than_themselves() {
    let mut rules = String::new();
    for number in 0..size(5000) {
        let _ = writeln!(
            rules,
            "  - {{action: Allow, protocol: TCP, source: {{ports: [{}]}}, destination: {{ports: [{}]}}}}",
            number + 1,
            number + 1
        );
    }
    let text = format!(
        "apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {{name: a, namespace: x}}\n\
         spec:\n  selector: all()\n  types: [Ingress]\n  ingress:\n{rules}"
    );
    let mut compiler = compiler(2, 16 * MIB, |_| String::new());
    upsert(&mut compiler, &text);
    let cost = Cost::of("source ports", &compiler);
    assert!(cost.result.is_ok());
    assert!(cost.peak < 64 * MIB && cost.asked < 512 * MIB, "{} {}", cost.peak, cost.asked);
}

#[test]
fn selectors_of_all_pods_are_held_to_the_ceiling() {
    let mut peers = String::from("  - from:\n");
    for number in 0..size(10_000) {
        let _ = writeln!(
            peers,
            "    - podSelector: {{matchExpressions: [{{key: k{number}, operator: DoesNotExist}}]}}"
        );
    }
    // Pods that look alike share what is known of them.
    let mut alike = compiler(3000, 16 * MIB, |_| "l: a".to_owned());
    assert!(alike.compile(&Scope::All).is_ok());
    upsert(&mut alike, &policy("a", &peers));
    let cost = Cost::of("alike, as a change", &alike);
    assert!(cost.result.is_ok());
    assert!(cost.peak < 64 * MIB && cost.asked < 512 * MIB, "{} {}", cost.peak, cost.asked);
    let cost = Cost::of("alike, from nothing", &alike.clone());
    assert!(cost.result.is_ok());
    assert!(cost.peak < 64 * MIB, "{} {}", cost.peak, cost.asked);
    // Where each is another, there is too much to know.
    let mut distinct = compiler(3000, 16 * MIB, |number| format!("l: a{number}"));
    assert!(distinct.compile(&Scope::All).is_ok());
    upsert(&mut distinct, &policy("a", &peers));
    for (what, compiler) in
        [("distinct, as a change", &distinct), ("distinct, from nothing", &distinct.clone())]
    {
        let cost = Cost::of(what, compiler);
        cost.refused("selectors of pods");
        assert!(cost.peak < 96 * MIB && cost.asked < 512 * MIB, "{} {}", cost.peak, cost.asked);
    }
}

/// Otherwise a node that restarts refuses what it had in force.
#[test]
fn what_changes_led_to_is_not_refused_when_built_from_nothing() {
    let mut compiler = compiler(2, 3 * MIB, |_| String::new());
    let (mut steps, mut full) = (0_u64, 0);
    assert!(compiler.compile(&Scope::All).is_ok());
    for number in 0..4000_u64 {
        // Far from one another: what a trie takes for them is less than what it could take.
        let spec = format!("  - from: [{{ipBlock: {{cidr: '{:x}::1/128'}}}}]\n", 0x2000 + number);
        upsert(&mut compiler, &policy(&format!("a{number}"), &spec).replace("{}", "{matchLabels: {a: b}}"));
        let changed = compiler.compile(&Scope::All).is_ok();
        full = if changed { compiler.full_builds() } else { full };
        if number % 100 == 0 || !changed {
            let fresh = compiler.clone().compile(&Scope::All);
            assert_eq!(fresh.is_ok(), changed, "after {number}: {:?}", fresh.err());
        }
        if !changed {
            break;
        }
        steps += 1;
    }
    println!("{steps} changes, {full} full builds");
    assert!((1000..4000).contains(&steps) && full * 50 < steps, "{full} full builds of {steps} changes");
}
