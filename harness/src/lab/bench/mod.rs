//! The bench of the lab: weir beside the kernel, on the same topology, with the same generators, in the same minutes.
//!
//! ```text
//!  Options ─► plan: cases (path × workload) and their subjects ─► labs, all up at once
//!             round 1: case 1: subject A, B, C …  case 2: A, B, C …
//!             round 2: the same again …                             ─► series per subject, ratios round by round
//! ```
//! A case is a kind of traffic on a path: between pods of one node or across nodes. Its subjects take turns, so a
//! ratio compares trials seconds apart, and what a machine does from one hour to the next cancels. Figures of
//! different runs are not comparable without their ratios.
//!
//! What weakens the figures: generators, pods and both nodes share the machine, so a rate is one of the whole system;
//! on virtual machines the time others steal falls on whosever turn it is (hence medians and spread); the underlay is
//! a veth, which never segments and has no wire.

// Counts of packets and bytes, far below 2^52, and never negative.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod conditions;
mod cost;
mod idle;
mod ndr;
mod options;
mod plan;
mod ratios;
mod rules;
mod settings;
mod subject;
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

pub use idle::MOST as MOST_IDLE_PODS;
pub use options::{Options, Peer, Setup};
pub use plan::{Case, Path};
pub use rules::Tools;
pub use settings::{SettingError, Settings};
pub use subject::{Kind, Rules, Subject};
pub use workload::Workload;

use super::plan::Side;
use super::{LabError, node_ovs, teardown, userns};
use crate::report::{Figure, Latency, Run};
use workload::{Measured, Timing, Trial};

/// How far a bench has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What happens now.
    pub now: String,
    /// Steps done.
    pub done: usize,
    /// Of so many.
    pub total: usize,
}

/// Builds the labs, measures, and tears down again, also when it ends with an error. Once `interrupt` is set it ends
/// soon and hands over what it has measured. To be called before the process has a second thread (see
/// [`userns::prepare`]).
///
/// # Errors
/// A lab cannot be had, nothing passes, or the end was asked for before anything was measured.
pub fn run(
    options: &Options,
    interrupt: &Arc<AtomicBool>,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Run, LabError> {
    userns::prepare()?;
    userns::check_tun()?;
    teardown::sweep()?;
    let begin = Instant::now();
    if options.against.contains(&Peer::Ovs) {
        node_ovs::check()?;
    }
    let tools = Tools::find();
    let cases = plan::cases(options, tools);
    let kinds = plan::kinds(&cases, options, tools);
    let searched = plan::searched(options, tools);
    let trials: usize =
        cases.iter().map(|case| case.entries.len().saturating_mul(options.rounds_of(case.workload))).sum();
    let total = kinds.len().saturating_add(trials).saturating_add(searched.len());
    let mut bench = Bench {
        run: Run::begin("weir lab bench", 0, conditions::environment(options, tools)),
        subjects: Vec::new(),
        histograms: Vec::new(),
        memory: Vec::new(),
        takes_turns: options.setup.settings.scheduling().busy_poll,
        options,
        interrupt,
        step: Progress { now: String::new(), done: 0, total },
        progress,
    };
    let outcome = bench
        .build(&kinds, tools)
        .and_then(|()| bench.rounds(&cases))
        .and_then(|()| bench.searches(&searched));
    let Bench { mut run, histograms, memory, .. } = bench;
    match outcome {
        Ok(()) => {}
        Err(LabError::Interrupted) if !run.series.is_empty() || !run.curves.is_empty() => {
            run.interrupted = true;
        }
        Err(error) => return Err(error),
    }
    ratios::relate(&mut run, &cases);
    for (subject, quantity, bytes) in memory {
        run.add("memory before traffic", &subject, Figure::less(quantity, "byte"), bytes);
    }
    for RoundTrips { group, subject, histogram, lost } in &histograms {
        run.latencies.push(Latency::of(group, subject, histogram, *lost));
    }
    run.notes.extend(conditions::notes(options));
    run.seconds = begin.elapsed().as_secs_f64();
    Ok(run)
}

/// Round trips of a subject, all rounds together, and how many requests had no answer.
struct RoundTrips {
    group: String,
    subject: String,
    histogram: Histogram<u64>,
    lost: u64,
}

/// A subject that runs until this is dropped, and is stopped then.
struct Turn<'a>(&'a Subject);

impl<'a> Turn<'a> {
    fn begin(subject: &'a Subject, path: Path) -> Self {
        // A node that has no part in the path would only take its processors.
        subject.wake(|side| side == Side::A || path == Path::AcrossNodes);
        Self(subject)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.wake(|_| false);
    }
}

/// A bench at work.
struct Bench<'a> {
    run: Run,
    subjects: Vec<Subject>,
    /// By group and subject, in the order of their first round.
    histograms: Vec<RoundTrips>,
    /// Bytes by subject and quantity.
    memory: Vec<(String, &'static str, f64)>,
    /// Whether subjects are stopped while it is not their turn: those that never sleep would take the processors from
    /// whoever is measured.
    takes_turns: bool,
    options: &'a Options,
    interrupt: &'a Arc<AtomicBool>,
    step: Progress,
    progress: &'a mut dyn FnMut(&Progress),
}

impl Bench<'_> {
    fn tell(&mut self, now: String) {
        self.step.now = now;
        (self.progress)(&self.step);
        self.step.done = self.step.done.saturating_add(1);
    }

    fn build(&mut self, kinds: &[Kind], tools: Tools) -> Result<(), LabError> {
        for kind in kinds {
            self.tell(format!("building {}", kind.name()));
            let subject = Subject::build(*kind, &self.options.setup, tools, self.interrupt)?;
            let name = kind.name();
            let memory = [
                ("resident, one node", subject.resident().map(|bytes| bytes as f64)),
                ("resident, for each idle pod", subject.bytes_per_idle_pod()),
            ];
            let known = memory.into_iter().filter_map(|(quantity, bytes)| Some((quantity, bytes?)));
            self.memory.extend(known.map(|(quantity, bytes)| (name.clone(), quantity, bytes)));
            if self.takes_turns {
                subject.wake(|_| false);
            }
            self.subjects.push(subject);
        }
        if let Some(first) = self.subjects.first() {
            let settings = &mut self.run.environment.settings;
            settings.insert("offloads of the underlay".to_owned(), cost::offloads(first));
        }
        Ok(())
    }

    fn rounds(&mut self, cases: &[Case]) -> Result<(), LabError> {
        for round in 1..=self.options.rounds.saturating_add(self.options.further_rounds) {
            for case in cases.iter().filter(|case| round <= self.options.rounds_of(case.workload)) {
                for entry in &case.entries {
                    let (group, subject) = (case.name(), entry.name());
                    self.tell(format!("round {round}: {group}: {subject}"));
                    let found = self.subjects.iter().find(|one| one.kind == entry.kind);
                    let Some(found) = found else { continue };
                    let turn = self.takes_turns.then(|| Turn::begin(found, case.path));
                    let trial = Trial {
                        subject: found,
                        far: case.path == Path::AcrossNodes,
                        family: entry.family,
                        timing: Timing { ramp: self.options.ramp, window: self.options.window },
                        congestion: self.options.setup.congestion.as_deref(),
                        interrupt: self.interrupt,
                    };
                    let outcome = trial.run(case.workload);
                    drop(turn);
                    let measured = match outcome {
                        Ok(measured) => measured,
                        Err(LabError::Io(error)) => {
                            self.run
                                .notes
                                .push(format!("round {round}: {group}: {subject}: no figure: {error}"));
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                    self.add(&group, &subject, round, measured);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, group: &str, subject: &str, round: usize, measured: Measured) {
        for (figure, value) in measured.figures {
            self.run.add(group, subject, figure, value);
        }
        if let Some(book) = measured.book {
            self.run.books.push(crate::report::Book {
                group: group.to_owned(),
                subject: subject.to_owned(),
                round,
                ..book
            });
        }
        if let Some((histogram, lost)) = measured.round_trips {
            let known = self.histograms.iter_mut().find(|one| one.group == group && one.subject == subject);
            if let Some(sum) = known {
                // Equal bounds: nothing can fall out.
                let _ = sum.histogram.add(&histogram);
                sum.lost = sum.lost.saturating_add(lost);
            } else {
                let (group, subject) = (group.to_owned(), subject.to_owned());
                self.histograms.push(RoundTrips { group, subject, histogram, lost });
            }
        }
    }

    fn searches(&mut self, searched: &[(Path, Kind)]) -> Result<(), LabError> {
        for &(path, kind) in searched {
            let name = kind.name();
            self.tell(format!("{}: search for loads without loss: {name}", path.name()));
            let Some(subject) = self.subjects.iter().find(|one| one.kind == kind) else { continue };
            let _turn = self.takes_turns.then(|| Turn::begin(subject, path));
            let found = ndr::search(subject, path, self.options, self.interrupt)?;
            let late = found
                .curve
                .points
                .iter()
                .filter(|one| (one.offered as f64) < one.load * one.seconds - 1.0)
                .count();
            if late > 0 {
                self.run.notes.push(format!(
                    "{}: {name}: in {late} of {} trials the generators could not keep the pace; what they did not send \
                     counts as lost there, so the load found may be theirs and not the device's",
                    path.name(),
                    found.curve.points.len()
                ));
            }
            if !found.curve.points.is_empty() {
                self.run.curves.push(found.curve);
            }
            self.run.books.extend(found.books);
            if self.interrupt.load(Ordering::SeqCst) {
                return Err(LabError::Interrupted);
            }
        }
        Ok(())
    }
}
