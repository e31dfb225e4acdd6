//! A token bucket: how often weir speaks at most, per port.
//!
//! Kept as the generic cell rate algorithm (ITU-T I.371): one number, the time at which the bucket would be
//! full again. 24 bytes, no timer; `allow` is a comparison and an addition.

use std::time::Duration;

use crate::time::Timestamp;

const SECOND_NS: u64 = 1_000_000_000;

/// `rate` events a second in the long run, `burst` at once after a pause.
///
/// ```
/// use dataplane::{respond::RateLimiter, time::Timestamp};
///
/// let mut errors = RateLimiter::new(1_000, 2);
/// let now = Timestamp::from_nanos(5);
/// assert_eq!([errors.allow(now), errors.allow(now), errors.allow(now)], [true, true, false]);
/// assert!(errors.allow(Timestamp::from_nanos(1_000_005)));
/// ```
#[derive(Debug, Clone)]
pub struct RateLimiter {
    /// Time one event takes out of the bucket; `None` when nothing is ever allowed.
    interval: Option<Duration>,
    /// How far ahead of now the bucket may be filled before an event.
    ahead: Duration,
    full_again: Timestamp,
}

impl RateLimiter {
    /// A full bucket. With a rate or burst of 0 nothing is ever allowed.
    pub fn new(rate_per_second: u32, burst: u32) -> Self {
        let interval = SECOND_NS
            .checked_div(u64::from(rate_per_second))
            .filter(|_| burst > 0)
            .map(|ns| Duration::from_nanos(ns.max(1)));
        let ahead = interval.unwrap_or_default().saturating_mul(burst.saturating_sub(1));
        Self { interval, ahead, full_again: Timestamp::ZERO }
    }

    /// True when an event at `now` would be within the rate.
    pub fn would_allow(&self, now: Timestamp) -> bool {
        self.interval.is_some() && self.full_again.since(now) <= self.ahead
    }

    /// True, and one token less, when an event at `now` is within the rate. Time that runs backwards refills
    /// nothing.
    pub fn allow(&mut self, now: Timestamp) -> bool {
        let Some(interval) = self.interval.filter(|_| self.would_allow(now)) else { return false };
        self.full_again = self.full_again.max(now).plus(interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut limiter = RateLimiter::new(100, 10);
        let passed = (0..1_000_u64)
            .filter(|tick| limiter.allow(Timestamp::from_nanos(SECOND_NS + tick * 1_000_000)))
            .count();
        assert!((109..=110).contains(&passed), "{passed}");
    }

    #[test]
    fn a_rate_or_burst_of_zero_allows_nothing() {
        assert!(!RateLimiter::new(0, 10).allow(Timestamp::from_nanos(SECOND_NS)));
        assert!(!RateLimiter::new(10, 0).allow(Timestamp::from_nanos(SECOND_NS)));
    }

    proptest! {
        #[test]
        fn no_window_ever_passes_more_than_burst_and_rate(
            rate in 1_u32..5_000, burst in 1_u32..50, gaps in prop::collection::vec(0_u64..20_000_000, 1..300),
        ) {
            let mut limiter = RateLimiter::new(rate, burst);
            let mut now = 0;
            let mut passed = Vec::new();
            for gap in gaps {
                now += gap;
                if limiter.allow(Timestamp::from_nanos(now)) {
                    passed.push(now);
                }
            }
            for (index, from) in passed.iter().enumerate() {
                for (count, to) in (1_u64..).zip(passed.iter().skip(index)) {
                    // The interval is rounded down to whole nanoseconds, hence the one in a thousand.
                    let allowed = u64::from(burst) + (to - from) * u64::from(rate) / (SECOND_NS - SECOND_NS / 1_000) + 1;
                    prop_assert!(count <= allowed, "{count} > {allowed}");
                }
            }
        }
    }
}
