//! What commands that leave a directory of results have in common: how long a trial may be asked to be, the
//! directory, and the run for people.
//!
//! [`Results::directory`] before anything is measured, [`Results::leave`] after it: interrupted or not, what was measured
//! is on file and on standard output before the exit code says how it went.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harness::report::directory::{self, DirectoryError};
use harness::report::{Run, Spread, human, quantity};

use super::Outcome;
use super::interrupt::INTERRUPTED;
use super::output::{self, Output};

/// A number of seconds that a trial may last.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is no number of seconds"))?;
    if !(0.1..=3600.0).contains(&seconds) {
        return Err("expected 0.1 to 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Where results go.
#[derive(Debug, clap::Args)]
pub(super) struct Results {
    /// Directory for the results, which must not exist yet; by default weir-bench-TIME here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Results {
    /// The directory to be, which is not there yet.
    pub(super) fn directory(&self) -> Result<PathBuf, DirectoryError> {
        let out = self.out.clone().unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            PathBuf::from(format!("weir-bench-{}", now.as_secs()))
        });
        if out.exists() { Err(DirectoryError::Exists(out)) } else { Ok(out) }
    }

    /// Writes the run down and prints it. Fails where it was interrupted, or packets are not accounted for.
    pub(super) fn leave(&self, run: &Run, out: &Path) -> Outcome {
        directory::write(run, out)?;
        self.output.print(run, table)?;
        eprintln!("left in {}: result.json, CSV, histograms, report.html", out.display());
        if run.interrupted {
            eprintln!("interrupted; what was measured is reported");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Ok(if run.adds_up() { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }
}

/// The run for people: figures, ratios, books that do not add up, notes.
fn table(run: &Run) -> String {
    let mut text = format!("{}\n{}\n", run.title, run.environment.line());
    let mut groups: Vec<&str> = Vec::new();
    for series in &run.series {
        if !groups.contains(&series.group.as_str()) {
            groups.push(&series.group);
        }
    }
    for group in groups {
        let _ = writeln!(text, "\n{group}\n{}", figures(run, group));
    }
    if !run.ratios.is_empty() {
        let _ = writeln!(text, "\nratios, median of the rounds and range\n{}", ratios(run));
    }
    for curve in &run.curves {
        for (name, rate) in &curve.found {
            let rate = quantity(*rate, "packet/s");
            let _ = write!(text, "\n{}, {}: {name} {rate}", curve.group, curve.subject);
        }
    }
    let (offered, lost): (Vec<u64>, Vec<u64>) =
        run.books.iter().map(|book| (book.offered, book.lost)).unzip();
    let sum = |all: &[u64]| all.iter().fold(0_u64, |sum, one| sum.saturating_add(*one));
    if !run.books.is_empty() {
        let verdict = if run.adds_up() { "every packet is accounted for" } else { "the books do not add up" };
        let _ = writeln!(
            text,
            "\n{verdict}: {} packets offered in {} trials, {} of them lost without a counted drop",
            sum(&offered),
            run.books.len(),
            sum(&lost)
        );
    }
    for note in &run.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn figures(run: &Run, group: &str) -> String {
    let mut rows = Vec::new();
    let mut last = "";
    for series in run.series.iter().filter(|series| series.group == group) {
        let Some(Spread { median, least, most }) = series.spread else { continue };
        let unit = &series.figure.unit;
        let name = if series.subject == last { "" } else { series.subject.as_str() };
        rows.push([
            name.to_owned(),
            series.figure.quantity.clone(),
            quantity(median, unit),
            format!("{} .. {}", quantity(least, unit), quantity(most, unit)),
            series.rounds.len().to_string(),
        ]);
        last = &series.subject;
    }
    output::table(["", "FIGURE", "MEDIAN", "RANGE", "ROUNDS"], rows)
}

fn ratios(run: &Run) -> String {
    let mut rows = Vec::new();
    let mut last = "";
    for ratio in &run.ratios {
        let group = if ratio.group == last { "" } else { ratio.group.as_str() };
        let Spread { median, least, most } = ratio.spread;
        rows.push([
            group.to_owned(),
            ratio.quantity.clone(),
            ratio.subject.clone(),
            ratio.baseline.clone(),
            human(median),
            format!("{} .. {}", human(least), human(most)),
        ]);
        last = &ratio.group;
    }
    output::table(["", "FIGURE", "OF", "TO", "RATIO", "RANGE"], rows)
}
