//! Tokens: how many frames are due, on any clock.
//!
//! Frame `n` is due `n / rate` seconds after the beginning, so that errors do not add up. Who comes late may make up for
//! `catch_up` at once; what is later than that is left out: a load that was queued is not the load that was asked for.
//! Reads no clock.

use std::time::Duration;

/// Frames that become due at a rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokens {
    rate: f64,
    catch_up: f64,
    past: f64,
    left_out: f64,
}

impl Tokens {
    /// `rate` frames per second. What is late by more than `catch_up` is left out, but never what one call may ask for.
    pub fn new(rate: f64, catch_up: Duration, batch: usize) -> Self {
        let catch_up = (catch_up.as_secs_f64() * rate).max(batch as f64);
        Self { rate, catch_up, past: 0.0, left_out: 0.0 }
    }

    /// How many are due, at most `batch`.
    pub fn due(&mut self, elapsed: Duration, batch: usize) -> usize {
        let mut ahead = elapsed.as_secs_f64() * self.rate + 1.0 - self.past;
        if ahead > self.catch_up + 1.0 {
            let late = (ahead - self.catch_up).floor();
            self.left_out += late;
            self.past += late;
            ahead -= late;
        }
        (ahead.max(0.0) as usize).min(batch)
    }

    /// So many of those were dealt with, whether the port took them or not.
    pub fn spend(&mut self, count: usize) {
        self.past += count as f64;
    }

    /// How long until the next one is due.
    pub fn wait(&self, elapsed: Duration) -> Duration {
        let seconds = self.past / self.rate - elapsed.as_secs_f64();
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
    }

    /// Frames that came too late to be sent.
    pub fn left_out(&self) -> u64 {
        self.left_out as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Rng;

    const CATCH_UP: Duration = Duration::from_millis(1);

    /// Sends for a second on a clock that jumps by up to `jump` nanoseconds; how many were sent, and the largest burst.
    fn sent(rate: f64, jump: u64, seed: u64) -> (u64, usize, Tokens) {
        let (mut tokens, mut rng) = (Tokens::new(rate, CATCH_UP, 64), Rng::new(seed));
        let (mut now, mut total, mut largest) = (0_u64, 0_u64, 0);
        while now < 1_000_000_000 {
            let mut burst = 0;
            loop {
                let due = tokens.due(Duration::from_nanos(now), 64);
                tokens.spend(due);
                burst += due;
                if due < 64 {
                    break;
                }
            }
            total += burst as u64;
            largest = largest.max(burst);
            now += 1 + rng.number() % jump;
        }
        (total, largest, tokens)
    }

    #[test]
    fn the_rate_is_met_to_the_frame_on_a_clock_that_jumps() {
        for (seed, rate) in [(1, 1e3), (2, 123_456.0), (3, 1e6), (4, 14_880_952.0)] {
            let (total, largest, tokens) = sent(rate, 200_000, seed);
            assert_eq!(tokens.left_out(), 0);
            assert!((total as f64 - rate).abs() <= rate * 200e-6 + 1.0, "{rate}: {total}");
            assert!(largest as f64 <= rate * 200e-6 + 2.0, "{rate}: a burst of {largest}");
        }
    }

    #[test]
    fn what_is_late_is_left_out_and_not_sent_in_a_burst() {
        let rate = 1e6;
        let (total, largest, tokens) = sent(rate, 20_000_000, 5);
        assert!(largest <= 1_000 + 64, "a burst of {largest}");
        assert!(tokens.left_out() > 500_000);
        let due = total + tokens.left_out();
        assert!(due.abs_diff(1_000_000) <= 20_000, "{due}");
    }

    #[test]
    fn the_first_frame_is_due_at_once_and_the_wait_is_for_the_next() {
        let mut tokens = Tokens::new(1_000.0, CATCH_UP, 64);
        assert_eq!(tokens.due(Duration::ZERO, 64), 1);
        tokens.spend(1);
        assert_eq!(tokens.due(Duration::ZERO, 64), 0);
        assert_eq!(tokens.wait(Duration::ZERO), Duration::from_millis(1));
        assert_eq!(tokens.due(tokens.wait(Duration::ZERO), 64), 1);
    }
}
