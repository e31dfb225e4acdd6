//! Compiling: everything, one pod more or less or with another label, one policy more or less; by size of the cluster.
//!
//! Input: [`ClusterShape`] (seed 1) of 100 to 10,000 pods with a tenth as many namespaces and policies, 50 pods on a node;
//! all pods as subjects, and those of one node. Unit: one compilation, from changed objects to the tables a packet is
//! judged by. Left out: parsing (see `parse`), publication. The curve to 100,000 pods and peak memory: `COMPILE_CURVE=1`
//! prints it instead, in seconds and KiB of the heap, objects not counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use harness::generate::ClusterShape;
use policy_compiler::{Compiled, Compiler, Kind, Object, ObjectKey, Options, Scope, parse};

/// Counts what is allocated and its peak.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system allocator's; what is counted on the way has no part in it.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

fn shape(pods: usize) -> ClusterShape {
    ClusterShape {
        nodes: pods.div_ceil(50).clamp(1, 250),
        pods_per_node: pods / pods.div_ceil(50).clamp(1, 250),
        namespaces: (pods / 10).max(1),
        policies: pods / 10,
        seed: 1,
    }
}

fn compiler(pods: usize) -> Compiler {
    // Memory is what is measured, not what is bounded.
    let mut compiler = Compiler::new(Options { memory_ceiling: 2 << 30, ..Options::default() });
    // More pods than a shape can have are two such clusters in one, with the same namespaces.
    let halves: usize = if pods > 50_000 { 2 } else { 1 };
    for half in 0..halves {
        let mut text = shape(pods / halves).manifests();
        if half > 0 {
            for (from, to) in [
                ("node-", "knot-"),
                ("pod-", "pot-"),
                ("policy-", "order-"),
                ("10.244.", "10.245."),
                ("fd00:10:244", "fd00:10:245"),
                ("192.0.2.", "192.0.3."),
                ("02:00:5e:10", "02:00:5e:11"),
            ] {
                text = text.replace(from, to);
            }
        }
        for object in parse("generated.yaml", &text).objects {
            compiler.upsert(object);
        }
    }
    compiler
}

fn compile(compiler: &Compiler, scope: &Scope) -> Compiled {
    compiler
        .compile(scope)
        .unwrap_or_else(|problems| panic!("the generated cluster does not compile: {problems:?}"))
}

fn object(text: &str) -> Object {
    let objects = parse("change.yaml", text).objects;
    objects.into_iter().next().unwrap_or_else(|| panic!("no object: {text}"))
}

/// A pod on node-0; the round makes it look otherwise each time.
fn pod(round: usize) -> Object {
    let (application, tier) = (round % 8, ["web", "api", "db"][round % 3]);
    object(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: changing, namespace: team-1, uid: u, labels: \
         {{app: app-{application}, tier: {tier}}}}}, spec: {{nodeName: node-0}}, \
         status: {{phase: Running, podIPs: [{{ip: 10.244.0.254}}, {{ip: \"fd00:10:244:0::fe\"}}]}}}}"
    ))
}

fn policy(round: usize) -> Object {
    let port = [80, 443, 8443][round % 3];
    object(&format!(
        "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: changing, namespace: team-1}}, \
         spec: {{podSelector: {{matchLabels: {{app: app-{}}}}}, ingress: [{{from: [{{podSelector: {{matchLabels: \
         {{tier: web}}}}}}, {{ipBlock: {{cidr: 203.0.113.0/24}}}}], ports: [{{port: {port}}}]}}]}}}}",
        round % 8
    ))
}

fn key(kind: Kind) -> ObjectKey {
    ObjectKey { kind, namespace: "team-1".to_owned(), name: "changing".to_owned() }
}

fn scopes() -> [(&'static str, Scope); 2] {
    [("all", Scope::All), ("node", Scope::Node("node-0".to_owned()))]
}

/// What changes between two compilations.
type Change = fn(&mut Compiler, usize);

const CHANGES: [(&str, Change); 5] = [
    ("pod comes or goes", |compiler, round| {
        if round.is_multiple_of(2) {
            compiler.upsert(pod(0));
        } else {
            compiler.delete(&key(Kind::Pod));
        }
    }),
    ("pod relabelled", |compiler, round| compiler.upsert(pod(round))),
    ("policy comes", |compiler, round| compiler.upsert(policy(round))),
    ("policy goes", |compiler, _| {
        compiler.delete(&key(Kind::NetworkPolicy));
    }),
    ("nothing", |_, _| {}),
];

fn changes(criterion: &mut Criterion) {
    for (name, scope) in scopes() {
        for (what, change) in CHANGES {
            let mut group = criterion.benchmark_group(format!("compile/{name}/{what}"));
            group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
            for pods in [100, 1000, 10_000] {
                let mut compiler = compiler(pods);
                let mut held = compile(&compiler, &scope);
                let mut round = 0;
                group.bench_function(BenchmarkId::from_parameter(pods), |bencher| {
                    bencher.iter_custom(|rounds| {
                        let mut spent = Duration::ZERO;
                        for _ in 0..rounds {
                            if what == "policy goes" {
                                compiler.upsert(policy(round));
                                held = compile(&compiler, &scope);
                            }
                            change(&mut compiler, round);
                            round += 1;
                            let start = Instant::now();
                            let next = compile(&compiler, &scope);
                            spent += start.elapsed();
                            // As the packet path does: the one before is let go when the next is in force.
                            held = black_box(next);
                        }
                        spent
                    });
                });
                drop(held);
            }
            group.finish();
        }
    }
}

fn full(criterion: &mut Criterion) {
    for (name, scope) in scopes() {
        let mut group = criterion.benchmark_group(format!("compile/{name}/everything"));
        group.sample_size(10);
        for pods in [100, 1000, 10_000] {
            let compiler = compiler(pods);
            group.bench_function(BenchmarkId::from_parameter(pods), |bencher| {
                bencher.iter_batched(
                    || compiler.clone(),
                    |compiler| (compile(&compiler, &scope), compiler),
                    criterion::BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

/// The median and the slowest of some changes, in microseconds.
fn microseconds(compiler: &mut Compiler, scope: &Scope, change: Change) -> (u128, u128) {
    let mut held = compile(compiler, scope);
    let mut spent: Vec<u128> = (0..101)
        .map(|round| {
            change(compiler, round);
            let start = Instant::now();
            held = compile(compiler, scope);
            start.elapsed().as_micros()
        })
        .collect();
    drop(held);
    spent.sort_unstable();
    (spent[spent.len() / 2], spent[spent.len() - 1])
}

fn curve() {
    println!("pods    scope  full s   peak KiB  kept KiB  tables KiB  rules  then, median (slowest) in us");
    for pods in [100, 1000, 10_000, 100_000] {
        for (name, scope) in scopes() {
            let mut compiler = compiler(pods);
            let before = NOW.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let start = Instant::now();
            let compiled = compile(&compiler, &scope);
            let seconds = start.elapsed().as_secs_f64();
            let kib = |bytes: usize| bytes.saturating_sub(before) >> 10;
            print!(
                "{pods:<7} {name:<6} {seconds:<8.4} {:<9} {:<9} {:<11} {:<6}",
                kib(PEAK.load(Ordering::Relaxed)),
                kib(NOW.load(Ordering::Relaxed)),
                compiled.classifier.memory_bytes() / 1024,
                compiled.rules.len(),
            );
            drop(compiled);
            let built = compiler.full_builds();
            for (what, change) in CHANGES.into_iter().filter(|(what, _)| *what != "policy goes") {
                let (median, slowest) = microseconds(&mut compiler, &scope, change);
                print!("  {what} {median} ({slowest})");
            }
            println!("  full builds {}", compiler.full_builds() - built);
        }
    }
}

fn main() {
    if std::env::var_os("COMPILE_CURVE").is_some() {
        curve();
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    full(&mut criterion);
    changes(&mut criterion);
    criterion.final_summary();
}
