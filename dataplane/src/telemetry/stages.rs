//! Where a worker's nanoseconds go: packets and time of each stage, from one batch in [`SAMPLED`].
//!
//! The pipeline itself reads no clock. Whoever wants the figures hands one in ([`StageTimer::new`]); it is read around
//! the stages of the sampled batches and decides nothing. Cost: a dozen readings in [`SAMPLED`] batches, far below 1 %.
//! Read by anyone through the counters, written by the worker alone.

use std::sync::Arc;

use super::Counter;

/// One batch in this many is timed.
pub const SAMPLED: u64 = 64;

/// A stage, or what stands for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Finding the flows of a batch.
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
}

impl Stage {
    /// All, in the order of the packet's path.
    pub const ALL: [Self; 10] = [
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
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
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
        }
    }
}

/// One worker's figures.
#[derive(Debug, Default)]
pub struct StageCounters {
    /// Batches, timed or not.
    pub batches: Counter,
    /// Frames in them.
    pub frames: Counter,
    packets: [Counter; Stage::ALL.len()],
    nanos: [Counter; Stage::ALL.len()],
}

impl StageCounters {
    /// Packets of sampled batches that went through a stage, and the nanoseconds it took over them.
    pub fn of(&self, stage: Stage) -> (u64, u64) {
        let place = stage as usize;
        let read = |counters: &[Counter]| counters.get(place).map_or(0, Counter::get);
        (read(&self.packets), read(&self.nanos))
    }

    /// Frames in the mean batch; `None` before the first.
    #[allow(clippy::cast_precision_loss, reason = "a mean of at most 256")]
    pub fn fill(&self) -> Option<f64> {
        let batches = self.batches.get();
        (batches > 0).then(|| self.frames.get() as f64 / batches as f64)
    }

    fn add(&self, stage: Stage, packets: u64, nanos: u64) {
        let place = stage as usize;
        if let (Some(count), Some(time)) = (self.packets.get(place), self.nanos.get(place)) {
            count.add(packets);
            time.add(nanos);
        }
    }
}

/// The watch a pipeline carries.
pub struct StageTimer {
    clock: fn() -> u64,
    counters: Arc<StageCounters>,
    since: Option<u64>,
}

impl StageTimer {
    /// One that reads `clock`, in nanoseconds from any start.
    pub fn new(clock: fn() -> u64, counters: Arc<StageCounters>) -> Self {
        Self { clock, counters, since: None }
    }

    /// A batch begins.
    pub(crate) fn begin(&mut self, frames: usize) {
        let sampled = self.counters.batches.get().is_multiple_of(SAMPLED);
        self.since = sampled.then(|| (self.clock)());
        self.counters.batches.add(1);
        self.counters.frames.add(frames as u64);
    }

    /// A stage is done with `packets` of it.
    pub(crate) fn lap(&mut self, stage: Stage, packets: usize) {
        let Some(since) = self.since else { return };
        let now = (self.clock)();
        self.counters.add(stage, packets as u64, now.saturating_sub(since));
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_batch_in_sixty_four_is_timed_and_all_are_counted() {
        let counters = Arc::new(StageCounters::default());
        let mut timer = StageTimer::new(|| 7, Arc::clone(&counters));
        for _ in 0..=SAMPLED {
            timer.begin(10);
            timer.lap(Stage::Parse, 10);
        }
        assert_eq!(counters.of(Stage::Parse), (20, 0));
        assert_eq!((counters.batches.get(), counters.fill()), (65, Some(10.0)));
    }

    #[test]
    fn stages_are_numbered_by_their_order() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
    }
}
