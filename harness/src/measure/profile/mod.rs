//! The profile of RFC 2544: throughput, latency, frame loss rate, back-to-back frames, and the rate of new connections.
//!
//! ```text
//!  Plan ─► Runner ─► for each frame size: warm-up, flood ─► search: NDR, PDR ─► latency ─► loss curve ─► bursts
//!                        │ Order                                  then once: connection rate
//!                        ▼
//!                  Testbed: memory | two interfaces ─► Taken ─► Book, Curve, Latency ─► report::Run
//! ```
//! A *testbed* is a device with a generator before it and a counter behind it. It offers one load, stops, lets the
//! device drain and only then counts; what it says adds up: offered = received + dropped by reason + lost. The flood
//! says what the device could do at the best, which bounds the search from above; the search itself climbs from below.
//!
//! Quantities: rates in frames per second, sizes with FCS, latency from just before a frame is handed to the port to
//! just after it came out (store and forward, RFC 1242 section 3.8, with the time in the generator's queues); lost
//! frames are in no percentile and stated beside. [`Plan::rfc2544`] has the RFC's lengths of trials; every other plan
//! is shorter, and its report says that it is not conformant.

mod learning;
mod memory;
mod pair;
mod runner;
mod waits;

#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::{Rate, Shape, Sizes};

pub use crate::load::Order;

pub use learning::Learning;
pub use memory::MemoryBed;
pub use pair::PairBed;
pub use runner::{ProfileError, Progress, run};

/// What came of it, counted after the device has drained.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Frames that left the generator.
    pub offered: u64,
    /// Frames that the port before the device did not take: not offered.
    pub refused: u64,
    /// Different frames that arrived.
    pub received: u64,
    /// Frames that arrived again.
    pub duplicated: u64,
    /// Frames that arrived after later ones.
    pub reordered: u64,
    /// Drops that somebody counted, the most trustworthy first.
    pub dropped: Vec<(String, u64)>,
    /// How long the frames were sent.
    pub seconds: f64,
    /// Nanoseconds in the device.
    pub latency: Histogram<u64>,
}

impl Taken {
    /// Frames that arrived, per second of sending.
    fn received_rate(&self) -> f64 {
        self.received as f64 / self.seconds.max(1e-9)
    }
}

/// How much more than a flood brought through is tried: some devices do less when they are flooded.
const MARGIN: f64 = 1.5;

/// A device with a generator and a counter.
pub trait Testbed {
    /// What it is called in the report.
    fn name(&self) -> String;

    /// What it sends, but for sizes.
    fn shape(&self) -> &Shape;

    /// The largest frame that it can carry, with FCS.
    fn largest(&self) -> usize;

    /// The highest load to be tried, after what a flood came to.
    fn highest(&self, flood: &Taken) -> f64;

    /// At which rate bursts come, where loads up to `most` were tried.
    fn burst_rate(&self, most: f64) -> Rate;

    /// What a reader has to know of it.
    fn notes(&self) -> Vec<String>;

    /// Offers a load, stops, waits until nothing more arrives, counts.
    ///
    /// # Errors
    /// It could not be run at all; `Interrupted` where it was ended early.
    fn run(&mut self, order: &Order<'_>) -> io::Result<Taken>;
}

/// Which trials, and how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Frame sizes.
    pub sizes: Vec<Sizes>,
    /// Length of the trials that decide about throughput.
    pub trial: Duration,
    /// Relative width of the answer.
    pub width: f64,
    /// Length of a latency trial.
    pub latency: Duration,
    /// Trials of bursts, of which the mean is reported.
    pub bursts: usize,
    /// Longest burst.
    pub longest_burst: Duration,
    /// Whether the rate of new connections is searched too.
    pub connections: bool,
    /// Whether lengths are those of the RFC.
    pub conformant: bool,
}

impl Plan {
    /// RFC 2544: trials of 60 s, latency over 120 s, 50 bursts of 2 s at the most.
    pub fn rfc2544() -> Self {
        Self {
            sizes: Sizes::RFC2544.to_vec(),
            trial: Duration::from_mins(1),
            width: 0.005,
            latency: Duration::from_mins(2),
            bursts: 50,
            longest_burst: Duration::from_secs(2),
            connections: true,
            conformant: true,
        }
    }

    /// The same in trials of `trial`: not conformant.
    #[must_use]
    pub fn shortened(self, trial: Duration) -> Self {
        Self {
            trial,
            latency: trial,
            bursts: 3,
            longest_burst: trial,
            width: 0.02,
            conformant: false,
            ..self
        }
    }
}
