//! Clusters of a sweep: the engine that judges policies, and its oracle while that is bearable.
//!
//! Sizes are those of general sets, so that both stand in one chart: a cluster stands where the rules would be if its
//! policies were written out for every pod they select. 108 policies over 500 pods are about 10,000 rules, 1,236 over
//! 5,000 about 100,000; smaller ones are scaled from these.

use std::time::Instant;

use harness::generate::ruleset::Skew;
use harness::generate::{ClusterShape, pod_pairs};
use policy_compiler::classifier::Classifier;
use policy_compiler::{Compiler, Engine, Options, Pair, Scope, parse};

use super::super::pairs::{check_pairs, judged};
use super::record::Point;
use super::{BURST, Effort, FEW, LINEAR_RULES};

/// Connections judged again and again: with more, fetching their columns is measured.
const PAIRS: usize = 4_096;

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
    let [even, skewed] =
        [Skew::Uniform, Skew::Zipf].map(|skew| pod_pairs(&flat.cluster, true, skew, effort.seed, PAIRS));
    anyhow::ensure!(!even.is_empty(), "the generated cluster has no connections to judge");
    let point = |engine: &dyn Classifier, even: &[Pair], skewed: &[Pair], build_ms: f64| Point {
        rules: size,
        parameters: format!("{shape:?}"),
        build_ms,
        memory_bytes: engine.memory_bytes(),
        uniform: judged(engine, even, BURST, effort.run),
        zipf: judged(engine, skewed, BURST, effort.run),
    };
    let few = |pairs: &[Pair]| pairs.get(..FEW.min(pairs.len())).map(<[Pair]>::to_vec).unwrap_or_default();
    let (few_even, few_skewed) = (few(&even), few(&skewed));
    let (linear, linear_ms) = compile(Engine::Linear)?;
    for pairs in [&few_even, &few_skewed] {
        check_pairs(&linear, &flat, pairs, &[1, BURST])?;
    }
    let mut points = vec![("flat", "k8s", point(&*flat.classifier, &even, &skewed, flat_ms))];
    if size <= LINEAR_RULES {
        points.push(("linear", "k8s", point(&*linear.classifier, &few_even, &few_skewed, linear_ms)));
    }
    Ok(points)
}
