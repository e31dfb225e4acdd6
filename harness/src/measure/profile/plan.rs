//! Which trials a profile has and how long they take: those of RFC 2544, and shorter ones that are not conformant.

use std::time::Duration;

use crate::load::Sizes;
use crate::measure::Goal;

/// Trials that a search takes, about: for the time left.
const USUAL_TRIALS: u32 = 24;

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

    /// How long the trials of one frame size take, about.
    fn of_a_size(&self) -> Duration {
        let searched = self.trial.saturating_mul(USUAL_TRIALS) / 2;
        let bursts = self.longest_burst.saturating_mul(u32::try_from(self.bursts).unwrap_or(u32::MAX));
        searched + self.latency.saturating_mul(3) + self.trial.saturating_mul(6) + bursts
    }

    pub(super) fn foreseen(&self) -> Duration {
        let sizes = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        let connections = self.trial.saturating_mul(u32::from(self.connections) * USUAL_TRIALS) / 2;
        self.of_a_size().saturating_mul(sizes).saturating_add(connections)
    }

    pub(super) fn goals(&self) -> [Goal; 2] {
        let narrow = |goal: Goal| Goal { width: self.width, ..goal };
        if self.conformant {
            let pdr = Goal { name: "PDR".to_owned(), loss_ratio: 0.005, ..Goal::rfc2544() };
            return [narrow(Goal::rfc2544()), narrow(pdr)];
        }
        [narrow(Goal::ndr(self.trial)), narrow(Goal::pdr(self.trial))]
    }
}
