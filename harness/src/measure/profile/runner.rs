//! The trials of a profile in their order, and the run that is reported.
//!
//! Everything that was tried is in the report: each trial is a book and a point. An interrupt ends the run between two
//! trials, or in the middle of one, which then is not in it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Order, Plan, Taken, Testbed};
use crate::load::{Kind, Rate, Shape, Sizes};
use crate::measure::{Device, Found, Goal, Limits, Outcome, SearchError, Trial, search};
use crate::report::{Book, Curve, Environment, Figure, Latency, Point, Run};

/// Rate at which a device is warmed up, in frames per second.
const WARM: f64 = 1_000.0;
/// How long new connections are opened before their rate is searched.
const FILL: Duration = Duration::from_millis(500);
/// Preamble, start delimiter and gap of a frame on the wire.
const BETWEEN_FRAMES: f64 = 20.0;
/// Trials after which a search gives up.
const TRIALS: usize = 120;
/// Trials that a search takes, about: for the time left.
const USUAL_TRIALS: u32 = 24;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Interrupted before anything was measured.
    #[error("interrupted before anything was measured")]
    Nothing,
    /// A trial could not be run.
    #[error("{what}: {source}")]
    Trial {
        /// Which.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing came through at all.
    #[error(
        "{sizes} bytes: nothing of {offered} frames came out of the device: is it up, does it forward these MACs and \
         addresses?"
    )]
    Deaf {
        /// Frame size.
        sizes: Sizes,
        /// Frames offered.
        offered: u64,
    },
    /// A search could not begin.
    #[error(transparent)]
    Search(SearchError),
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Time of trials done.
    pub done: Duration,
    /// All of them, as far as can be foreseen.
    pub total: Duration,
    /// What is under way.
    pub now: String,
}

/// Runs the plan.
///
/// # Errors
/// Nothing could be measured.
pub fn run(
    bed: &mut dyn Testbed,
    plan: &Plan,
    interrupt: &AtomicBool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Run, ProfileError> {
    let begin = Instant::now();
    let title = if plan.conformant { "RFC 2544" } else { "RFC 2544, shortened and not conformant" };
    let mut run = Run::begin(&format!("{title}: {}", bed.name()), bed.shape().seed, Environment::now());
    if !plan.conformant {
        run.notes.push(format!(
            "Not conformant: trials of {:.2} s instead of 60 s, latency over {:.2} s instead of 120 s, {} bursts instead \
             of 50, an answer {:.1} % wide.",
            plan.trial.as_secs_f64(),
            plan.latency.as_secs_f64(),
            plan.bursts,
            plan.width * 100.0
        ));
    }
    let mut runner = Runner {
        subject: bed.name(),
        bed,
        plan,
        interrupt,
        progress,
        run,
        done: Duration::ZERO,
        total: plan.foreseen(),
        duplicated: 0,
        reordered: 0,
    };
    let outcome = runner.all();
    let interrupted = match outcome {
        Ok(()) => false,
        Err(End::Interrupted) => true,
        Err(End::Error(error)) => return Err(error),
    };
    let notes = runner.bed.notes();
    let (duplicated, reordered) = (runner.duplicated, runner.reordered);
    let mut run = runner.run;
    if duplicated > 0 || reordered > 0 {
        run.notes.push(format!("{duplicated} frames came more than once, {reordered} after later ones."));
    }
    run.notes.extend(notes);
    if interrupted && run.books.is_empty() {
        return Err(ProfileError::Nothing);
    }
    run.interrupted = interrupted;
    run.seconds = begin.elapsed().as_secs_f64();
    Ok(run)
}

impl Plan {
    /// How long the trials of one frame size take, about.
    fn of_a_size(&self) -> Duration {
        let searched = self.trial.saturating_mul(USUAL_TRIALS) / 2;
        let bursts = self.longest_burst.saturating_mul(u32::try_from(self.bursts).unwrap_or(u32::MAX));
        searched + self.latency.saturating_mul(3) + self.trial.saturating_mul(6) + bursts
    }

    fn foreseen(&self) -> Duration {
        let sizes = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        let connections = self.trial.saturating_mul(u32::from(self.connections) * USUAL_TRIALS) / 2;
        self.of_a_size().saturating_mul(sizes).saturating_add(connections)
    }

    fn goals(&self) -> [Goal; 2] {
        let narrow = |goal: Goal| Goal { width: self.width, ..goal };
        if self.conformant {
            let pdr = Goal { name: "PDR".to_owned(), loss_ratio: 0.005, ..Goal::rfc2544() };
            return [narrow(Goal::rfc2544()), narrow(pdr)];
        }
        [narrow(Goal::ndr(self.trial)), narrow(Goal::pdr(self.trial))]
    }
}

/// Why the trials ended early.
enum End {
    Interrupted,
    Error(ProfileError),
}

struct Runner<'a> {
    subject: String,
    bed: &'a mut dyn Testbed,
    plan: &'a Plan,
    interrupt: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress),
    run: Run,
    done: Duration,
    total: Duration,
    duplicated: u64,
    reordered: u64,
}

impl Runner<'_> {
    fn all(&mut self) -> Result<(), End> {
        let largest = self.bed.largest();
        for &sizes in &self.plan.sizes {
            let least = self.bed.shape().least_size();
            let fitting = sizes.within(least, largest);
            if fitting != sizes {
                let text =
                    format!("{sizes} bytes became {fitting}: what a stamp needs and the device carries.");
                self.run.notes.push(text);
            }
            let shape = Shape { sizes: fitting, ..self.bed.shape().clone() };
            self.size(&shape)?;
        }
        if let (true, Some(&sizes)) = (self.plan.connections, self.plan.sizes.first()) {
            let sizes = sizes.within(self.bed.shape().least_size(), largest);
            let shape = Shape { sizes, kind: Kind::RandomFlows, ..self.bed.shape().clone() };
            self.throughput(format!("{sizes} bytes, each a new connection"), &shape)?;
        }
        Ok(())
    }

    /// Everything for one frame size.
    fn size(&mut self, shape: &Shape) -> Result<(), End> {
        let group = format!("{} bytes", shape.sizes);
        let (found, most) = self.throughput(group.clone(), shape)?;
        let ndr = found.iter().find(|found| found.goal.name == "NDR").and_then(|found| found.lower);
        match ndr {
            Some(bound) => {
                for share in [10.0, 50.0, 90.0] {
                    let name = format!("{group}, latency at {share:.0} % of NDR");
                    let rate = Rate::PerSecond(bound.load * share / 100.0);
                    let taken = self.trial(&name, shape, rate, self.plan.latency, u64::MAX)?;
                    let lost = taken.offered.saturating_sub(taken.received);
                    let (group, subject) = (format!("{group}, latency"), format!("at {share:.0} % of NDR"));
                    self.run.latencies.push(Latency::of(&group, &subject, &taken.latency, lost));
                    for (quantile, figure) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
                        let seconds = taken.latency.value_at_quantile(quantile) as f64 / 1e9;
                        self.run.add(&group, &subject, Figure::less(figure, "s"), seconds);
                    }
                    self.run.add(&group, &subject, Figure::less("lost", "packet"), lost as f64);
                }
            }
            None => self.run.notes.push(format!("{group}: no load without loss was found, so no latency.")),
        }
        self.loss(&group, shape, most)?;
        self.bursts(&group, shape, most)
    }

    /// NDR and PDR of a shape, and the highest load that was tried.
    fn throughput(&mut self, group: String, shape: &Shape) -> Result<(Vec<Found>, f64), End> {
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

    /// RFC 2544 section 26.3: from the highest load down by tenths, until two in succession lose nothing.
    fn loss(&mut self, group: &str, shape: &Shape, most: f64) -> Result<(), End> {
        let (mut points, mut clean) = (Vec::new(), 0);
        let name = format!("{group}, frame loss rate");
        let mut end = Ok(());
        for tenth in (1..=10_u32).rev() {
            let load = most * f64::from(tenth) / 10.0;
            let duration = self.plan.trial;
            match self.trial(&name, shape, Rate::PerSecond(load), duration, u64::MAX) {
                Err(stopped) => {
                    end = Err(stopped);
                    break;
                }
                Ok(taken) => {
                    let trial = Trial { load, duration };
                    let outcome = Outcome { trial, offered: taken.offered, received: taken.received };
                    points.push(point(&outcome));
                    clean = if taken.received >= taken.offered { clean + 1 } else { 0 };
                }
            }
            if clean == 2 {
                break;
            }
        }
        if !points.is_empty() {
            self.run.curves.push(Curve {
                group: name,
                subject: self.subject.clone(),
                points,
                found: Vec::new(),
            });
        }
        end
    }

    /// RFC 2544 section 26.4: the longest burst that is forwarded whole, to 2 %.
    fn bursts(&mut self, group: &str, shape: &Shape, most: f64) -> Result<(), End> {
        let name = format!("{group}, back-to-back");
        let rate = self.bed.burst_rate(most);
        let per_second = if let Rate::PerSecond(rate) = rate { rate } else { most };
        let longest = (per_second * self.plan.longest_burst.as_secs_f64()).max(1.0) as u64;
        for _ in 0..self.plan.bursts {
            // Lengths known to be forwarded whole, and not to be.
            let (mut whole, mut cut, mut length) = (0, longest.saturating_add(1), 64.min(longest));
            while cut.saturating_sub(whole) > (whole / 50).max(1) {
                let taken = self.trial(&name, shape, rate, self.plan.longest_burst, length)?;
                // What was not sent was no part of the burst.
                if taken.received >= length {
                    whole = length;
                } else {
                    cut = length;
                }
                length =
                    if cut > longest { length.saturating_mul(4).min(longest) } else { whole.midpoint(cut) };
                if whole >= longest {
                    break;
                }
            }
            self.run.add("back-to-back", group, Figure::more("longest burst", "packet"), whole as f64);
        }
        Ok(())
    }

    /// One trial, booked.
    fn trial(
        &mut self,
        name: &str,
        shape: &Shape,
        rate: Rate,
        duration: Duration,
        frames: u64,
    ) -> Result<Taken, End> {
        (self.progress)(&Progress {
            done: self.done,
            total: self.total.max(self.done),
            now: name.to_owned(),
        });
        let order = Order { shape, rate, duration, frames, stop: self.interrupt };
        let taken = match self.bed.run(&order) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(End::Interrupted),
            Err(source) => return Err(End::Error(ProfileError::Trial { what: name.to_owned(), source })),
        };
        let bounded = match rate {
            Rate::PerSecond(rate) => Duration::try_from_secs_f64(frames as f64 / rate).unwrap_or(duration),
            Rate::Max => duration,
        };
        self.done = self.done.saturating_add(duration.min(bounded));
        self.duplicated = self.duplicated.saturating_add(taken.duplicated);
        self.reordered = self.reordered.saturating_add(taken.reordered);
        let round = self.run.books.iter().filter(|book| book.group == name).count().saturating_add(1);
        let book = Book::close(taken.offered, taken.received, taken.refused, &taken.dropped);
        let excess = book.excess.saturating_add(taken.duplicated);
        // What came again is received and in excess, so that the sum stays one.
        let received = book.received.saturating_add(taken.duplicated);
        let subject = self.subject.clone();
        self.run.books.push(Book { group: name.to_owned(), subject, round, excess, received, ..book });
        Ok(taken)
    }
}

/// Whether most trials at that load lost nothing of what could be offered.
fn not_offered(outcomes: &[Outcome], load: f64) -> bool {
    let at = || outcomes.iter().filter(|outcome| outcome.trial.load.to_bits() == load.to_bits());
    let short = at().filter(|outcome| outcome.lost() == 0 && outcome.loss_ratio() > 0.0).count();
    short.saturating_mul(2) > at().count()
}

fn point(outcome: &Outcome) -> Point {
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
                let outcome = Outcome { trial, offered: taken.offered, received: taken.received };
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
