//! Connections judged at both ends: answers compared, and counted by the second.

use std::time::Duration;

use anyhow::bail;
use policy_compiler::classifier::Classifier;
use policy_compiler::{Compiled, Pair, PairBurst, PairVerdict, Place};

use super::rate::Rate;

/// Pushes connections into bursts.
fn bursts(pairs: &[Pair], size: usize) -> Vec<(PairBurst, Vec<Place>)> {
    let filled = |pairs: &[Pair]| {
        let mut burst = PairBurst::default();
        let places = pairs.iter().map(|pair| burst.push(pair)).collect();
        (burst, places)
    };
    pairs.chunks(size).map(filled).collect()
}

/// Compares every answer, and the reason for it, at both ends; the answers.
pub(super) fn check_pairs(
    linear: &Compiled,
    flat: &Compiled,
    pairs: &[Pair],
    sizes: &[usize],
) -> anyhow::Result<Vec<PairVerdict>> {
    let mut expected = vec![PairVerdict::default(); pairs.len()];
    linear.classifier.classify_pairs(pairs, &mut expected);
    for &size in sizes {
        let mut found = Vec::with_capacity(pairs.len());
        for (mut burst, places) in bursts(pairs, size) {
            flat.classifier.classify_burst(&mut burst);
            found.extend(places.into_iter().map(|place| burst.answer(place)));
        }
        for ((pair, expected), found) in pairs.iter().zip(&expected).zip(found) {
            let ends = [(expected.egress, found.egress()), (expected.ingress, found.ingress())];
            let same = ends.iter().all(|(expected, found)| match (expected, found) {
                (Some(one), Some(other)) => {
                    one.action == other.action && linear.rules.get(one.rule) == flat.rules.get(other.rule)
                }
                (one, other) => one.is_none() && other.is_none(),
            });
            if !same || found.allows() != expected.allows() {
                bail!("{pair:?}: linear {expected:?}, flat {found:?} in bursts of {size}");
            }
        }
    }
    Ok(expected)
}

/// How many connections a second an engine judges at both ends, in bursts of `size` that are filled beforehand.
pub(super) fn judged(engine: &dyn Classifier, pairs: &[Pair], size: usize, run: Duration) -> Rate {
    let mut bursts = bursts(pairs, size);
    Rate::of(run, || {
        for (burst, _) in &mut bursts {
            engine.classify_burst(burst);
            std::hint::black_box(burst);
        }
        pairs.len()
    })
}
