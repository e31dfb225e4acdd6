//! Sending at a rate, out of any port, and what the port took.
//!
//! ```text
//!  clock ─► Tokens: so many are due ─► Generator writes them, stamped now ─► Port::send ─► sent | refused
//! ```
//! Waits by sleeping while there is time and by yielding for the last [`SPIN`]. Frames that the port refuses are not
//! sent again: they were never offered. Frames that could not be made in time are left out, and both show in the
//! reached rate, which is that of what the port took.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::ports::Port;
use serde::Serialize;

use super::generator::{Generator, Written};
use super::tokens::Tokens;
use crate::replay::Speed;

/// Nearer than this the wait does not sleep.
const SPIN: Duration = Duration::from_micros(200);
/// Longest sleep: an interrupt is seen after it.
const NAP: Duration = Duration::from_millis(20);
/// What is later than this is left out.
const CATCH_UP: Duration = Duration::from_millis(10);

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// Frames per second.
    PerSecond(f64),
    /// As fast as the port takes them.
    Max,
}

/// Why it is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate: expected frames per second like 1000, 500kpps or 1.2Mpps, or max")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let lower = text.to_ascii_lowercase();
        let speed = if lower == "max" || lower.ends_with("pps") { lower } else { lower + "pps" };
        match speed.parse() {
            Ok(Speed::PerSecond(rate)) => Ok(Self::PerSecond(rate)),
            Ok(Speed::Max) => Ok(Self::Max),
            _ => Err(RateError(text.to_owned())),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond(rate) => write!(f, "{rate} packet/s"),
            Self::Max => f.write_str("max"),
        }
    }
}

/// The time of a trial, for stamps.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the beginning.
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What was offered, and what not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Offered {
    /// Frames the port took.
    pub sent: u64,
    /// Frames it refused because a queue was full.
    pub congested: u64,
    /// Frames it refused for another reason.
    pub failed: u64,
    /// Frames that came too late to be sent.
    pub left_out: u64,
    /// Frames made that were meant to be denied, of those sent and refused.
    pub denied: u64,
    /// Frames made that began a flow.
    pub new_flows: u64,
    /// From the first frame to the last.
    pub seconds: f64,
}

impl Offered {
    /// Frames sent per second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.sent as f64 / self.seconds } else { 0.0 }
    }

    /// Frames that were made and not taken.
    pub fn refused(&self) -> u64 {
        self.congested.saturating_add(self.failed)
    }

    fn made(&mut self, written: Written) {
        self.denied = written.denied;
        self.new_flows = written.new_flows;
    }
}

/// Sends frames at `rate` until `duration` is over, `frames` are made or `stop` is set.
///
/// # Errors
/// The port is gone.
pub fn send(
    port: &mut dyn Port,
    generator: &mut Generator,
    (rate, duration, frames): (Rate, Duration, u64),
    clock: &Clock,
    stop: &AtomicBool,
) -> io::Result<Offered> {
    let (mut pool, mut batch) = (Pool::new(2 * BATCH_FRAMES), Batch::with_capacity(BATCH_FRAMES));
    let mut offered = Offered::default();
    let (per_second, intended) = match rate {
        // At the rate, all that are due within the duration.
        Rate::PerSecond(rate) => (rate, frames.min((rate * duration.as_secs_f64()).floor() as u64)),
        Rate::Max => (f64::INFINITY, frames),
    };
    let mut tokens = Tokens::new(per_second, CATCH_UP, BATCH_FRAMES);
    let begin = Instant::now();
    let mut made = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let left = intended.saturating_sub(made.saturating_add(tokens.left_out()));
        let elapsed = begin.elapsed();
        if left == 0 || (rate == Rate::Max && elapsed >= duration) {
            break;
        }
        let due = if rate == Rate::Max { BATCH_FRAMES } else { tokens.due(elapsed, BATCH_FRAMES) };
        let due = due.min(usize::try_from(left).unwrap_or(usize::MAX));
        if due == 0 {
            pause(tokens.wait(elapsed));
            continue;
        }
        let now = clock.now();
        for _ in 0..due {
            let mut frame = pool.take().unwrap_or_default();
            generator.write(&mut frame, now);
            batch.push(frame);
        }
        made = made.saturating_add(due as u64);
        tokens.spend(due);
        let sent = port.send(&mut pool, &mut batch)?;
        offered.sent = offered.sent.saturating_add(sent.frames as u64);
        offered.congested = offered.congested.saturating_add(sent.congested as u64);
        offered.failed = offered.failed.saturating_add(sent.failed as u64);
        if sent.frames == 0 {
            // Who cannot take anything is not asked again in the same moment.
            std::thread::yield_now();
        }
    }
    offered.seconds = begin.elapsed().as_secs_f64();
    offered.left_out =
        if rate == Rate::Max { 0 } else { tokens.left_out().min(intended.saturating_sub(made)) };
    offered.made(generator.written());
    Ok(offered)
}

fn pause(wait: Duration) {
    match wait.checked_sub(SPIN) {
        Some(sleep) => std::thread::sleep(sleep.min(NAP)),
        None => std::thread::yield_now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_in_every_form() {
        for (text, rate) in [
            ("1000", Rate::PerSecond(1e3)),
            ("500k", Rate::PerSecond(5e5)),
            ("1.2Mpps", Rate::PerSecond(1.2e6)),
            ("max", Rate::Max),
        ] {
            assert_eq!(text.parse(), Ok(rate));
        }
        for text in ["", "x2", "timed", "-1", "0", "fast", "inf"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
