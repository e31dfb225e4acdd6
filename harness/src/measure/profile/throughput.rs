//! Throughput: the loads without loss (NDR) and with little (PDR), RFC 2544 section 26.1.
//!
//! A warm-up, a flood that bounds the search from above, then the search, which climbs from below.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::runner::{End, ProfileError, Runner};
use crate::load::{Kind, Rate, Shape, Sizes};
use crate::measure::{Device, Found, Limits, Outcome, Trial, search};
use crate::report::{Curve, Figure, Point};

/// Rate at which a device is warmed up, in frames per second.
const WARM: f64 = 1_000.0;
/// How long new connections are opened before their rate is searched.
const FILL: Duration = Duration::from_millis(500);
/// Preamble, start delimiter and gap of a frame on the wire.
const BETWEEN_FRAMES: f64 = 20.0;
/// Trials after which a search gives up.
const TRIALS: usize = 120;

impl Runner<'_> {
    /// NDR and PDR of a shape, and the highest load that was tried.
    pub(super) fn throughput(&mut self, group: String, shape: &Shape) -> Result<(Vec<Found>, f64), End> {
        let warm = self.plan.trial.min(Duration::from_millis(100));
        self.trial(&format!("{group}, warm-up"), shape, Rate::PerSecond(WARM), warm, u64::MAX)?;
        if shape.kind == Kind::RandomFlows {
            // Tables are not as fast while they are touched for the first time.
            self.trial(&format!("{group}, tables filled"), shape, Rate::Max, FILL, u64::MAX)?;
        }
        let flood = self.trial(&format!("{group}, flood"), shape, Rate::Max, self.plan.trial, u64::MAX)?;
        if flood.received == 0 {
            let error = ProfileError::Deaf { sizes: shape.sizes, offered: flood.offered };
            return Err(End::Error(error));
        }
        let most = self.bed.highest(&flood).max(2.0 * WARM);
        let limits = Limits { least: (most / 1e4).max(10.0), most, trials: TRIALS };
        let goals = self.plan.goals();
        let name = format!("{group}, search");
        let first = self.run.books.len();
        let interrupt = self.interrupt;
        let mut device = Searched { runner: self, shape, name, outcomes: Vec::new(), end: None };
        let outcome = search(&mut device, &goals, limits, |_| !interrupt.load(Ordering::SeqCst));
        let (outcomes, end) = (device.outcomes, device.end);
        debug_assert_eq!(self.run.books.len() - first, outcomes.len());
        let (found, end) = match (outcome, end) {
            (Ok(outcome), _) => (outcome.found, outcome.interrupted.then_some(End::Interrupted)),
            (Err(_), Some(end)) => (Vec::new(), Some(end)),
            (Err(error), None) => return Err(End::Error(ProfileError::Search(error))),
        };
        let rates = found.iter().filter(|one| one.lower.is_some());
        self.run.curves.push(Curve {
            group: group.clone(),
            subject: self.subject.clone(),
            points: outcomes.iter().map(point).collect(),
            found: rates.map(|one| (one.goal.name.clone(), one.rate())).collect(),
        });
        if let Some(end) = end {
            return Err(end);
        }
        for one in &found {
            self.found(&group, shape, one);
            if let Some(upper) = one.upper.filter(|upper| not_offered(&outcomes, upper.load)) {
                self.run.notes.push(format!(
                    "{group}: {} ends where the generator could not send {:.0} packet/s in time, not at a loss of the \
                     device.",
                    one.goal.name, upper.load
                ));
            }
        }
        Ok((found, most))
    }

    fn found(&mut self, group: &str, shape: &Shape, found: &Found) {
        let name = &found.goal.name;
        let kind = if shape.kind == Kind::RandomFlows { "connection rate" } else { "throughput" };
        let subject = format!("{} bytes", shape.sizes);
        let mut add = |what: String, unit: &str, value: f64| {
            self.run.add(kind, &subject, Figure::more(&what, unit), value);
        };
        add(name.clone(), "packet/s", found.rate());
        if let Sizes::Fixed(size) = shape.sizes {
            let bits = (size as f64 + BETWEEN_FRAMES) * 8.0;
            add(format!("{name}, on the wire"), "bit/s", found.rate() * bits);
        }
        add(format!("{name}, lower load"), "packet/s", found.lower.map_or(0.0, |bound| bound.load));
        if let Some(upper) = found.upper {
            add(format!("{name}, upper load"), "packet/s", upper.load);
        } else {
            let text = format!("{group}: {name} ends at the highest load that was tried, not at a loss.");
            self.run.notes.push(text);
        }
        if !found.complete {
            let text =
                format!("{group}: trials ran out before {name} was {:.1} % wide.", found.goal.width * 100.0);
            self.run.notes.push(text);
        }
    }
}

/// Whether most trials at that load lost nothing of what could be offered.
fn not_offered(outcomes: &[Outcome], load: f64) -> bool {
    let at = || outcomes.iter().filter(|outcome| outcome.trial.load.to_bits() == load.to_bits());
    let short = at().filter(|outcome| outcome.lost() == 0 && outcome.loss_ratio() > 0.0).count();
    short.saturating_mul(2) > at().count()
}

pub(super) fn point(outcome: &Outcome) -> Point {
    Point {
        load: outcome.trial.load,
        offered: outcome.offered,
        received: outcome.received,
        seconds: outcome.trial.duration.as_secs_f64(),
        loss_ratio: outcome.loss_ratio(),
    }
}

/// A testbed as the search sees it.
struct Searched<'r, 'a> {
    runner: &'r mut Runner<'a>,
    shape: &'r Shape,
    name: String,
    outcomes: Vec<Outcome>,
    end: Option<End>,
}

impl Device for Searched<'_, '_> {
    fn run(&mut self, trial: Trial) -> io::Result<Outcome> {
        let rate = Rate::PerSecond(trial.load);
        match self.runner.trial(&self.name, self.shape, rate, trial.duration, u64::MAX) {
            Ok(taken) => {
                let outcome = Outcome { trial, offered: taken.offered, received: taken.as_meant() };
                self.outcomes.push(outcome);
                Ok(outcome)
            }
            Err(end) => {
                self.end = Some(end);
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    }
}
