//! Classifier: judging the first packets of connections, by engine, number of policies and burst.
//!
//! Input: [`ClusterShape::with_pods`] (50 pods on a node, seed 1), all pods as subjects. Of single keys: 4,096
//! connections, half between pods and half with outside addresses, about what a node's first packets look like; a
//! pod-to-pod connection counts once per end. Of pairs: 4,096 connections between pods, judged at both ends, pushed
//! beforehand; each counts once. Unit: connections judged. Left out: parsing, compiling (see `compile`), the connection table, that most packets
//! of a live node never get here. `linear` is the oracle engine, here for scale.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use harness::generate::ruleset::Skew;
use harness::generate::{ClusterShape, connections, pod_pairs};
use policy_compiler::{Action, Compiler, Engine, Options, PairBurst, RuleId, Scope, Verdict, parse};

const CONNECTIONS: usize = 4096;

fn compiler(pods: usize, policies: usize) -> Compiler {
    let parsed = parse("generated.yaml", &ClusterShape::with_pods(pods, policies).manifests());
    let mut compiler = Compiler::new(Options::default());
    for object in parsed.objects {
        compiler.upsert(object);
    }
    compiler
}

fn classify(criterion: &mut Criterion) {
    for engine in Engine::ALL {
        let mut group = criterion.benchmark_group(format!("classifier/{engine:?}").to_lowercase());
        group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
        for policies in [10, 100, 1000] {
            let compiled = compiler(500, policies)
                .compile_with(&Scope::All, engine)
                .unwrap_or_else(|problems| panic!("the generated cluster does not compile: {problems:?}"));
            let keys = connections(&compiled.cluster, 2, CONNECTIONS);
            for burst in [1, 32, 256] {
                let mut verdicts = vec![Verdict { action: Action::Deny, rule: RuleId(0) }; burst];
                let mut bursts = keys.chunks_exact(burst).cycle();
                group.throughput(Throughput::Elements(burst as u64));
                group.bench_function(BenchmarkId::new(format!("{policies} policies"), burst), |bencher| {
                    bencher.iter(|| {
                        let keys = bursts.next().unwrap_or_default();
                        compiled.classifier.classify_batch(black_box(keys), &mut verdicts);
                        black_box(&verdicts);
                    });
                });
            }
        }
        group.finish();
    }
}

/// Both ends of connections between pods at once: what a packet that stays on its node is asked.
fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classifier/pairs");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    for (pods, policies) in [(500, 10), (500, 108), (500, 1000), (500, 10_000), (5000, 1236)] {
        let compiled = compiler(pods, policies)
            .compile(&Scope::All)
            .unwrap_or_else(|problems| panic!("the generated cluster does not compile: {problems:?}"));
        for (family, v4) in [("IPv4", true), ("IPv6", false)] {
            for skew in [Skew::Uniform, Skew::Zipf] {
                let pairs = pod_pairs(&compiled.cluster, v4, skew, 2, CONNECTIONS);
                for size in [1, 32, 256] {
                    let mut bursts: Vec<PairBurst> = pairs
                        .chunks(size)
                        .map(|pairs| {
                            let mut burst = PairBurst::default();
                            for pair in pairs {
                                burst.push(pair);
                            }
                            burst
                        })
                        .collect();
                    let id = format!("{pods} pods, {policies} policies, {family}, {skew:?}");
                    group.throughput(Throughput::Elements(CONNECTIONS as u64));
                    group.bench_function(BenchmarkId::new(id, size), |bencher| {
                        bencher.iter(|| {
                            for burst in &mut bursts {
                                compiled.classifier.classify_burst(black_box(burst));
                            }
                        });
                    });
                }
            }
        }
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    classify(&mut criterion);
    pairs(&mut criterion);
    criterion.final_summary();
}
