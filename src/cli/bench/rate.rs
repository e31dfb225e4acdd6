//! Rates and latencies: the median of several runs, with their spread.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Runs of one measurement.
pub(super) const RUNS: usize = 5;

/// Operations per second, in millions, of several runs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Rate {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Rate {
    /// Calls `work`, which says how many operations it did, for `run` a time, several times.
    pub(super) fn of(run: Duration, mut work: impl FnMut() -> usize) -> Self {
        // Once to fill the caches.
        work();
        let mut rates = [0.0; RUNS];
        for rate in &mut rates {
            let (begin, mut done) = (Instant::now(), 0);
            let elapsed = loop {
                done += work();
                let elapsed = begin.elapsed();
                if elapsed >= run {
                    break elapsed;
                }
            };
            // Counts of a second's run are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let millions = done as f64 / 1e6;
            *rate = millions / elapsed.as_secs_f64();
        }
        rates.sort_by(f64::total_cmp);
        let [least, _, median, _, most] = rates;
        Self { median, least, most }
    }
}

/// How long single operations took, in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Latency {
    pub(super) operations: usize,
    pub(super) median_us: f64,
    pub(super) p99_us: f64,
    pub(super) most_us: f64,
}

impl Latency {
    /// Of these durations; `None` where there are none.
    pub(super) fn of(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort_unstable();
        let at = |thousandth: usize| {
            let position = (durations.len() * thousandth / 1000).min(durations.len().checked_sub(1)?);
            Some(durations.get(position)?.as_secs_f64() * 1e6)
        };
        Some(Self { operations: durations.len(), median_us: at(500)?, p99_us: at(990)?, most_us: at(1000)? })
    }
}
