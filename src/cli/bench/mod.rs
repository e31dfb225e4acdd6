//! `weir bench`: what parts of weir do alone, on this machine, with the environment written beside the figures.
//!
//! Figures of parts guide; what counts is what the whole does (`weir lab`). Every bench first checks its answers.

mod classifier;
mod conntrack;
mod pairs;
mod pipeline;
mod rate;
mod rfc2544;
mod sweep;
mod updates;
mod way;

use super::Outcome;

/// Measure parts of weir on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir bench classifier --generate acl --size 10000 -o json
  weir bench pipeline --direction decap --flows 10000
  weir bench conntrack --threads 2
  weir bench rfc2544 --quick --memory")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Classifier(classifier::Args),
    Conntrack(conntrack::Args),
    Pipeline(pipeline::Args),
    Rfc2544(rfc2544::Args),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Classifier(args) => classifier::run(args),
        Command::Conntrack(args) => conntrack::run(args),
        Command::Pipeline(args) => pipeline::run(args),
        Command::Rfc2544(args) => rfc2544::run(args),
    }
}
