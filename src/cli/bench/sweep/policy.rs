//! Clusters of a sweep: the engine that judges policies, and its oracle while that is bearable.
//!
//! Sizes are those of general sets, so that both stand in one chart: a cluster stands where the rules would be if its
//! policies were written out for every pod they select. 108 policies over 500 pods are about 10,000 rules, 1,236 over
//! 5,000 about 100,000; smaller ones are scaled from these.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use harness::generate::{ClusterShape, Rng, connections};
use policy_compiler::classifier::{Classifier, Pair, PairVerdict};
use policy_compiler::{Cluster, Compiler, Direction, Engine, Options, Scope, SubjectId, parse};

use super::super::rate::Rate;
use super::record::Point;
use super::{BURST, Effort, FEW, LINEAR_RULES, PACKETS};

/// Nodes, pods on each, namespaces and policies of a cluster about as large as a set of so many rules.
fn shape(size: usize, seed: u64) -> ClusterShape {
    let (nodes, pods_per_node, namespaces, policies) = match size {
        ..=10 => (1, 5, 1, 2),
        11..=100 => (1, 20, 2, 6),
        101..=1_000 => (4, 25, 5, 24),
        1_001..=10_000 => (10, 50, 20, 108),
        _ => (100, 50, 200, 1_236),
    };
    ClusterShape { nodes, pods_per_node, namespaces, policies, seed }
}

/// Both engines on one cluster; engine, set and what was measured.
pub(super) fn points(
    size: usize,
    effort: Effort,
) -> anyhow::Result<Vec<(&'static str, &'static str, Point)>> {
    let shape = shape(size, effort.seed);
    let mut compiler = Compiler::new(Options::default());
    for object in parse("generated.yaml", &shape.manifests()).objects {
        compiler.upsert(object);
    }
    let compile = |engine| {
        let begin = Instant::now();
        let compiled = compiler.compile_with(&Scope::All, engine).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            anyhow::anyhow!("the generated cluster does not compile: {first}")
        })?;
        anyhow::Ok((compiled, begin.elapsed().as_secs_f64() * 1e3))
    };
    let (flat, flat_ms) = compile(Engine::Flat)?;
    let even = pairs(&flat.cluster, effort.seed);
    anyhow::ensure!(!even.is_empty(), "the generated cluster has no connections to judge");
    let skewed = skewed(&even, effort.seed);
    let point = |engine: &dyn Classifier, even: &[Pair], skewed: &[Pair], build_ms: f64| Point {
        rules: size,
        parameters: format!("{shape:?}"),
        build_ms,
        memory_bytes: engine.memory_bytes(),
        uniform: rate(engine, even, effort),
        zipf: rate(engine, skewed, effort),
    };
    let mut points = vec![("flat", "k8s", point(&*flat.classifier, &even, &skewed, flat_ms))];
    if size <= LINEAR_RULES {
        let (linear, linear_ms) = compile(Engine::Linear)?;
        let few =
            |pairs: &[Pair]| pairs.get(..FEW.min(pairs.len())).map(<[Pair]>::to_vec).unwrap_or_default();
        let (few_even, few_skewed) = (few(&even), few(&skewed));
        for pair in &few_even {
            for key in Direction::ALL.into_iter().filter_map(|direction| pair.key(direction)) {
                // Each engine numbers the rules in its own way.
                let [expected, found] = [&linear, &flat].map(|compiled| {
                    let verdict = compiled.classifier.classify(&key);
                    (verdict.action, compiled.rules.get(verdict.rule))
                });
                anyhow::ensure!(expected == found, "{key:?}: linear {expected:?}, flat {found:?}");
            }
        }
        points.push(("linear", "k8s", point(&*linear.classifier, &few_even, &few_skewed, linear_ms)));
    }
    Ok(points)
}

/// Connections, with the subjects at both of their ends.
fn pairs(cluster: &Cluster, seed: u64) -> Vec<Pair> {
    let mut subjects: HashMap<IpAddr, SubjectId> = HashMap::new();
    for (subject, number) in cluster.subjects.iter().zip(0..) {
        subjects.extend(subject.addresses.iter().map(|&address| (address, SubjectId(number))));
    }
    let pair = |key: policy_compiler::Key| Pair {
        source: subjects.get(&key.src).copied(),
        destination: subjects.get(&key.dst).copied(),
        src: key.src,
        dst: key.dst,
        protocol: key.protocol,
        src_port: key.src_port,
        dst_port: key.dst_port,
    };
    // One family, as in the other sets.
    let all = connections(cluster, seed, 3 * PACKETS).into_iter().filter(|key| key.src.is_ipv4());
    all.take(PACKETS).map(pair).collect()
}

/// As many of these, chosen by Zipf's law: the one of rank n a share of 1/n.
fn skewed(pairs: &[Pair], seed: u64) -> Vec<Pair> {
    let mut rng = Rng::new(seed);
    let mut sum = 0_u64;
    let sums: Vec<u64> = (1..=pairs.len() as u64)
        .map(|rank| {
            sum += (1 << 32) / rank;
            sum
        })
        .collect();
    let one = |_: &Pair| {
        let at = rng.number() % sum.max(1);
        pairs.get(sums.partition_point(|&sum| sum <= at)).copied()
    };
    pairs.iter().filter_map(one).collect()
}

fn rate(engine: &dyn Classifier, pairs: &[Pair], effort: Effort) -> Rate {
    let mut out = vec![PairVerdict { egress: None, ingress: None }; BURST];
    Rate::of(effort.run, || {
        for pairs in pairs.chunks(BURST) {
            engine.classify_pairs(pairs, &mut out);
            std::hint::black_box(&mut out);
        }
        pairs.len()
    })
}
