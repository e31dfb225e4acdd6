//! `weir show`: one part of what the running daemon knows, for people and scripts.
//!
//! Stages are timed while they are asked for (`stages`); all other parts are those of `weir status`, each by itself,
//! with a line for each record where `-o jsonl` is asked for.

mod stages;

use std::process::ExitCode;

use dataplane::control::{Reply, Request, Status};
use serde::Serialize;

use super::output::Output;
use super::socket::Socket;
use super::{Outcome, status};

/// Show one part of what the running daemon knows
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir show stages --watch
  weir show drops
  weir show ports -o jsonl")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Stages(stages::Args),
    /// The node's pods, and how far their attachments have come
    #[command(after_help = "Example:\n  weir show pods -o yaml")]
    Pods(Part),
    /// The other nodes
    #[command(after_help = "Example:\n  weir show peers")]
    Peers(Part),
    /// The ports and what went through them
    #[command(after_help = "Example:\n  weir show ports -o jsonl")]
    Ports(Part),
    /// The threads that handle packets
    #[command(after_help = "Example:\n  weir show workers")]
    Workers(Part),
    /// Dropped packets by reason, and what the reasons mean
    #[command(after_help = "Example:\n  weir show drops")]
    Drops(Part),
    /// What policies denied to whom, and by which rule
    #[command(after_help = "Example:\n  weir show denials -o json")]
    Denials(Part),
}

/// Which daemon, and in which form.
#[derive(Debug, clap::Args)]
struct Part {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Stages(args) => stages::run(args),
        Command::Pods(part) => part.show(|status| status.pods.clone(), status::pods),
        Command::Peers(part) => part.show(|status| status.peers.clone(), status::peers),
        Command::Ports(part) => part.show(|status| status.ports.clone(), status::ports),
        Command::Workers(part) => part.show(|status| status.workers.clone(), status::workers),
        Command::Drops(part) => part.show(drops, status::drops),
        Command::Denials(part) => part.show(|status| status.denials.clone(), status::denials),
    }
}

impl Part {
    fn show<T: Serialize>(
        &self,
        records: impl FnOnce(&Status) -> Vec<T>,
        table: impl FnOnce(&Status) -> String,
    ) -> Outcome {
        let Reply::Status(status) = self.socket.ask(&Request::Status {})? else {
            anyhow::bail!("the daemon answered something else than its status: is it of another version?");
        };
        self.output.print_all(&records(&status), |records| {
            if records.is_empty() { "none".to_owned() } else { table(&status) }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Packets dropped for one reason.
#[derive(Debug, Serialize)]
struct Drops {
    reason: String,
    packets: u64,
    meaning: &'static str,
}

fn drops(status: &Status) -> Vec<Drops> {
    let each = status.drops.iter();
    each.map(|(reason, packets)| Drops {
        reason: reason.clone(),
        packets: *packets,
        meaning: status::meaning(reason),
    })
    .collect()
}
