//! Classifier: judging the first packets of connections, by engine, number of policies and burst.
//!
//! Input: [`ClusterShape::with_policies`] (10 nodes, 500 pods, seed 1), all pods as subjects; 4,096 connections, half
//! between pods and half with outside addresses, about what a node's first packets look like. Unit: connections
//! judged; a pod-to-pod connection counts once per end. Left out: parsing, the connection table, that most packets
//! of a live node never get here. `linear` is the oracle engine, here for scale.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use harness::generate::{ClusterShape, connections};
use policy_compiler::{Action, Compiler, Engine, Options, RuleId, Scope, Verdict, parse};

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

/// From objects to tables, for one node: what stands between a change of policy and its being in force.
fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for policies in [10, 100, 1000] {
        let compiler = compiler(policies);
        let scope = Scope::Node("node-0".to_owned());
        group.throughput(Throughput::Elements(policies as u64));
        group.bench_function(BenchmarkId::from_parameter(policies), |bencher| {
            bencher.iter(|| black_box(compiler.compile(&scope)));
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    classify(&mut criterion);
    compile(&mut criterion);
    criterion.final_summary();
}
