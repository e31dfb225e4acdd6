//! One trial: a constant load for a duration, and what came of it.

use std::io;
use std::time::Duration;

use serde::Serialize;

/// What a trial asks for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trial {
    /// Offered load in frames per second, all generators together.
    pub load: f64,
    /// How long it is offered.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
}

/// What came of it, counted after the device has drained. `offered = received + lost`, to the frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outcome {
    /// What was asked for.
    pub trial: Trial,
    /// Frames that left the generators. Frames a generator could not send at the time they were due are not among
    /// them: a load that is queued is not offered.
    pub offered: u64,
    /// Frames that arrived.
    pub received: u64,
}

impl Outcome {
    /// Frames that did not arrive.
    pub fn lost(&self) -> u64 {
        self.offered.saturating_sub(self.received)
    }

    /// Frames that should have been sent in this time at this load.
    pub fn intended(&self) -> f64 {
        self.trial.load * self.trial.duration.as_secs_f64()
    }

    /// Lost frames by intended ones, 0 to 1. What the generators did not manage to send counts as lost, so that a
    /// load they cannot reach is never taken for one the device forwards.
    pub fn loss_ratio(&self) -> f64 {
        let intended = self.intended().max(self.offered as f64);
        if intended <= 0.0 {
            return 0.0;
        }
        // A frame is either sent or not: less than one frame short is rounding.
        let missing = intended - self.received as f64;
        if missing < 1.0 { 0.0 } else { missing / intended }
    }

    /// Frames forwarded per second.
    pub fn forwarding_rate(&self) -> f64 {
        let seconds = self.trial.duration.as_secs_f64();
        if seconds > 0.0 { self.received as f64 / seconds } else { 0.0 }
    }
}

/// Something frames can be sent through.
pub trait Device {
    /// Runs one trial. Offers the load, stops, waits until nothing more arrives, then counts.
    ///
    /// # Errors
    /// The trial could not be run at all; the search ends.
    fn run(&mut self, trial: Trial) -> io::Result<Outcome>;
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Trial};
    use std::time::Duration;

    fn outcome(load: f64, offered: u64, received: u64) -> Outcome {
        Outcome { trial: Trial { load, duration: Duration::from_secs(1) }, offered, received }
    }

    #[test]
    fn what_was_not_sent_counts_as_lost() {
        assert!(outcome(1000.0, 1000, 1000).loss_ratio() == 0.0);
        assert!((outcome(1000.0, 1000, 990).loss_ratio() - 0.01).abs() < 1e-9);
        assert!((outcome(1000.0, 900, 900).loss_ratio() - 0.1).abs() < 1e-9);
        assert_eq!(outcome(1000.0, 900, 900).lost(), 0);
    }

    #[test]
    fn a_fraction_of_a_frame_is_no_loss() {
        assert!(outcome(1000.7, 1000, 1000).loss_ratio() == 0.0);
        assert!(outcome(0.0, 0, 0).loss_ratio() == 0.0);
    }
}
