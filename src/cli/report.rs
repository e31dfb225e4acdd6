//! `weir report`: results of measurements, after the fact.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use harness::report::compare::{Change, Comparison, Line};
use harness::report::{Spread, compare, directory, human, quantity};

use super::Outcome;
use super::output::{self, Output};

/// Look at results that measurements left
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir report compare before/ after/")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Compare(Compare),
}

/// Two runs side by side: which figures differ by more than their rounds scatter
///
/// A figure has changed where the ranges of the two runs, from the least round to the most, have nothing in common.
/// Exits 1 when something got worse. Ratios say more than plain figures when the runs are hours apart.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir report compare before/ after/
  weir report compare before/ after/ --all      what stayed the same as well
  weir report compare before/result.json after/result.json -o json")]
struct Compare {
    /// A directory that a measurement left, or its result.json
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// The other one
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// Show what stayed the same too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let Command::Compare(args) = &args.command;
    let comparison = compare(&directory::read(&args.before)?, &directory::read(&args.after)?);
    if comparison.lines.is_empty() {
        anyhow::bail!(
            "{} and {} have no figure in common: compare runs of one kind",
            args.before.display(),
            args.after.display()
        );
    }
    args.output.print(&comparison, |comparison| table(comparison, args.all))?;
    Ok(if comparison.is_worse() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn table(comparison: &Comparison, all: bool) -> String {
    let mut text = String::new();
    for warning in &comparison.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let shown = comparison.lines.iter().filter(|line| all || line.change != Change::Same);
    let rows: Vec<[String; 6]> = shown.map(row).collect();
    if !rows.is_empty() {
        text.push_str(&output::table(["", "OF", "BEFORE", "AFTER", "FACTOR", ""], rows));
        text.push('\n');
    }
    let count = |change| comparison.lines.iter().filter(|line| line.change == change).count();
    let _ = writeln!(
        text,
        "{} better, {} worse, {} within their spread",
        count(Change::Better),
        count(Change::Worse),
        count(Change::Same)
    );
    for (which, names) in [("before", &comparison.only_before), ("after", &comparison.only_after)] {
        for name in names {
            let _ = writeln!(text, "only {which}: {name}");
        }
    }
    text
}

fn row(line: &Line) -> [String; 6] {
    let change = match line.change {
        Change::Same => "",
        Change::Better => "better",
        Change::Worse => "WORSE",
    };
    [
        line.group.clone(),
        format!("{}, {}", line.subject, line.quantity),
        spread(line.before, &line.unit),
        spread(line.after, &line.unit),
        human(line.factor),
        change.to_owned(),
    ]
}

/// `1.2 [1.1 .. 1.3]`.
fn spread(spread: Spread, unit: &str) -> String {
    let Spread { median, least, most } = spread;
    if unit.is_empty() {
        return format!("{} [{} .. {}]", human(median), human(least), human(most));
    }
    format!("{} [{} .. {}]", quantity(median, unit), quantity(least, unit), quantity(most, unit))
}
