//! A worker's watch: while somebody asks, it times what the ports take and has the pipeline time its stages.
//!
//! Off, it costs a branch for each batch. On, the ports are counted and one call in [`EVERY`] is timed, as the
//! pipeline does with its batches.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::pipeline::Pipeline;
use crate::telemetry::{Stage, StageCounters, StageTimer};

/// One batch in this many is timed: with a dozen readings of the clock, 25 ns each, far below a percent.
const EVERY: u64 = 8;

/// The watch.
pub(super) struct Watch {
    counters: Arc<StageCounters>,
    timer: Option<StageTimer>,
}

impl Watch {
    /// One that is off.
    pub(super) fn new(counters: Arc<StageCounters>) -> Self {
        Self { counters, timer: None }
    }

    /// On or off from the next batch on, for the pipeline too.
    pub(super) fn set(&mut self, on: bool, pipeline: &mut Pipeline) {
        let timer = || on.then(|| StageTimer::new(nanoseconds, Arc::clone(&self.counters)).every(EVERY));
        pipeline.time_stages(timer());
        self.timer = timer();
    }

    /// A port is about to be asked.
    pub(super) fn begin(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.begin();
        }
    }

    /// So many frames came.
    pub(super) fn received(&mut self, frames: usize) {
        if let Some(timer) = &mut self.timer {
            timer.lap(Stage::Receive, frames);
        }
    }

    /// Frames are about to be sent, if there are any.
    pub(super) fn sends(&mut self) {
        if let Some(timer) = &mut self.timer {
            timer.skip();
        }
    }

    /// So many were handed to their ports.
    pub(super) fn sent(&mut self, frames: usize) {
        if let Some(timer) = &mut self.timer {
            timer.lap(Stage::Send, frames);
        }
    }
}

/// How long the stages are to be timed. Whoever asks for it says for how long: a client that was killed asks no more.
#[derive(Debug, Default)]
pub(super) struct Lease(Option<Instant>);

impl Lease {
    /// Lets it last so long from `now`, at the least; true where it begins.
    pub(super) fn extend(&mut self, now: Instant, lease: Duration) -> bool {
        let Some(until) = now.checked_add(lease).filter(|until| *until > now) else { return false };
        let begins = self.0.is_none();
        self.0 = self.0.max(Some(until));
        begins
    }

    /// True where it has just ended.
    pub(super) fn lapse(&mut self, now: Instant) -> bool {
        self.0.take_if(|until| *until <= now).is_some()
    }
}

/// Nanoseconds since the first call.
fn nanoseconds() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_lasts_as_long_as_the_longest_that_was_asked_for() {
        let (mut lease, start) = (Lease::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!lease.lapse(at(0)), "nobody asked");
        assert!(!lease.extend(at(0), Duration::ZERO), "for no time at all");
        assert!(lease.extend(at(0), Duration::from_secs(10)));
        assert!(!lease.extend(at(5), Duration::from_secs(1)), "it has begun");
        assert!(!lease.lapse(at(9)));
        assert!(lease.lapse(at(10)));
        assert!(!lease.lapse(at(11)), "it has ended");
        assert!(lease.extend(at(12), Duration::from_secs(1)), "and begins anew");
    }
}
