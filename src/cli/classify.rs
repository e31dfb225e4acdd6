//! `weir classify`: the first matching rule for every packet of a trace.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use policy_compiler::classifier::{General, Limits, LinearRules, TupleClassifier};
use policy_compiler::ruleset::{RuleSet, Tuple, text};

use super::Outcome;
use super::output::{print, visible};

/// Answers printed at once.
const BATCH: usize = 4096;

/// Match a trace against a rule set: for each packet the index of the first matching rule, or -1
///
/// Rules are lines of ClassBench's format, first match wins, counted from 0; empty lines and lines that begin with #
/// are not counted:
///
///   @SRC/LEN  DST/LEN  LOW : HIGH  LOW : HIGH  PROTOCOL/MASK
///
/// with source ports before destination ports, and IPv6 prefixes where IPv4 ones could stand. Packets are lines of
/// source, destination, source port, destination port and protocol; addresses as decimal numbers (IPv4) or as usual.
/// Further columns of both are ignored. What cannot be read is reported with its place, and then nothing is matched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  weir classify --rules configs/rules/office.rules --trace configs/rules/office.trace")]
pub(super) struct Args {
    /// File of rules
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// File of packets; `-` is standard input
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// What looks the packets up
    #[arg(long, value_enum, default_value_t = EngineName::General)]
    engine: EngineName,
}

/// Engines for general rule sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum EngineName {
    /// Classes of addresses; a few loads whatever the number of rules
    General,
    /// Rule after rule: slow, and obviously right
    Linear,
}

pub(super) fn run(args: &Args) -> Outcome {
    let (rules, packets) = match (rules(&args.rules)?, trace(&args.trace)?) {
        (Ok(rules), Ok(packets)) => (rules, packets),
        (rules, packets) => return Ok(refuse([rules.err(), packets.err()])),
    };
    let engine: Box<dyn TupleClassifier> = match args.engine {
        EngineName::General => Box::new(General::new(&rules, Limits::default())?),
        EngineName::Linear => Box::new(LinearRules::new(rules)),
    };
    let mut answers = vec![None; BATCH];
    for packets in packets.chunks(BATCH) {
        engine.lookup_batch(packets, &mut answers);
        let mut lines = String::with_capacity(8 * packets.len());
        for answer in answers.iter().take(packets.len()) {
            // Writing to a String cannot fail.
            let _ = match answer {
                Some(index) => writeln!(lines, "{}", index.0),
                None => writeln!(lines, "-1"),
            };
        }
        print(&lines)?;
    }
    Ok(ExitCode::SUCCESS)
}

type Readable<T> = Result<T, Vec<text::Problem>>;

/// A file of rules, or what is wrong with it.
pub(super) fn rules(path: &Path) -> anyhow::Result<Readable<RuleSet>> {
    let text = content(path).with_context(|| format!("cannot read the rules in {}", path.display()))?;
    Ok(text::rules(&path.display().to_string(), &text))
}

/// A file of packets, or what is wrong with it.
pub(super) fn trace(path: &Path) -> anyhow::Result<Readable<Vec<Tuple>>> {
    let text = content(path).with_context(|| format!("cannot read the trace in {}", path.display()))?;
    Ok(text::trace(&path.display().to_string(), &text))
}

fn content(path: &Path) -> io::Result<String> {
    if path.as_os_str() != "-" {
        return std::fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text)?;
    Ok(text)
}

/// Says what is wrong, a line each, and how the command ends.
pub(super) fn refuse(problems: impl IntoIterator<Item = Option<Vec<text::Problem>>>) -> ExitCode {
    for problem in problems.into_iter().flatten().flatten() {
        // Each line begins with its file, line and column. If standard error is closed there is nobody to tell.
        drop(writeln!(io::stderr().lock(), "{}", visible(&problem.to_string())));
    }
    ExitCode::from(2)
}
