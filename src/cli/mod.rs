//! The command line. Exit codes of every command: 0 done; 1 done, and the answer is no; 2 bad usage or bad input,
//! with a message on standard error that says where and how to mend it.

mod attach;
mod bench;
mod classify;
mod config;
mod detach;
mod doctor;
mod interrupt;
mod lab;
mod lab_bench;
mod lab_capture;
mod lab_forwarder;
mod load;
mod logging;
mod measured;
mod output;
mod policy;
mod replay;
mod report;
mod run;
mod show;
mod snippet;
mod socket;
mod status;
mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a command ends in: an exit code, or an error that becomes exit code 2.
type Outcome = anyhow::Result<ExitCode>;

/// Userspace packet processing for Kubernetes nodes: flannel's VXLAN overlay with NetworkPolicy enforced.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done; 1 done, and the answer is no; 2 bad usage or bad input.\n\
                        NO_COLOR is honoured.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: a level, or targets with levels like `warn,dataplane::state=debug`. Default: WEIR_LOG, or
    /// what the configuration says
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Config(config::Args),
    Policy(policy::Args),
    Replay(replay::Args),
    Classify(classify::Args),
    Load(load::Args),
    Bench(bench::Args),
    Report(report::Args),
    Status(status::Args),
    Show(show::Args),
    Attach(attach::Args),
    Detach(detach::Args),
    Doctor(doctor::Args),
    /// Build nodes and pods on this machine, run weir on them, and see what passes
    #[command(after_help = "Example:\n  weir lab demo")]
    Lab(lab::Args),
}

/// Runs the command that the arguments ask for.
pub(crate) fn main() -> ExitCode {
    let Cli { command, log } = Cli::parse();
    let outcome = match command {
        Command::Run(args) => run::run(&args, log.as_deref()),
        Command::Config(args) => config::run(args),
        Command::Policy(args) => policy::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Classify(args) => classify::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Attach(args) => attach::run(args),
        Command::Detach(args) => detach::run(args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Lab(args) => lab::run(&args, log.as_deref()),
    };
    outcome.unwrap_or_else(|error| {
        output::complain(&error);
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn without_example(command: &clap::Command, path: &str, found: &mut Vec<String>) {
            for sub in command.get_subcommands() {
                let path = format!("{path} {}", sub.get_name());
                let shown = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
                if !shown.contains("Example") {
                    found.push(path.clone());
                }
                without_example(sub, &path, found);
            }
        }
        let mut found = Vec::new();
        without_example(&Cli::command(), "weir", &mut found);
        assert!(found.is_empty(), "without an example: {found:?}");
    }
}
