//! `weir policy diff`: what a change of the state would allow and deny.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use policy_compiler::query::{Difference, diff};

use super::state;
use crate::cli::Outcome;
use crate::cli::output::{Output, table, visible};

/// Compare two states: the pairs and ports that become allowed or denied, and by which rule
///
/// Compares pods that both states have, nodes, and every part of the outside that a policy names. Exits 1 if the
/// states judge differently.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  weir policy diff /etc/weir/state ./state-with-new-policy")]
pub(super) struct Args {
    /// State directory as it is
    old: PathBuf,
    /// State directory as it would be
    new: PathBuf,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let (old, new) = (state::judge(&args.old)?, state::judge(&args.new)?);
    let difference = diff(&old, &new);
    args.output.print(&difference, for_people)?;
    Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

pub(super) fn for_people(difference: &Difference) -> String {
    if difference.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    for (sign, pods, which) in [("+", &difference.added_pods, "NEW"), ("-", &difference.removed_pods, "OLD")]
    {
        for pod in pods {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{sign} pod {} is in {which} only: not compared", visible(pod));
        }
    }
    if !difference.changes.is_empty() {
        let rows = difference.changes.iter().map(|change| {
            [
                change.becomes.to_owned(),
                change.src.clone(),
                change.dst.clone(),
                format!("IPv{}", change.family),
                change.ports.to_string(),
                change.by.clone(),
            ]
        });
        text.push_str(&table(["BECOMES", "SRC", "DST", "FAMILY", "PORTS", "BY"], rows));
        text.push('\n');
    }
    text
}
