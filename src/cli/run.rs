//! `weir run`: the node's dataplane, until it is told to end.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use dataplane::config::{Config, WorkerCount};
use dataplane::node::Node;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Outcome, logging};

/// Run this node's dataplane
///
/// SIGHUP, or a change in the state directory, reads the state again; SIGTERM and SIGINT end it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir run --config /etc/weir/node.yaml\n  weir run --config node.yaml --workers 1"
)]
pub(super) struct Args {
    /// The node's configuration; `weir config schema` describes it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How many threads handle packets: a number, or `auto` for one on each processor. Goes before the configuration
    #[arg(long, value_name = "N")]
    workers: Option<WorkerCount>,
    /// Never sleep, which takes all of the workers' processors at all times
    #[arg(long)]
    busy_poll: bool,
}

pub(super) fn run(args: &Args, log: Option<&str>) -> Outcome {
    let mut config = Config::load(&args.config)?;
    config.workers = args.workers.unwrap_or(config.workers);
    config.scheduling.busy_poll |= args.busy_poll;
    logging::init(log, &config.log)?;
    // Before the start: a SIGTERM during it must end the node in good order, too.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("cannot handle signals")?;
    let node = Node::start(config)?;
    let handle = node.handle();
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGHUP => handle.reload(),
                    _ => handle.stop(),
                }
            }
        })
        .context("cannot start the signals' thread")?;
    node.wait()?;
    Ok(ExitCode::SUCCESS)
}
