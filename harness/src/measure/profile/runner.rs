//! The trials of a profile in their order, and the run that is reported.
//!
//! Everything that was tried is in the report: each trial is a book and a point. An interrupt ends the run between two
//! trials, or in the middle of one, which then is not in it.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::{Order, Plan, Taken, Testbed};
use crate::load::{Kind, Rate, Shape, Sizes};
use crate::measure::SearchError;
use crate::report::{Book, Environment, Figure, Latency, Run};

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

/// Group of the figures about frames that were meant to be denied.
const DENIED: &str = "denied traffic";
const LEAKED: &str = "came all the same";

/// Whether frames that were meant to be denied came all the same.
pub fn leaked(run: &Run) -> bool {
    run.find(DENIED, "device", LEAKED).is_some_and(|series| series.rounds.iter().any(|count| *count > 0.0))
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
        denied: 0,
        leaked: 0,
    };
    let outcome = runner.all();
    let interrupted = match outcome {
        Ok(()) => false,
        Err(End::Interrupted) => true,
        Err(End::Error(error)) => return Err(error),
    };
    let notes = runner.bed.notes();
    let (duplicated, reordered) = (runner.duplicated, runner.reordered);
    let (share, denied, leaked) = (runner.bed.shape().denied, runner.denied, runner.leaked);
    let mut run = runner.run;
    if share > 0.0 {
        run.notes.push(format!(
            "{:.1} % of the frames were meant to be denied. {denied} were, which is no loss; {leaked} came all the \
             same, which is.",
            share * 100.0
        ));
        let mut add = |what: &str, count: u64| {
            run.add(DENIED, "device", Figure::less(what, "packet"), count as f64);
        };
        add("denied", denied);
        add(LEAKED, leaked);
    }
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

/// Why the trials ended early.
pub(super) enum End {
    Interrupted,
    Error(ProfileError),
}

/// The trials so far.
pub(super) struct Runner<'a> {
    pub(super) subject: String,
    pub(super) bed: &'a mut dyn Testbed,
    pub(super) plan: &'a Plan,
    pub(super) interrupt: &'a AtomicBool,
    progress: &'a mut dyn FnMut(&Progress),
    pub(super) run: Run,
    done: Duration,
    total: Duration,
    duplicated: u64,
    reordered: u64,
    denied: u64,
    leaked: u64,
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
                    let lost = taken.offered.saturating_sub(taken.as_meant());
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

    /// One trial, booked.
    pub(super) fn trial(
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
        self.denied = self.denied.saturating_add(taken.denied);
        self.leaked = self.leaked.saturating_add(taken.leaked);
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
