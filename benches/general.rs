//! General rule sets: lookups by engine, shape, size, burst and skew; builds; updates.
//!
//! Input: [`RuleSetShape`] (seed 1) and packets made for its rules, nine of ten a random point of a rule's box. Unit:
//! packets. Left out: parsing, and how the public filter sets differ from these shapes (`weir bench classifier --rules`
//! measures those). `linear` is the oracle, here for scale. Bytes are printed before each build.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use harness::generate::Rng;
use harness::generate::ruleset::{Family, RuleSetShape, Skew, packets};
use policy_compiler::classifier::{General, Limits, LinearRules, LiveRules, TupleClassifier};
use policy_compiler::ruleset::RuleSet;

const PACKETS: usize = 16_384;

fn rules(family: Family, size: usize, v6: bool) -> RuleSet {
    RuleSetShape { family, rules: size, v6, seed: 1 }.rules()
}

fn general(rules: &RuleSet) -> General {
    General::new(rules, Limits::default()).unwrap_or_else(|problem| panic!("{problem}"))
}

fn lookup(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("general/lookup");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    for family in Family::ALL {
        for (size, v6) in [(1_000, false), (10_000, false), (100_000, false), (10_000, true)] {
            let rules = rules(family, size, v6);
            let mut engines: Vec<Box<dyn TupleClassifier>> = vec![Box::new(general(&rules))];
            if size == 1_000 {
                engines.push(Box::new(LinearRules::new(rules.clone())));
            }
            for skew in [Skew::Uniform, Skew::Zipf] {
                let packets = packets(&rules, skew, 2, PACKETS);
                for engine in &engines {
                    for burst in [1, 32, 256] {
                        let mut out = vec![None; burst];
                        let mut bursts = packets.chunks_exact(burst).cycle();
                        let name = format!(
                            "{} {} {size}{} {skew:?}",
                            engine.name(),
                            family.name(),
                            if v6 { " IPv6" } else { "" }
                        );
                        group.throughput(Throughput::Elements(burst as u64));
                        group.bench_function(BenchmarkId::new(name, burst), |bencher| {
                            bencher.iter(|| {
                                engine.lookup_batch(black_box(bursts.next().unwrap_or_default()), &mut out);
                                black_box(&out);
                            });
                        });
                    }
                }
            }
        }
    }
    group.finish();
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("general/build");
    group.sample_size(10);
    for family in Family::ALL {
        for size in [1_000, 10_000, 100_000] {
            let rules = rules(family, size, false);
            println!("{} {size}: {} bytes", family.name(), general(&rules).memory_bytes());
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(BenchmarkId::new(family.name(), size), |bencher| {
                bencher.iter(|| general(black_box(&rules)));
            });
        }
    }
    group.finish();
}

/// A removal and an insertion at random places; merges are left out, they run beside.
fn update(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("general/update");
    for size in [1_000, 100_000] {
        let rules = rules(Family::Acl, size, false);
        let mut live =
            LiveRules::new(&rules, Limits::default()).unwrap_or_else(|problem| panic!("{problem}"));
        let mut rng = Rng::new(3);
        group.throughput(Throughput::Elements(2));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    let (from, to) = (rng.below(size), rng.below(size));
                    let Some(rule) = rules.get(from).copied() else { continue };
                    let begin = Instant::now();
                    live.remove(from);
                    black_box(live.insert(to, rule).is_ok());
                    spent += begin.elapsed();
                    if let Some(merge) = live.merge() {
                        drop(live.adopt(merge.run()));
                    }
                }
                spent
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lookup(&mut criterion);
    build(&mut criterion);
    update(&mut criterion);
    criterion.final_summary();
}
