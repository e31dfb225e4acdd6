//! What a search is to find.

use std::time::Duration;

use serde::Serialize;

/// A loss ratio, and what it takes to believe in a load that has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Goal {
    /// What it is called: `NDR`, `PDR`.
    pub name: String,
    /// Loss that is accepted, 0 to 1.
    pub loss_ratio: f64,
    /// Part of the time, 0 to 1, that may be worse: 0.5 for the median, 0 for never.
    pub exceed_ratio: f64,
    /// Relative width of the answer: `1 - lower / upper` is at most this.
    pub width: f64,
    /// Length of the trials that count.
    pub final_trial: Duration,
    /// Length of the first, rough trials.
    pub initial_trial: Duration,
    /// Sum of such trials that a load has to have.
    pub duration_sum: Duration,
}

/// A goal no search can meet.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("goal {goal}: {field} is {value}: expected {expected}")]
pub struct GoalError {
    /// The goal.
    pub goal: String,
    /// The field.
    pub field: &'static str,
    /// Its value.
    pub value: f64,
    /// What it could be.
    pub expected: &'static str,
}

impl Goal {
    /// Non-drop rate as RFC 2544 section 26.1 has it: no frame lost in one trial of 60 s.
    pub fn rfc2544() -> Self {
        Self {
            exceed_ratio: 0.0,
            final_trial: Duration::from_mins(1),
            duration_sum: Duration::from_mins(1),
            ..Self::ndr(Duration::from_mins(1))
        }
    }

    /// Non-drop rate: no loss, in at least half of the trials.
    pub fn ndr(trial: Duration) -> Self {
        Self::of("NDR", 0.0, trial)
    }

    /// Partial drop rate: at most 0.5 % loss, in at least half of the trials.
    pub fn pdr(trial: Duration) -> Self {
        Self::of("PDR", 0.005, trial)
    }

    fn of(name: &str, loss_ratio: f64, trial: Duration) -> Self {
        Self {
            name: name.to_owned(),
            loss_ratio,
            exceed_ratio: 0.5,
            width: 0.005,
            final_trial: trial,
            initial_trial: trial / 4,
            // Three trials of which two decide: one disturbed trial does not.
            duration_sum: trial * 3,
        }
    }

    /// # Errors
    /// A field is out of its range.
    pub fn check(&self) -> Result<(), GoalError> {
        let wrong =
            |field, value, expected| Err(GoalError { goal: self.name.clone(), field, value, expected });
        if !(0.0..1.0).contains(&self.loss_ratio) {
            return wrong("loss_ratio", self.loss_ratio, "0 or more, below 1");
        }
        if !(0.0..1.0).contains(&self.exceed_ratio) {
            return wrong("exceed_ratio", self.exceed_ratio, "0 or more, below 1");
        }
        if !(1e-6..0.5).contains(&self.width) {
            return wrong("width", self.width, "0.000001 or more, below 0.5");
        }
        if self.initial_trial.is_zero() || self.initial_trial > self.final_trial {
            let value = self.initial_trial.as_secs_f64();
            return wrong("initial_trial", value, "above 0, at most final_trial");
        }
        if self.duration_sum < self.final_trial {
            return wrong("duration_sum", self.duration_sum.as_secs_f64(), "final_trial or more");
        }
        Ok(())
    }
}
