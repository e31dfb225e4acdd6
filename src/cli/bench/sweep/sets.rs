//! General rule sets of a sweep: the general engine, and the linear walk while that is bearable.

use std::time::Instant;

use harness::generate::ruleset::{Family, RuleSetShape, Skew, packets};
use policy_compiler::classifier::{General, Limits, LinearRules, TupleClassifier};
use policy_compiler::ruleset::Tuple;

use super::super::classifier::check;
use super::super::rate::Rate;
use super::record::Point;
use super::{BURST, Effort, FEW, LINEAR_RULES, PACKETS};

/// Kinds of sets, and what they are called.
pub(super) const FAMILIES: [(Family, &str); 4] =
    [(Family::Acl, "acl"), (Family::Fw, "fw"), (Family::Ipc, "ipc"), (Family::K8s, "k8s-rules")];

/// All engines on one set; engine, set and what was measured.
pub(super) fn points(
    (family, name): (Family, &'static str),
    size: usize,
    effort: Effort,
) -> anyhow::Result<Vec<(&'static str, &'static str, Point)>> {
    let shape = RuleSetShape { family, rules: size, v6: false, seed: effort.seed };
    let rules = shape.rules();
    let [even, skewed] = [Skew::Uniform, Skew::Zipf].map(|skew| packets(&rules, skew, effort.seed, PACKETS));
    let begin = Instant::now();
    let general = General::new(&rules, Limits::default())?;
    let build_ms = begin.elapsed().as_secs_f64() * 1e3;
    let linear = LinearRules::new(rules);
    let few =
        |tuples: &[Tuple]| tuples.get(..FEW.min(tuples.len())).map(<[Tuple]>::to_vec).unwrap_or_default();
    let (few_even, few_skewed) = (few(&even), few(&skewed));
    check(&general, &linear, &few_even)?;
    check(&general, &linear, &few_skewed)?;
    let point = |engine: &dyn TupleClassifier, even: &[Tuple], skewed: &[Tuple], build_ms: f64| Point {
        rules: size,
        parameters: format!("{shape:?}"),
        build_ms,
        memory_bytes: engine.memory_bytes(),
        uniform: rate(engine, even, effort),
        zipf: rate(engine, skewed, effort),
    };
    let mut points = vec![("general", name, point(&general, &even, &skewed, build_ms))];
    if size <= LINEAR_RULES {
        points.push(("linear", name, point(&linear, &few_even, &few_skewed, 0.0)));
    }
    Ok(points)
}

fn rate(engine: &dyn TupleClassifier, tuples: &[Tuple], effort: Effort) -> Rate {
    let mut out = [None; BURST];
    Rate::of(effort.run, || {
        for tuples in tuples.chunks(BURST) {
            engine.lookup_batch(tuples, &mut out);
            std::hint::black_box(&mut out);
        }
        tuples.len()
    })
}
