//! Loads without loss: the search of [`crate::measure`] over a subject, with paced generators.
//!
//! A trial offers its load for its length, stops, waits until nothing more arrives, and only then counts. The upper
//! limit is what the subject receives when it is flooded: more is never forwarded, and the search climbs to it from
//! below.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::plan::Path;
use super::workload::{Timing, Trial};
use super::{Options, Subject};
use crate::lab::LabError;
use crate::lab::plan::Family;
use crate::measure::{self, Device, Goal, Limits, Outcome};
use crate::report::{Book, Curve, Point};
use crate::traffic::blast::Pace;

/// Lowest load tried, in packets per second.
const LEAST: f64 = 1_000.0;
/// How narrow an answer has to be: what one machine that is everything at once can repeat.
const WIDTH: f64 = 0.05;
/// Trials after which a search gives up.
const TRIALS: usize = 80;

/// What a search found.
pub(super) struct Found {
    pub(super) curve: Curve,
    pub(super) books: Vec<Book>,
}

struct Lossy<'a> {
    subject: &'a Subject,
    path: Path,
    interrupt: &'a AtomicBool,
    books: Vec<Book>,
    outcomes: Vec<Outcome>,
}

impl Lossy<'_> {
    fn trial(&mut self, pace: Pace, window: Duration) -> Result<Book, LabError> {
        let trial = Trial {
            subject: self.subject,
            far: self.path == Path::AcrossNodes,
            family: Family::V4,
            timing: Timing { ramp: Duration::ZERO, window },
            congestion: None,
            interrupt: self.interrupt,
        };
        let book = trial.udp(pace)?.book.unwrap_or_default();
        if self.interrupt.load(Ordering::SeqCst) {
            // Half a trial is no figure.
            return Err(LabError::Interrupted);
        }
        let round = self.books.len().saturating_add(1);
        let group = format!("{}, load without loss", self.path.name());
        self.books.push(Book { group, subject: self.subject.kind.name(), round, ..book.clone() });
        Ok(book)
    }
}

impl Device for Lossy<'_> {
    fn run(&mut self, trial: measure::Trial) -> io::Result<Outcome> {
        let count = (trial.load * trial.duration.as_secs_f64()).floor() as u64;
        let book = self.trial(Pace::Steady { rate: trial.load, count }, trial.duration);
        let book = book.map_err(|error| io::Error::other(error.to_string()))?;
        let outcome = Outcome { trial, offered: book.offered, received: book.received };
        self.outcomes.push(outcome);
        Ok(outcome)
    }
}

/// Finds NDR and PDR.
///
/// # Errors
/// No trial can be run.
pub(super) fn search(
    subject: &Subject,
    path: Path,
    options: &Options,
    interrupt: &AtomicBool,
) -> Result<Found, LabError> {
    let mut device = Lossy { subject, path, interrupt, books: Vec::new(), outcomes: Vec::new() };
    let flood = device.trial(Pace::Flat, options.window)?;
    let most = (flood.received as f64 / options.window.as_secs_f64() * 1.1).max(2.0 * LEAST);
    let goals =
        [Goal::ndr(options.window), Goal::pdr(options.window)].map(|goal| Goal { width: WIDTH, ..goal });
    let limits = Limits { least: LEAST, most, trials: TRIALS };
    let outcome = measure::search(&mut device, &goals, limits, |_| !interrupt.load(Ordering::SeqCst));
    let found = match outcome {
        Ok(outcome) => outcome.found,
        // What was tried until then is kept.
        Err(_) if interrupt.load(Ordering::SeqCst) => Vec::new(),
        Err(error) => return Err(LabError::Io(io::Error::other(error.to_string()))),
    };
    let points = device.outcomes.iter().map(|one| Point {
        load: one.trial.load,
        offered: one.offered,
        received: one.received,
        seconds: one.trial.duration.as_secs_f64(),
        loss_ratio: one.loss_ratio(),
    });
    let found = found.iter().filter(|one| one.lower.is_some());
    Ok(Found {
        curve: Curve {
            group: format!("{}, UDP 64 bytes", path.name()),
            subject: subject.kind.name(),
            points: points.collect(),
            found: found.map(|one| (one.goal.name.clone(), one.rate())).collect(),
        },
        books: device.books,
    })
}
