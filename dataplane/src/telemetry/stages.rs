//! Where a worker's nanoseconds go: packets, batches and time of each stage, the ports among them.
//!
//! The pipeline itself reads no clock. Whoever wants the figures hands one in ([`StageTimer::new`]); it is read around
//! the stages of one batch in so many and decides nothing. Without a timer nothing is counted here and nothing is read.
//! Cost with one: two additions for each stage and batch, and a dozen readings of the clock in a batch that is timed.
//! Read by anyone through the counters, written by the worker alone.

use std::sync::Arc;

use super::Counter;

/// One batch in this many is timed, unless the timer says otherwise ([`StageTimer::every`]).
pub const SAMPLED: u64 = 64;

/// A stage, or what stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Taking frames from a port. Calls that found nothing are left out.
    Receive,
    /// Finding the flows of a batch, and what is rejected before it enters the stages.
    Look,
    /// Packets of known flows, from there to their port.
    Known,
    /// Out of the tunnel.
    Decap,
    /// Headers.
    Parse,
    /// Who is speaking.
    Guard,
    /// Fragments and tunnels in tunnels.
    Fragments,
    /// The connection.
    Track,
    /// May it pass.
    Policy,
    /// Next hop, rewriting, encapsulation.
    Forward,
    /// Counting, and giving memory back.
    Sweep,
    /// Handing frames to their ports, and giving memory back.
    Send,
}

impl Stage {
    /// All, in the order of the packet's path.
    pub const ALL: [Self; 12] = [
        Self::Receive,
        Self::Look,
        Self::Known,
        Self::Decap,
        Self::Parse,
        Self::Guard,
        Self::Fragments,
        Self::Track,
        Self::Policy,
        Self::Forward,
        Self::Sweep,
        Self::Send,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Look => "look",
            Self::Known => "known",
            Self::Decap => "decap",
            Self::Parse => "parse",
            Self::Guard => "guard",
            Self::Fragments => "fragments",
            Self::Track => "track",
            Self::Policy => "policy",
            Self::Forward => "forward",
            Self::Sweep => "sweep",
            Self::Send => "send",
        }
    }
}

/// What went through one stage.
#[derive(Debug, Default)]
pub struct StageCounter {
    /// Packets, timed or not.
    pub packets: Counter,
    /// Batches, or the parts of them that came to it at once: `packets` by `batches` is how full they were.
    pub batches: Counter,
    /// Packets that were timed.
    pub timed_packets: Counter,
    /// The nanoseconds these took.
    pub timed_nanoseconds: Counter,
}

/// One worker's figures.
#[derive(Debug, Default)]
pub struct StageCounters {
    stages: [StageCounter; Stage::ALL.len()],
}

impl StageCounters {
    /// What went through a stage.
    pub fn stage(&self, stage: Stage) -> &StageCounter {
        let [first, ..] = &self.stages;
        // As long as the list of all stages.
        self.stages.get(stage as usize).unwrap_or(first)
    }

    /// Packets of timed batches that went through a stage, and the nanoseconds it took over them.
    pub fn of(&self, stage: Stage) -> (u64, u64) {
        let counter = self.stage(stage);
        (counter.timed_packets.get(), counter.timed_nanoseconds.get())
    }
}

/// The watch a pipeline carries, and a worker for its ports.
pub struct StageTimer {
    clock: fn() -> u64,
    counters: Arc<StageCounters>,
    every: u64,
    /// Batches until the next one that is timed.
    left: u64,
    since: Option<u64>,
}

impl StageTimer {
    /// One that reads `clock`, in nanoseconds from any start.
    pub fn new(clock: fn() -> u64, counters: Arc<StageCounters>) -> Self {
        Self { clock, counters, every: SAMPLED, left: 0, since: None }
    }

    /// Times one batch in `every`.
    #[must_use]
    pub fn every(self, every: u64) -> Self {
        Self { every, left: 0, ..self }
    }

    /// A batch begins.
    pub(crate) fn begin(&mut self) {
        let sampled = self.left == 0;
        self.left = if sampled { self.every.saturating_sub(1) } else { self.left.saturating_sub(1) };
        self.since = sampled.then(|| (self.clock)());
    }

    /// What was done since the last stage belongs to none.
    pub(crate) fn skip(&mut self) {
        if self.since.is_some() {
            self.since = Some((self.clock)());
        }
    }

    /// A stage is done with `packets` of it.
    pub(crate) fn lap(&mut self, stage: Stage, packets: usize) {
        if packets == 0 {
            return;
        }
        let counter = self.counters.stage(stage);
        counter.packets.add(packets as u64);
        counter.batches.add(1);
        let Some(since) = self.since else { return };
        let now = (self.clock)();
        counter.timed_packets.add(packets as u64);
        counter.timed_nanoseconds.add(now.saturating_sub(since));
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn timer() -> (StageTimer, Arc<StageCounters>) {
        let counters = Arc::new(StageCounters::default());
        (StageTimer::new(|| 7, Arc::clone(&counters)), counters)
    }

    #[test]
    fn one_batch_in_sixty_four_is_timed_and_all_are_counted() {
        let (mut timer, counters) = timer();
        for _ in 0..=SAMPLED {
            timer.begin();
            timer.lap(Stage::Parse, 10);
        }
        assert_eq!(counters.of(Stage::Parse), (20, 0));
        let parse = counters.stage(Stage::Parse);
        assert_eq!((parse.packets.get(), parse.batches.get()), (650, 65));
    }

    #[test]
    fn a_stage_that_nothing_came_to_is_not_counted() {
        let (timer, counters) = timer();
        let mut timer = timer.every(1);
        timer.begin();
        timer.lap(Stage::Decap, 0);
        assert_eq!((counters.stage(Stage::Decap).batches.get(), counters.of(Stage::Decap)), (0, (0, 0)));
    }

    #[test]
    fn time_goes_to_the_stage_that_ends_unless_it_was_skipped() {
        static NOW: AtomicU64 = AtomicU64::new(0);
        let counters = Arc::new(StageCounters::default());
        let clock = || NOW.fetch_add(10, Ordering::Relaxed);
        let mut timer = StageTimer::new(clock, Arc::clone(&counters)).every(1);
        timer.begin();
        timer.lap(Stage::Receive, 3);
        timer.skip();
        timer.lap(Stage::Send, 2);
        assert_eq!((counters.of(Stage::Receive), counters.of(Stage::Send)), ((3, 10), (2, 10)));
    }

    #[test]
    fn stages_are_numbered_by_their_order() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }
}
