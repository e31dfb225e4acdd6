//! `weir policy diff`: what a change of the state would allow and deny.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use policy_compiler::query::{Difference, diff};

use super::state;
use crate::cli::Outcome;
use crate::cli::output::{Output, Progress, table, visible};

/// Most lines that people are shown.
const MAX_LINES: usize = 200;

/// Compare two states: the pairs and ports that become allowed or denied, and by which rule
///
/// Compares pods that both states have, nodes, and every part of the outside that a policy names. Pairs of which the
/// same is true are one line of the table; json has each of them. Exits 1 if the states judge differently.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy diff /etc/weir/state ./state-with-new-policy
  weir policy diff --staged /etc/weir/state")]
pub(super) struct Args {
    /// State directory as it is
    old: PathBuf,
    /// State directory as it would be
    #[arg(required_unless_present = "staged")]
    new: Option<PathBuf>,
    /// Judge NEW as if its staged policies were in force; without NEW, what putting them in force would change
    #[arg(long)]
    staged: bool,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let old = state::judge(&args.old, false)?;
    let new = state::judge(args.new.as_ref().unwrap_or(&args.old), args.staged)?;
    let mut progress = Progress::new("pods compared");
    let difference = diff(&old, &new, |done, all| progress.at(done, all));
    drop(progress);
    args.output.print(&difference, for_people)?;
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn for_people(difference: &Difference) -> String {
    if difference.is_empty() {
        return "no difference\n".to_owned();
    }
    // Writing to a String cannot fail.
    let mut text = String::new();
    for (sign, pods, which) in [("+", &difference.added_pods, "NEW"), ("-", &difference.removed_pods, "OLD")]
    {
        for pod in pods.iter().take(MAX_LINES) {
            let _ = writeln!(text, "{sign} pod {} is in {which} only: not compared", visible(pod));
        }
        if pods.len() > MAX_LINES {
            let _ = writeln!(text, "{sign} and {} more", pods.len() - MAX_LINES);
        }
    }
    if !difference.by_source.is_empty() {
        let _ = writeln!(
            text,
            "rules test source ports of {}: each is told apart",
            difference.by_source.join(", ")
        );
    }
    let blocks = difference.blocks();
    if !blocks.is_empty() {
        let rows = blocks.iter().take(MAX_LINES).map(|block| {
            [
                block.becomes.to_owned(),
                block.src.clone(),
                block.dst.clone(),
                block.pairs.to_string(),
                block.families.to_owned(),
                block.ports.to_string(),
                block.by.to_string(),
            ]
        });
        text.push_str(&table(["BECOMES", "SRC", "DST", "PAIRS", "FAMILY", "PORTS", "BY"], rows));
        text.push('\n');
        if blocks.len() > MAX_LINES {
            let _ = writeln!(text, "and {} lines more: -o json has all of them", blocks.len() - MAX_LINES);
        }
    }
    text
}
