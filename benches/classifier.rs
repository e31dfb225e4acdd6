//! Classifier: judging the first packets of connections, by engine, number of policies and burst.
//!
//! Input: [`ClusterShape::with_policies`] (10 nodes, 500 pods, seed 1), all pods as subjects; 4,096 connections, half
//! between pods and half with outside addresses, about what a node's first packets look like. Unit: connections
//! judged; a pod-to-pod connection counts once per end. Left out: parsing, compiling (see `compile`), the connection table, that most packets
//! of a live node never get here. `linear` is the oracle engine, here for scale.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use harness::generate::{ClusterShape, Rng, connections};
use policy_compiler::{
    Action, Compiled, Compiler, Engine, Options, Pair, PairVerdict, RuleId, Scope, SubjectId, Verdict, parse,
};

const CONNECTIONS: usize = 4096;

fn compiler(policies: usize) -> Compiler {
    let parsed = parse("generated.yaml", &ClusterShape::with_policies(policies).manifests());
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
            let compiled = compiler(policies)
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
    for policies in [10, 100, 1000] {
        let compiled = compiler(policies)
            .compile(&Scope::All)
            .unwrap_or_else(|problems| panic!("the generated cluster does not compile: {problems:?}"));
        for (family, v4) in [("IPv4", true), ("IPv6", false)] {
            let pairs = pod_pairs(&compiled, v4);
            for burst in [32, 256] {
                let mut verdicts = vec![PairVerdict::default(); burst];
                let mut bursts = pairs.chunks_exact(burst).cycle();
                group.throughput(Throughput::Elements(burst as u64));
                group.bench_function(
                    BenchmarkId::new(format!("{policies} policies, {family}"), burst),
                    |bencher| {
                        bencher.iter(|| {
                            let pairs = bursts.next().unwrap_or_default();
                            compiled.classifier.classify_pairs(black_box(pairs), &mut verdicts);
                            black_box(&verdicts);
                        });
                    },
                );
            }
        }
    }
    group.finish();
}

fn pod_pairs(compiled: &Compiled, v4: bool) -> Vec<Pair> {
    let ends: Vec<(SubjectId, IpAddr)> = (0..)
        .map(SubjectId)
        .zip(&compiled.cluster.subjects)
        .filter_map(|(id, subject)| {
            Some((id, *subject.addresses.iter().find(|address| address.is_ipv4() == v4)?))
        })
        .collect();
    let mut rng = Rng::new(2);
    let mut end = || ends[rng.below(ends.len())];
    let mut ports = [80, 443, 5432, 6379, 8080, 9090, 8500, 53, 22].into_iter().cycle();
    (0..CONNECTIONS)
        .map(|_| {
            let ((source, src), (destination, dst)) = (end(), end());
            let dst_port = ports.next().unwrap_or(80);
            let (source, destination) = (Some(source), Some(destination));
            Pair { source, destination, src, dst, protocol: 6, src_port: 49152, dst_port }
        })
        .collect()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    classify(&mut criterion);
    pairs(&mut criterion);
    criterion.final_summary();
}
