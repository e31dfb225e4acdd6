//! A device whose capacity is known: what the search is tested on.

use std::io;

use super::trial::{Device, Outcome, Trial};

/// Forwards everything up to its knee, nothing beyond it, and is sometimes disturbed.
pub(super) struct Simulated {
    /// Frames per second it can forward.
    pub(super) knee: f64,
    /// One in this many trials is disturbed and loses 1 in 500 frames; 0: none.
    pub(super) disturbed: u64,
    /// Frames per second the generators can send.
    pub(super) line_rate: f64,
    state: u64,
    /// Everything that was run.
    pub(super) log: Vec<Outcome>,
}

impl Simulated {
    pub(super) fn new(knee: f64, seed: u64) -> Self {
        // An odd state is never zero, where the generator would stay.
        Self { knee, disturbed: 0, line_rate: f64::INFINITY, state: seed << 1 | 1, log: Vec::new() }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl Device for Simulated {
    fn run(&mut self, trial: Trial) -> io::Result<Outcome> {
        let seconds = trial.duration.as_secs_f64();
        let offered = (trial.load.min(self.line_rate) * seconds).floor();
        let mut received = offered.min((self.knee * seconds).floor());
        if self.disturbed > 0 && self.next().is_multiple_of(self.disturbed) {
            received = (received * 0.998).floor();
        }
        let outcome = Outcome { trial, offered: offered as u64, received: received as u64 };
        self.log.push(outcome);
        Ok(outcome)
    }
}
