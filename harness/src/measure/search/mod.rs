//! The search: several goals at once, rough and short first, narrow and long at the end (RFC 9971).
//!
//! It begins at the low end and climbs, so that a device is warm before it is loaded to its limit, and never meets
//! its full rate first. For every goal the interval between the highest load known to meet it and the lowest known
//! not to is halved (in relative terms) until it is narrow enough; each time the interval has become narrow enough
//! for the length of the trials so far, both ends are tried anew with longer ones. Trials of one goal count for the
//! others.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;

use super::bounds::Standing;
use super::goal::{Goal, GoalError};
use super::trial::{Device, Outcome, Trial};

#[cfg(test)]
mod tests;

/// Between which loads is searched, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// Lowest load tried, in frames per second.
    pub least: f64,
    /// Highest load tried: the line rate, or what the generators can send.
    pub most: f64,
    /// Trials after which the search gives up.
    pub trials: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The limits do not make an interval.
    #[error("loads from {least} to {most} frames per second: expected 0 < least < most, both finite")]
    Limits {
        /// The lower one.
        least: f64,
        /// The upper one.
        most: f64,
    },
    /// A goal that cannot be met.
    #[error(transparent)]
    Goal(#[from] GoalError),
    /// A trial could not be run.
    #[error("the trial at {load:.0} frames per second could not be run: {source}")]
    Device {
        /// Its load.
        load: f64,
        /// Why.
        source: io::Error,
    },
}

/// One end of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bound {
    /// Load in frames per second.
    pub load: f64,
    /// Median forwarding rate of its full-length trials.
    pub forwarded: f64,
    /// How many full-length trials it had.
    pub trials: usize,
}

/// The answer for one goal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The goal.
    pub goal: Goal,
    /// The highest load known to meet it; none: even the least load does not.
    pub lower: Option<Bound>,
    /// The lowest load known not to; none: even the highest load does.
    pub upper: Option<Bound>,
    /// Whether the interval is as narrow as the goal asks, or ends at a limit. If not, the trials ran out.
    pub complete: bool,
}

impl Found {
    /// The rate that is reported: what the device forwarded at the lower bound, in frames per second.
    pub fn rate(&self) -> f64 {
        self.lower.map_or(0.0, |bound| bound.forwarded)
    }
}

/// All answers, and every trial behind them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SearchOutcome {
    /// One for each goal, in their order.
    pub found: Vec<Found>,
    /// All trials, in the order they were run.
    pub trials: Vec<Outcome>,
    /// Whether it was ended by `go_on`.
    pub interrupted: bool,
}

/// Finds the loads of the goals. `go_on` is asked before each trial and told what there is so far; on `false` the
/// search ends with what it knows.
///
/// # Errors
/// Senseless limits or goals, or a device that cannot run a trial.
pub fn search(
    device: &mut impl Device,
    goals: &[Goal],
    limits: Limits,
    mut go_on: impl FnMut(&[Outcome]) -> bool,
) -> Result<SearchOutcome, SearchError> {
    let Limits { least, most, .. } = limits;
    if !(least > 0.0 && least < most && most.is_finite()) {
        return Err(SearchError::Limits { least, most });
    }
    for goal in goals {
        goal.check()?;
    }
    let mut searcher = Searcher { limits, loads: BTreeMap::new(), trials: Vec::new() };
    let mut interrupted = false;
    while searcher.trials.len() < limits.trials {
        // The goal that needs the lowest load goes first: the device is not pushed harder than it must be.
        let wanted = goals.iter().filter_map(|goal| searcher.next(goal));
        let Some(trial) = wanted.min_by(|a, b| a.load.total_cmp(&b.load)) else { break };
        if !go_on(&searcher.trials) {
            interrupted = true;
            break;
        }
        let outcome = device.run(trial).map_err(|source| SearchError::Device { load: trial.load, source })?;
        searcher.add(outcome);
    }
    let found = goals.iter().map(|goal| searcher.found(goal)).collect();
    Ok(SearchOutcome { found, trials: searcher.trials, interrupted })
}

/// Rounds of ever narrower intervals and longer trials.
const ROUNDS: u32 = 4;
/// By how much a load is raised while nothing is lost yet.
const CLIMB: f64 = 4.0;

/// A round of a goal.
struct Round {
    /// Length of its trials.
    length: Duration,
    /// What a load's trials have to add up to.
    sum: Duration,
    /// How narrow the interval has to be before the next round.
    width: f64,
}

impl Round {
    fn of(goal: &Goal, number: u32) -> Self {
        let last = number + 1 == ROUNDS;
        let share = f64::from(number) / f64::from(ROUNDS - 1);
        let (first, end) = (goal.initial_trial.as_secs_f64(), goal.final_trial.as_secs_f64());
        let length =
            if last { goal.final_trial } else { Duration::from_secs_f64(first * (end / first).powf(share)) };
        // Rough rounds make do with one trial of a load.
        let sum = if last { goal.duration_sum } else { length };
        let width = (goal.width * f64::from(1 << (ROUNDS - 1 - number))).min(0.5);
        Self { length, sum, width }
    }
}

struct Searcher {
    limits: Limits,
    /// Outcomes by load; keys are the bits of the load, which sort as positive numbers do.
    loads: BTreeMap<u64, Vec<Outcome>>,
    trials: Vec<Outcome>,
}

impl Searcher {
    fn add(&mut self, outcome: Outcome) {
        self.loads.entry(outcome.trial.load.to_bits()).or_default().push(outcome);
        self.trials.push(outcome);
    }

    fn standing(&self, load: f64, goal: &Goal, round: &Round) -> Standing {
        let trials = self.loads.get(&load.to_bits()).map(Vec::as_slice).unwrap_or_default();
        Standing::of(trials, goal, round.length, round.sum)
    }

    /// The lowest load that does not meet the goal, and below it the highest that does. Loads that meet it above
    /// one that does not are not believed.
    fn interval(&self, goal: &Goal, round: &Round) -> (Option<f64>, Option<f64>) {
        let mut lower = None;
        for &bits in self.loads.keys() {
            let load = f64::from_bits(bits);
            match self.standing(load, goal, round) {
                Standing::Lower => lower = Some(load),
                Standing::Upper => return (lower, Some(load)),
                Standing::Undecided => {}
            }
        }
        (lower, None)
    }

    /// The next trial a goal needs; none: it is found.
    fn next(&self, goal: &Goal) -> Option<Trial> {
        // What an earlier round found out, for the next one to start from.
        let mut hint = (None, None);
        for number in 0..ROUNDS {
            let round = Round::of(goal, number);
            if let Some(load) = self.step(goal, &round, hint) {
                return Some(Trial { load, duration: round.length });
            }
            hint = self.interval(goal, &round);
        }
        None
    }

    /// The load to be tried next in this round; none: its interval is narrow enough.
    fn step(&self, goal: &Goal, round: &Round, hint: (Option<f64>, Option<f64>)) -> Option<f64> {
        let Limits { least, most, .. } = self.limits;
        let undecided = |load: f64| self.standing(load, goal, round) == Standing::Undecided;
        match self.interval(goal, round) {
            (Some(lower), None) if lower >= most => None,
            (None, Some(upper)) if upper <= least => None,
            (Some(lower), Some(upper)) if 1.0 - lower / upper <= round.width => None,
            (Some(lower), Some(upper)) => {
                // Ends of the earlier round first, if they are in between: they are likely ones.
                let between = |load: &f64| *load > lower && *load < upper && undecided(*load);
                let (known_lower, known_upper) = hint;
                known_lower.filter(between).or(known_upper.filter(between)).or(Some((lower * upper).sqrt()))
            }
            (Some(lower), None) => {
                let known = hint.1.filter(|load| *load > lower && undecided(*load));
                Some(known.unwrap_or((lower * CLIMB).min(most)))
            }
            (None, Some(upper)) => {
                let known = hint.0.filter(|load| *load < upper && undecided(*load));
                Some(known.unwrap_or_else(|| {
                    // Below what was thought to be safe: not far, then ever farther.
                    let step = 1.0 - (2.0 * round.width).min(0.5);
                    (upper * step * step).max(least)
                }))
            }
            (None, None) => Some(hint.0.unwrap_or(least)),
        }
    }

    fn found(&self, goal: &Goal) -> Found {
        let round = Round::of(goal, ROUNDS - 1);
        let (lower, upper) = self.interval(goal, &round);
        let bound = |load: f64| {
            let trials = self.loads.get(&load.to_bits()).map(Vec::as_slice).unwrap_or_default();
            let full = trials.iter().filter(|outcome| outcome.trial.duration >= round.length);
            let mut rates: Vec<f64> = full.map(Outcome::forwarding_rate).collect();
            rates.sort_by(f64::total_cmp);
            let forwarded = rates.get(rates.len() / 2).copied().unwrap_or(0.0);
            Bound { load, forwarded, trials: rates.len() }
        };
        Found {
            goal: goal.clone(),
            lower: lower.map(bound),
            upper: upper.map(bound),
            complete: self.next(goal).is_none(),
        }
    }
}
