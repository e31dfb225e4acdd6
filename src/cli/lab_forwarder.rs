//! `weir lab forwarder`: the process of a lab's trivial forwarder. `weir lab bench --against forwarder` starts it.

use std::path::PathBuf;
use std::process::ExitCode;

use dataplane::sys::scheduling::Policy;
use harness::lab::forwarder::{self, Scheduling, Tap};
use vxlan::mac::Mac;

use super::Outcome;

/// Pass frames between two TAPs, unread: what `weir lab bench --against forwarder` measures
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  weir lab forwarder --tap 0a:58:0a:f4:01:0a=/run/netns/a --tap 0a:58:0a:f4:01:0b=/run/netns/b"
)]
pub(super) struct Args {
    /// MAC and namespace of an eth0 to make; two of them
    #[arg(long, required = true, value_name = "MAC=NETNS", value_parser = tap)]
    tap: Vec<Tap>,
    /// How many threads; by default one for each processor
    #[arg(long)]
    workers: Option<usize>,
    /// Let the kernel move the threads about
    #[arg(long)]
    no_pin: bool,
    /// Never sleep
    #[arg(long)]
    busy_poll: bool,
    /// How readily the threads run, as in nice(1)
    #[arg(long, default_value_t = Scheduling::default().niceness, allow_negative_numbers = true)]
    niceness: i8,
    /// Threads that wake wait for whoever is running
    #[arg(long)]
    batch: bool,
}

fn tap(text: &str) -> Result<Tap, String> {
    let expected = || format!("{text:?} is no TAP: expected MAC=NETNS");
    let (mac, netns) = text.split_once('=').ok_or_else(expected)?;
    let mac: Mac = mac.parse().map_err(|_| expected())?;
    Ok(Tap { mac: mac.octets(), netns: PathBuf::from(netns) })
}

pub(super) fn run(args: &Args) -> Outcome {
    let [one, other] = args.tap.as_slice() else {
        anyhow::bail!("--tap is given {} times, expected two", args.tap.len());
    };
    let scheduling = Scheduling {
        workers: args.workers,
        pin: !args.no_pin,
        busy_poll: args.busy_poll,
        policy: if args.batch { Policy::Batch } else { Policy::Other },
        niceness: args.niceness,
    };
    forwarder::run([one, other], scheduling)?;
    Ok(ExitCode::SUCCESS)
}
