//! Which side of a goal a load is on, from the trials it had (RFC 9971, load classification).
//!
//! Trials of the goal's full length count as they are. Shorter ones can only speak against a load, and only as far
//! as short ones without loss do not speak for it. A load is a lower bound when no further trials could show it to
//! be worse, an upper bound when none could show it to be better; until then it needs more trials.

use super::goal::Goal;
use super::trial::Outcome;

/// Where a load stands towards a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It meets the goal.
    Lower,
    /// It does not.
    Upper,
    /// More trials are needed to tell.
    Undecided,
}

impl Standing {
    /// The standing of a load after these trials of it, of which full length is `length` or more.
    pub(super) fn of(
        trials: &[Outcome],
        goal: &Goal,
        length: std::time::Duration,
        sum: std::time::Duration,
    ) -> Self {
        let (mut full_low, mut full_high, mut short_low, mut short_high) = (0.0, 0.0, 0.0, 0.0);
        for outcome in trials {
            let seconds = outcome.trial.duration.as_secs_f64();
            let high = outcome.loss_ratio() > goal.loss_ratio;
            match (outcome.trial.duration >= length, high) {
                (true, false) => full_low += seconds,
                (true, true) => full_high += seconds,
                (false, false) => short_low += seconds,
                (false, true) => short_high += seconds,
            }
        }
        let balancing = short_low * goal.exceed_ratio / (1.0 - goal.exceed_ratio);
        let high = full_high + f64::max(0.0, short_high - balancing);
        let whole = f64::max(full_low + high, sum.as_secs_f64());
        let accepted = whole * goal.exceed_ratio;
        if whole - full_low <= accepted {
            Self::Lower
        } else if high > accepted {
            Self::Upper
        } else {
            Self::Undecided
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;
    use crate::measure::{Goal, Outcome, Trial};
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    fn trial(duration: Duration, lost: u64) -> Outcome {
        let offered = (1000.0 * duration.as_secs_f64()) as u64;
        Outcome { trial: Trial { load: 1000.0, duration }, offered, received: offered - lost }
    }

    fn standing(trials: &[Outcome]) -> Standing {
        let goal = Goal::ndr(SECOND);
        Standing::of(trials, &goal, goal.final_trial, goal.duration_sum)
    }

    #[test]
    fn two_of_three_trials_decide() {
        let (good, bad) = (trial(SECOND, 0), trial(SECOND, 3));
        assert_eq!(standing(&[]), Standing::Undecided);
        assert_eq!(standing(&[good]), Standing::Undecided);
        assert_eq!(standing(&[good, good]), Standing::Lower);
        assert_eq!(standing(&[good, bad]), Standing::Undecided);
        assert_eq!(standing(&[good, bad, good]), Standing::Lower);
        assert_eq!(standing(&[bad, bad]), Standing::Upper);
    }

    #[test]
    fn short_trials_only_speak_against_a_load() {
        let (good, bad) = (trial(SECOND / 4, 0), trial(SECOND / 4, 1));
        assert_eq!(standing(&[good; 20]), Standing::Undecided);
        assert_eq!(standing(&[bad; 7]), Standing::Upper);
        assert_eq!(standing(&[[good; 7], [bad; 7]].concat()), Standing::Undecided);
    }

    #[test]
    fn without_exceptions_one_bad_trial_is_enough() {
        let goal = Goal { duration_sum: SECOND, exceed_ratio: 0.0, ..Goal::ndr(SECOND) };
        let standing = |trials: &[Outcome]| Standing::of(trials, &goal, SECOND, SECOND);
        assert_eq!(standing(&[trial(SECOND, 0)]), Standing::Lower);
        assert_eq!(standing(&[trial(SECOND, 0), trial(SECOND, 1)]), Standing::Upper);
    }
}
