//! `weir bench rfc2544`: what a device forwards without loss, how long it takes, and what it loses.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::bail;
use harness::load::interface::refuse_default_route;
use harness::load::{Shape, Sizes, Wire};
use harness::measure::profile::{self, Learning, MemoryBed, PairBed, Plan, ProfileError, Progress, Testbed};
use harness::report::Run;
use indicatif::ProgressBar;

use super::way::Way;
use crate::cli::Outcome;
use crate::cli::interrupt::{INTERRUPTED, interruptible};
use crate::cli::load::Traffic;
use crate::cli::measured::{Results, seconds};
use crate::cli::output::bar;

/// Trials of `--quick` on memory, whose time is its own.
const QUICK_MEMORY: Duration = Duration::from_millis(50);
/// Trials of `--quick` on interfaces.
const QUICK_WIRES: Duration = Duration::from_millis(250);
/// How long nothing has to come before a device has drained (RFC 2544 section 23).
const DRAIN: Duration = Duration::from_secs(2);
const QUICK_DRAIN: Duration = Duration::from_millis(50);
/// Most addresses taught at once.
const ADDRESSES: u32 = 1 << 17;
const QUICK_ADDRESSES: u32 = 1 << 13;

/// Throughput, latency, frame loss rate and bursts of a device, as RFC 2544 has them
///
/// The device is weir's own pipeline in memory, or whatever stands between two interfaces of this host. For each frame
/// size: the loads with no loss (NDR) and with at most 0.5 % (PDR), found by a search that climbs from below (RFC 9971);
/// latency at 10, 50 and 90 % of NDR; the loss at loads from the highest down; the longest burst that comes through whole;
/// and once, the rate at which new connections are opened without loss. Every frame offered is accounted for. Leaves a
/// directory with a report for the browser; Ctrl-C keeps what was measured.
///
/// With --denied, a share of the frames goes to a port that the policies deny: that these do not arrive is no loss, that
/// one does makes the exit 1. In memory such a share is always denied; around a device its policy has to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir bench rfc2544 --quick --memory --size 64,512,imix
  weir bench rfc2544 --quick --tx veth0 --rx veth1 --size 64
  weir bench rfc2544 --tx eth1 --rx eth2 --dst-mac 02:00:00:00:00:01 --out results     some hours, conformant
  weir bench rfc2544 --quick --memory --direction decap --flows 10000 --denied 0.1 -o json
  weir bench rfc2544 --quick --tx eth1 --rx veth0 --vxlan --from-vtep 192.0.2.2 --to-vtep 192.0.2.1 \\
      --dst-mac 02:00:00:00:00:01 --inner-dst-mac 02:00:00:00:00:0a --src 10.244.2.2 --dst 10.244.1.2")]
pub(super) struct Args {
    /// The device is weir's pipeline, between memory and memory
    #[arg(long, required_unless_present = "tx", conflicts_with_all = ["tx", "rx"])]
    memory: bool,
    /// Interface towards the device
    #[arg(long, value_name = "INTERFACE", requires = "rx")]
    tx: Option<String>,
    /// Interface at which frames come out of it
    #[arg(long, value_name = "INTERFACE", requires = "tx")]
    rx: Option<String>,
    /// Another interface at the device: try how fast, and how many, addresses are learned (RFC 2889)
    #[arg(long, value_name = "INTERFACE", requires = "tx")]
    monitor: Option<String>,
    /// Short trials: some minutes instead of hours, and not conformant
    #[arg(long)]
    quick: bool,
    /// Length of a trial in seconds, instead of 60: not conformant
    #[arg(long, visible_alias = "trial-seconds", value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Frame sizes with FCS, or imix; by default those of the RFC, with --quick 64, 512 and the largest
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    size: Vec<Sizes>,
    /// Way through weir's pipeline
    #[arg(long, value_enum, default_value = "encap", requires = "memory")]
    direction: Way,
    /// Policies that select the pods of weir's pipeline
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "memory")]
    policies: usize,
    /// Leave the rate of new connections out
    #[arg(long)]
    no_connections: bool,
    #[command(flatten)]
    traffic: Traffic,
    /// Use interfaces that carry a default route too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    results: Results,
}

impl Args {
    fn plan(&self) -> Plan {
        let mut plan = Plan::rfc2544();
        if self.quick {
            plan = plan.shortened(if self.memory { QUICK_MEMORY } else { QUICK_WIRES });
            plan.sizes = vec![Sizes::Fixed(64), Sizes::Fixed(512), Sizes::Fixed(1518)];
        }
        if let Some(duration) = self.duration {
            plan = plan.shortened(duration);
        }
        if !self.size.is_empty() {
            plan.sizes.clone_from(&self.size);
        }
        plan.connections = !self.no_connections;
        plan
    }

    fn drain(&self) -> Duration {
        if self.quick { QUICK_DRAIN } else { DRAIN }
    }

    /// The trials of address learning, where there is a monitor.
    fn learn(&self, run: &mut Run, shape: &Shape, interrupt: &AtomicBool) -> anyhow::Result<()> {
        let (Some(tx), Some(rx), Some(monitor), false) = (&self.tx, &self.rx, &self.monitor, run.interrupted)
        else {
            return Ok(());
        };
        let mut learning = Learning::open(tx, rx, monitor, self.drain(), shape)?;
        let addresses = if self.quick { QUICK_ADDRESSES } else { ADDRESSES };
        Ok(learning.run(run, addresses, interrupt)?)
    }

    fn bed(&self) -> anyhow::Result<Box<dyn Testbed>> {
        let (Some(tx), Some(rx)) = (&self.tx, &self.rx) else {
            let bed =
                MemoryBed::new(self.direction.into(), self.policies, self.traffic.flows, self.traffic.seed);
            let bed = bed.map_err(anyhow::Error::msg)?.with_denied(self.traffic.denied);
            bed.shape().check()?;
            return Ok(Box::new(bed));
        };
        if tx == rx {
            bail!("--tx {tx} --rx {rx}: expected two interfaces with the device between them");
        }
        if !self.force {
            refuse_default_route(tx)?;
            refuse_default_route(rx)?;
            self.monitor.as_deref().map_or(Ok(()), refuse_default_route)?;
        }
        let wire = Wire::open(tx, Some(rx), self.drain())?;
        let shape = self.traffic.shape(&wire)?;
        Ok(Box::new(PairBed::new(wire, shape)))
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.memory && !(1..=5_000_000).contains(&args.traffic.flows) {
        bail!("--flows {}: expected 1 to 5000000", args.traffic.flows);
    }
    if let (true, Some(option)) = (args.memory, args.traffic.peculiar().next()) {
        bail!(
            "{option} has no meaning with --memory: its frames are those that the pipeline's pods may send"
        );
    }
    let interrupt = interruptible()?;
    let out = args.results.directory()?;
    let mut bed = args.bed()?;
    let bar = bar("{bar:30} {percent} %, {eta} left, {wide_msg}");
    let outcome = profile::run(&mut *bed, &args.plan(), &interrupt, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let shape = bed.shape().clone();
    // The listening interface is given back before anything else can fail.
    drop(bed);
    let mut run = match outcome {
        Ok(run) => run,
        Err(ProfileError::Nothing) => {
            eprintln!("{}", ProfileError::Nothing);
            return Ok(ExitCode::from(INTERRUPTED));
        }
        Err(error) => return Err(error.into()),
    };
    // What was measured before is kept.
    if let Err(error) = args.learn(&mut run, &shape, &interrupt) {
        run.notes.push(format!("Address learning could not be tried: {error}"));
    }
    let exit = args.results.leave(&run, &out)?;
    if !run.interrupted && profile::leaked(&run) {
        eprintln!("frames that were meant to be denied came all the same: the device lets them pass");
        return Ok(ExitCode::from(1));
    }
    Ok(exit)
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    bar.set_length(milliseconds(progress.total));
    bar.set_position(milliseconds(progress.done));
    bar.set_message(progress.now.clone());
}
