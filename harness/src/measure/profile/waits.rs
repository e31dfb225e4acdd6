//! How long a thread that was timed did not run, because the scheduler had given its processor to others.
//!
//! The kernel adds it up in `/proc/thread-self/schedstat` (second number, nanoseconds in a run queue). It is read
//! only after something took suspiciously long, so that it costs nothing otherwise. A hypervisor that takes the whole
//! processor away is not seen.

use std::time::Duration;

/// What is shorter was not interrupted for long enough to matter.
const SUSPICIOUS: Duration = Duration::from_micros(50);

/// Time this thread has waited for a processor.
#[derive(Debug, Default)]
pub(super) struct Waits {
    seen: u64,
    /// All that [`Waits::within`] found.
    pub(super) total: Duration,
}

impl Waits {
    pub(super) fn new() -> Self {
        Self { seen: waited().unwrap_or(0), total: Duration::ZERO }
    }

    /// The part of `took`, which ends now, that this thread waited.
    pub(super) fn within(&mut self, took: Duration) -> Duration {
        let waited = self.since(took);
        self.total = self.total.saturating_add(waited);
        waited
    }

    /// Notes that something else took that long until now, whose waits are of no interest.
    pub(super) fn skip(&mut self, took: Duration) {
        self.since(took);
    }

    fn since(&mut self, took: Duration) -> Duration {
        if took < SUSPICIOUS {
            return Duration::ZERO;
        }
        let Some(now) = waited() else { return Duration::ZERO };
        let waited = Duration::from_nanos(now.saturating_sub(self.seen));
        self.seen = now;
        waited.min(took)
    }
}

fn waited() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}
