//! `weir policy`: what the policies of a state directory say, answered by the classifier that forwards packets.
//!
//! One file per subcommand; what they ask and how it is answered is `policy_compiler::query`.

mod diff;
mod dump;
mod eval;
mod explain;
mod lint;
mod matrix;
mod state;

pub(super) use state::Refused;

use super::Outcome;

/// Ask what policies allow, before and after applying them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy explain shop/frontend shop/backend 8080/TCP --state configs/state
  weir policy matrix --state configs/state
  weir policy lint --state configs/state")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Eval(eval::Args),
    Explain(explain::Args),
    Matrix(matrix::Args),
    Lint(lint::Args),
    Diff(diff::Args),
    Dump(dump::Args),
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Eval(args) => eval::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Matrix(args) => matrix::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Dump(args) => dump::run(args),
    }
}
