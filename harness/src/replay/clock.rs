//! The time of a replay: the capture's stamps, made monotonic, one pass after the other.

use std::time::Duration;

use dataplane::time::Timestamp;

/// Steps of the pipeline's clock. All packets of a step share one time, whatever the batches they came in, so that
/// a verdict does not depend on the speed.
pub const STEP_NS: u64 = 1_000_000;

/// Where the pipeline's time begins.
const START_NS: u64 = 1_000_000_000;

/// Stamps to time since the beginning of the replay.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    first: Option<u64>,
    /// Latest time given out.
    latest: u64,
    /// Where this pass began.
    pass: u64,
    packets: u64,
    /// Stamps that lay before the one before them.
    pub(super) backwards: u64,
    previous: u64,
}

impl Timeline {
    /// The time of the next packet, in nanoseconds since the beginning; one without a stamp, or with an earlier one,
    /// comes at the time of the one before.
    pub(super) fn place(&mut self, stamp: Option<u64>) -> u64 {
        self.packets += 1;
        let Some(stamp) = stamp else { return self.latest };
        let first = *self.first.get_or_insert(stamp);
        if stamp < self.previous {
            self.backwards += 1;
        }
        self.previous = stamp;
        let time = self.pass.saturating_add(stamp.saturating_sub(first));
        self.latest = self.latest.max(time);
        self.latest
    }

    /// Begins the capture anew, one mean gap after its end.
    pub(super) fn next_pass(&mut self) {
        let length = self.latest - self.pass;
        let gap = length.checked_div(self.packets.saturating_sub(1)).unwrap_or(0);
        self.pass = self.latest.saturating_add(gap);
        self.packets = 0;
        self.previous = 0;
    }

    /// The capture's length so far, all passes.
    pub(super) fn length(&self) -> Duration {
        Duration::from_nanos(self.latest)
    }

    /// A time as a stamp again, for output files.
    pub(super) fn stamp(&self, time: u64) -> u64 {
        self.first.unwrap_or(0).saturating_add(time)
    }
}

/// The pipeline's time at a time of the replay.
pub(super) fn pipeline_time(time: u64) -> Timestamp {
    Timestamp::from_nanos(START_NS.saturating_add(time - time % STEP_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_and_passes_follow_one_another() {
        let mut line = Timeline::default();
        let times = [Some(100), Some(110), Some(105), None, Some(130)].map(|stamp| line.place(stamp));
        assert_eq!(times, [0, 10, 10, 10, 30]);
        assert_eq!(line.backwards, 1);
        line.next_pass();
        assert_eq!(line.place(Some(100)), 37);
        assert_eq!(line.place(Some(130)), 67);
        assert_eq!(line.stamp(67), 167);
        assert_eq!(line.backwards, 1);
    }

    #[test]
    fn absurd_stamps_stop_at_the_end_of_time() {
        let mut line = Timeline::default();
        assert_eq!(line.place(Some(1)), 0);
        assert_eq!(line.place(Some(u64::MAX)), u64::MAX - 1);
        line.next_pass();
        line.place(Some(u64::MAX));
        let _ = pipeline_time(line.place(None));
    }

    #[test]
    fn the_pipelines_clock_goes_in_steps() {
        assert_eq!(pipeline_time(0), pipeline_time(STEP_NS - 1));
        assert_eq!(pipeline_time(STEP_NS).since(pipeline_time(0)), Duration::from_nanos(STEP_NS));
    }
}
