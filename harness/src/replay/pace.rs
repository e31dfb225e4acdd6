//! Pacing: when the next packet is due, and how far off it was.
//!
//! The wait sleeps while there is time for it and spins for the last [`SPIN`], because a sleeping thread is woken
//! some 60 µs late and at times much later. Due times come from the beginning, never from the packet before: errors
//! do not add up. The error of a packet is the time between when it was due and when its batch was handed to the
//! pipeline, early or late.

#![allow(clippy::cast_precision_loss, reason = "rates and times need no more than 53 bits")]

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// How long before a packet is due the wait stops sleeping.
const SPIN: Duration = Duration::from_micros(300);

/// Longest sleep: an interrupt is seen after it.
const NAP: Duration = Duration::from_millis(20);

/// How fast a capture is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// By its stamps, this many times as fast.
    Times(f64),
    /// So many packets per second, evenly.
    PerSecond(f64),
    /// As fast as it goes.
    Max,
}

/// Why a speed cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no speed: expected timed, a factor like x2.5, a rate like 1000pps, 500kpps or 1.2Mpps, or max"
)]
pub struct SpeedError(String);

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        let wrong = || SpeedError(text.to_owned());
        let positive = |number: &str, times: f64| {
            let value = number.parse::<f64>().ok().map(|value| value * times);
            value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(wrong)
        };
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "timed" => return Ok(Self::Times(1.0)),
            "max" => return Ok(Self::Max),
            _ => {}
        }
        if let Some(factor) = lower.strip_prefix('x') {
            return Ok(Self::Times(positive(factor, 1.0)?));
        }
        let rate = lower.strip_suffix("pps").ok_or_else(wrong)?;
        let (number, unit) = match rate.as_bytes().last() {
            Some(b'k') => (rate.trim_end_matches('k'), 1e3),
            Some(b'm') => (rate.trim_end_matches('m'), 1e6),
            _ => (rate, 1.0),
        };
        Ok(Self::PerSecond(positive(number.trim(), unit)?))
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Times(factor) if (factor - 1.0).abs() < f64::EPSILON => f.write_str("timed"),
            Self::Times(factor) => write!(f, "x{factor}"),
            Self::PerSecond(rate) => write!(f, "{rate}pps"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// Keeps a replay to its speed.
pub(super) struct Pacer {
    speed: Speed,
    start: Option<Instant>,
    sent: u64,
    /// Preemptions of this thread before the first packet.
    preempted: Option<u64>,
    errors: Histogram<u64>,
}

impl Pacer {
    pub(super) fn new(speed: Speed) -> Self {
        Self { speed, start: None, sent: 0, preempted: None, errors: histogram() }
    }

    /// When the next packet is due, which lies at `time` of the capture; `None`: at once.
    pub(super) fn due(&mut self, time: u64) -> Option<Instant> {
        let start = *self.start.get_or_insert_with(|| {
            self.preempted = preemptions();
            Instant::now()
        });
        self.sent += 1;
        let after = match self.speed {
            Speed::Max => return None,
            Speed::Times(factor) => time as f64 / factor,
            Speed::PerSecond(rate) => (self.sent - 1) as f64 * 1e9 / rate,
        };
        // For a time beyond what the clock can say nobody waits.
        start.checked_add(Duration::try_from_secs_f64(after / 1e9).ok()?)
    }

    /// Waits until `due`; false when interrupted.
    pub(super) fn wait(due: Instant, interrupt: &AtomicBool) -> bool {
        loop {
            let now = Instant::now();
            if now >= due {
                return true;
            }
            let left = due - now;
            if let Some(sleep) = left.checked_sub(SPIN) {
                if interrupt.load(Ordering::Relaxed) {
                    return false;
                }
                thread::sleep(sleep.min(NAP));
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// Notes that a packet due then was handed over now.
    pub(super) fn handed(&mut self, due: Instant, now: Instant) {
        let off = now.saturating_duration_since(due) + due.saturating_duration_since(now);
        // Never out of range: the histogram is clamped.
        self.errors.saturating_record(u64::try_from(off.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Time since the first packet was due.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.map_or(Duration::ZERO, |start| start.elapsed())
    }

    /// How often the scheduler has taken the processor away since the first packet.
    pub(super) fn preempted(&self) -> Option<u64> {
        preemptions()?.checked_sub(self.preempted?)
    }

    pub(super) fn speed(&self) -> Speed {
        self.speed
    }

    /// Packets per second asked for, where a rate was; else what the stamps ask for.
    pub(super) fn set_rate(&self, packets: u64, length: Duration) -> Option<f64> {
        match self.speed {
            Speed::Max => None,
            Speed::PerSecond(rate) => Some(rate),
            Speed::Times(factor) => {
                let seconds = length.as_secs_f64() / factor;
                (seconds > 0.0).then(|| packets as f64 / seconds)
            }
        }
    }

    /// How long the replay should have taken, from the first packet to the last.
    pub(super) fn set_length(&self, packets: u64, length: Duration) -> Option<Duration> {
        let seconds = match self.speed {
            Speed::Max => return None,
            Speed::PerSecond(rate) => packets.saturating_sub(1) as f64 / rate,
            Speed::Times(factor) => length.as_secs_f64() / factor,
        };
        Duration::try_from_secs_f64(seconds).ok()
    }

    pub(super) fn errors(&self) -> &Histogram<u64> {
        &self.errors
    }
}

/// Of this thread since it began; `None` where there is no Linux `/proc`.
fn preemptions() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// Nanoseconds, from 1 to a minute, to three digits: some 180 KiB.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are in order and the precision is allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read_in_every_form() {
        for (text, speed) in [
            ("timed", Speed::Times(1.0)),
            ("x2.5", Speed::Times(2.5)),
            ("500kpps", Speed::PerSecond(500_000.0)),
            ("1.2Mpps", Speed::PerSecond(1_200_000.0)),
            ("1000pps", Speed::PerSecond(1000.0)),
            ("max", Speed::Max),
        ] {
            assert_eq!(text.parse(), Ok(speed));
        }
        for text in ["", "x", "x0", "x-1", "xinf", "fast", "kpps", "0pps", "1e999pps", "10"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
    }

    #[test]
    fn due_times_come_from_the_beginning() {
        let mut pacer = Pacer::new(Speed::Times(2.0));
        let start = pacer.due(0).unwrap();
        assert_eq!(pacer.due(3_000).unwrap() - start, Duration::from_nanos(1_500));
        let mut pacer = Pacer::new(Speed::PerSecond(1e6));
        let start = pacer.due(0).unwrap();
        assert_eq!(pacer.due(0).unwrap() - start, Duration::from_micros(1));
        assert_eq!(Pacer::new(Speed::Max).due(5), None);
        // Nobody lives that long, and nothing overflows.
        let _ = Pacer::new(Speed::Times(1e-300)).due(u64::MAX);
    }

    #[test]
    fn an_interrupt_ends_a_long_wait() {
        let interrupt = AtomicBool::new(true);
        let due = Instant::now() + Duration::from_hours(1);
        assert!(!Pacer::wait(due, &interrupt));
    }
}
