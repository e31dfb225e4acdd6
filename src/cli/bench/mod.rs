//! `weir bench`: what parts of weir do alone, on this machine, with the environment written beside the figures.
//!
//! Figures of parts guide; what counts is what the whole does (`weir lab`). Every bench first checks its answers.

mod classifier;
mod environment;
mod rate;
mod sweep;
mod updates;

use super::Outcome;

/// Measure parts of weir on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  weir bench classifier --generate acl --size 10000 -o json")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Classifier(classifier::Args),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Classifier(args) => classifier::run(args),
    }
}
