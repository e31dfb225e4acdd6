//! `weir policy dump`: any stage of a compilation, to be read or compared.

use std::process::ExitCode;

use clap::ValueEnum;
use policy_compiler::query::{self, dump};

use super::state::State;
use crate::cli::Outcome;
use crate::cli::output::{Output, visible};

/// Print a stage of the compilation: objects, model, rules, or what the classifier answers
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir policy dump --stage model --state configs/state
  weir policy dump --stage classifier --state configs/state -o json")]
pub(super) struct Args {
    /// The stage
    #[arg(long, value_enum)]
    stage: Stage,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stage {
    /// The objects as they were read
    Objects,
    /// Tiers, policies and rules, in words
    Model,
    /// Everything that can decide, by rule id
    Rules,
    /// For every pod and direction: who is treated how on which ports
    Classifier,
}

pub(super) fn run(args: &Args) -> Outcome {
    let judge = args.state.judge()?;
    let stage = match args.stage {
        Stage::Objects => query::Stage::Objects,
        Stage::Model => query::Stage::Model,
        Stage::Rules => query::Stage::Rules,
        Stage::Classifier => query::Stage::Classifier,
    };
    let dumped = dump(&judge, stage);
    args.output
        .print_all(&dumped.records, |_| dumped.text.lines().map(|line| visible(line) + "\n").collect())?;
    Ok(ExitCode::SUCCESS)
}
