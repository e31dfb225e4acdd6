//! Which policies are isolated where not all of them fit: few, and found in few builds.
//!
//! Nobody can say what one policy costs: tables grow with products of what several say. So builds are tried. Candidates
//! stand in an order (see `Compiler::fit`): those that bear the blame before others come first. Of them the first one, two,
//! four … are isolated until the rest fits, then as few first ones as it takes; of these, all but the last one may be there
//! for nothing, and are given back in halves, later ones first, as long as it still fits. In the usual case, one policy that is
//! beyond all measure, the second build is the last.
//!
//! Cost: a build that fails is bounded as every build is (`lower::budget`); there are at most `3 + 2 log2(candidates)` until
//! it is known how many, and [`GIVE_BACK`] after that. What is not settled by then stays isolated, which denies more than it
//! had to. The order and the steps counted decide, never the clock: equal objects with an equal past give an equal result.

use crate::api::ObjectKey;
use std::collections::BTreeSet;
use std::ops::Range;

/// Builds after the first one that fits.
const GIVE_BACK: usize = 24;

/// A search under way.
struct Search<'a, Built, Build> {
    order: &'a [ObjectKey],
    build: Build,
    isolated: BTreeSet<ObjectKey>,
    /// What was built with exactly those isolated. Not kept while another is built: it may be as large as is allowed.
    built: Option<Built>,
    /// Builds that may still be tried.
    left: usize,
}

/// Isolates as few candidates as can be found without more builds than is reasonable; what was built, and which they
/// are. `build` makes everything with some of them isolated, and has failed with none. `None`: not even with all of them
/// isolated does the rest fit.
pub(super) fn search<Built>(
    order: &[ObjectKey],
    build: impl FnMut(&BTreeSet<ObjectKey>) -> Option<Built>,
) -> Option<(Built, BTreeSet<ObjectKey>)> {
    let mut search = Search { order, build, isolated: BTreeSet::new(), built: None, left: GIVE_BACK };
    let (mut fails, mut fits) = (0, order.len().min(1));
    while fits > fails && !search.isolate_first(fits) {
        (fails, fits) = (fits, order.len().min(fits.saturating_mul(2)));
    }
    if fits == fails {
        return None;
    }
    while fits - fails > 1 {
        let middle = fails + (fits - fails) / 2;
        if search.isolate_first(middle) { fits = middle } else { fails = middle }
    }
    search.give_back(0..fails, false);
    let Search { mut build, isolated, built, .. } = search;
    let built = built.or_else(|| build(&isolated))?;
    Some((built, isolated))
}

impl<Built, Build: FnMut(&BTreeSet<ObjectKey>) -> Option<Built>> Search<'_, Built, Build> {
    /// Isolates the first candidates and no others, if the rest fits then.
    fn isolate_first(&mut self, number: usize) -> bool {
        self.isolate(self.order.iter().take(number).cloned().collect())
    }

    /// Isolates some, if the rest fits then.
    fn isolate(&mut self, isolated: BTreeSet<ObjectKey>) -> bool {
        self.built = None;
        let Some(built) = (self.build)(&isolated) else { return false };
        (self.isolated, self.built) = (isolated, Some(built));
        true
    }

    /// Takes candidates out of isolation, as far as it fits; whether all of them. `fails`: not all of them can.
    fn give_back(&mut self, candidates: Range<usize>, fails: bool) -> bool {
        if candidates.is_empty() {
            return true;
        }
        if !fails && self.try_without(candidates.clone()) {
            return true;
        }
        if candidates.len() == 1 {
            return false;
        }
        let middle = candidates.start + candidates.len() / 2;
        // With the one half back the other cannot be: that is the whole, which was tried.
        let later = self.give_back(middle..candidates.end, false);
        self.give_back(candidates.start..middle, later) && later
    }

    fn try_without(&mut self, candidates: Range<usize>) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        let mut isolated = self.isolated.clone();
        for key in self.order.get(candidates).into_iter().flatten() {
            isolated.remove(key);
        }
        self.isolate(isolated)
    }
}

#[cfg(test)]
mod tests {
    use super::search;
    use crate::api::{Kind, ObjectKey};
    use proptest::collection::vec;
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    fn key(number: usize) -> ObjectKey {
        ObjectKey { kind: Kind::NetworkPolicy, namespace: "x".into(), name: format!("{number:04}") }
    }

    fn number(key: &ObjectKey) -> usize {
        key.name.parse().unwrap_or(usize::MAX)
    }

    /// Candidates as many as `costs`, of which those not isolated may cost `ceiling` together; which were isolated, and
    /// how many builds that took.
    fn isolated(costs: &[usize], ceiling: usize) -> (Option<Vec<usize>>, usize) {
        let order: Vec<ObjectKey> = (0..costs.len()).map(key).collect();
        let mut builds = 0;
        let found = search(&order, |isolated| {
            builds += 1;
            let rest = costs.iter().enumerate().filter(|(number, _)| !isolated.contains(&key(*number)));
            let sum: usize = rest.map(|(_, cost)| cost).sum();
            (sum <= ceiling).then_some(isolated.clone())
        });
        let found = found.map(|(built, isolated): (BTreeSet<ObjectKey>, _)| {
            assert_eq!(built, isolated, "what is handed out was built with these");
            isolated.iter().map(number).collect()
        });
        (found, builds)
    }

    #[test]
    fn one_beyond_measure_that_comes_first_takes_one_build() {
        assert_eq!(isolated(&[1000, 1, 1, 1], 10), (Some(vec![0]), 1));
    }

    #[test]
    fn one_among_ten_thousand_is_found_and_nobody_else_is_isolated() {
        for culprit in [1, 2, 3, 700, 8191, 8192, 9999] {
            let mut costs = vec![1; 10_000];
            costs[culprit] = 1_000_000;
            let (found, builds) = isolated(&costs, 20_000);
            let found = found.unwrap_or_default();
            assert!(found == [culprit], "{culprit}: {} others", found.len());
            assert!(builds <= 30, "{builds}");
        }
    }

    #[test]
    fn later_candidates_are_given_back_before_earlier_ones() {
        assert_eq!(isolated(&[5, 5, 5, 5], 10).0, Some(vec![0, 1]));
        assert_eq!(isolated(&[1, 5, 5, 5], 10).0, Some(vec![0, 1]));
    }

    #[test]
    fn a_few_among_ten_thousand_are_found_with_as_few_others_as_builds_allow() {
        let mut costs = vec![1; 10_000];
        for culprit in [3, 77, 5000] {
            costs[culprit] = 1_000_000;
        }
        let (found, builds) = isolated(&costs, 20_000);
        let found = found.unwrap_or_default();
        assert!([3, 77, 5000].iter().all(|culprit| found.contains(culprit)));
        assert!(found.len() < 100 && builds <= 60, "{} isolated in {builds} builds", found.len());
    }

    #[test]
    fn where_all_of_them_are_not_enough_nothing_is_found() {
        // The 0 stands for what is no candidate's.
        assert_eq!(search(&[key(1), key(2), key(3)], |_| None::<()>), None);
        assert_eq!(search(&[], |_| None::<()>), None);
        assert_eq!(isolated(&[7, 7, 7], 0).0, Some(vec![0, 1, 2]));
    }

    proptest! {
        #[test]
        fn what_is_left_fits_and_no_single_one_could_come_back(
            costs in vec(0..20_usize, 1..12),
            ceiling in 0..60_usize,
        ) {
            let sum: usize = costs.iter().sum();
            let (found, _) = isolated(&costs, ceiling);
            let found = found.unwrap_or_default();
            let rest = sum - found.iter().map(|&number| costs[number]).sum::<usize>();
            prop_assert!(rest <= ceiling);
            if sum > ceiling {
                for number in found {
                    prop_assert!(rest + costs[number] > ceiling, "{number} of {costs:?}");
                }
            }
        }

        #[test]
        fn equal_candidates_give_equal_results(costs in vec(0..20_usize, 1..40), ceiling in 0..60_usize) {
            prop_assert_eq!(isolated(&costs, ceiling), isolated(&costs, ceiling));
        }
    }
}
