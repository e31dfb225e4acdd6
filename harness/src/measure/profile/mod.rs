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
//!
//! With a share of denied traffic, a frame that a policy has to deny is no loss when it does not arrive; it is one when it
//! does. In memory the pipeline's own counter says how many were denied, so that those lost before it are lost. Around a
//! device nobody says why a frame is missing: there the denied ones all count as denied.

mod learning;
mod loss;
mod memory;
mod pair;
mod plan;
mod runner;
mod throughput;
mod waits;

#[cfg(test)]
mod tests;

use std::io;

use hdrhistogram::Histogram;

use crate::load::{Rate, Shape};

pub use crate::load::Order;

pub use learning::Learning;
pub use memory::MemoryBed;
pub use pair::PairBed;
pub use plan::Plan;
pub use runner::{ProfileError, Progress, leaked, run};

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
    /// Frames that were meant to be denied and did not arrive, as far as that is not known to be for another reason.
    pub denied: u64,
    /// Frames that were meant to be denied and arrived; of those received.
    pub leaked: u64,
    /// Drops that somebody counted, the most trustworthy first; those denied among them.
    pub dropped: Vec<(String, u64)>,
    /// How long the frames were sent.
    pub seconds: f64,
    /// Nanoseconds in the device.
    pub latency: Histogram<u64>,
}

impl Taken {
    /// Frames that went the way they were meant to: arrived, or were denied where a policy had to. What was to be denied
    /// and came all the same counts as lost, so that a device that denies nothing has hardly any throughput.
    pub fn as_meant(&self) -> u64 {
        self.received.saturating_sub(self.leaked).saturating_add(self.denied)
    }

    /// Those frames per second of sending.
    fn rate(&self) -> f64 {
        self.as_meant() as f64 / self.seconds.max(1e-9)
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
