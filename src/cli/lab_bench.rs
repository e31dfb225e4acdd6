//! `weir lab bench`: weir beside the kernel and others, in the same minutes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use harness::lab::LabError;
use harness::lab::bench::{self, MOST_IDLE_PODS, Options, Path, Peer, Progress, Settings, Workload};
use harness::traffic::streams::congestion_controls;
use indicatif::ProgressBar;

use super::Outcome;
use super::interrupt::{INTERRUPTED, interruptible};
use super::lab::{Underlay, Wire};
use super::measured::{Results, seconds};
use super::output::bar;

/// Measure weir beside the kernel's VXLAN and bridge, and others: throughput, packet rate, latency, processor time
///
/// Builds labs of two nodes for weir and for those it is set against, and lets them take turns: the same pods, the same
/// generators, the same minutes. Every figure is the median of all rounds with its range, every ratio is taken round by
/// round. What was measured is left in a directory, with a report for the browser. Ctrl-C keeps what was measured so
/// far.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir lab bench --against kernel --quick               under three minutes
  weir lab bench --against kernel                       everything; half an hour
  weir lab bench --against kernel,ovs,forwarder --quick --rules 0
  weir lab bench --quick --scenario udp --rules 0       one figure of weir alone
  weir lab bench --quick --scenario udp,udp-flows --rules 0,10000
  weir lab bench --quick --idle-pods 108                two pods among silent ones
  weir lab bench --quick --scenario ndr                 loads without loss
  weir lab bench --against kernel --quick -o json       for scripts")]
pub(super) struct Args {
    /// What to measure beside weir
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEER")]
    against: Vec<Beside>,
    /// One attachment, 0 and 1,000 rules, rounds of one second
    #[arg(long)]
    quick: bool,
    /// How often each takes its turn
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long a trial counts, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Which kinds of traffic, instead of all
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SCENARIO")]
    scenario: Vec<Scenario>,
    /// Between pods of one node, across nodes, instead of both
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PATH")]
    path: Vec<Way>,
    /// How pods are attached to weir, instead of all ways
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    attach: Vec<Wire>,
    /// What weir's underlay is; further ones are measured beside the first, across nodes and without rules
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND")]
    underlay: Vec<Underlay>,
    /// Numbers of policies and of the kernel's rules
    #[arg(long, visible_alias = "policies", value_delimiter = ',', value_name = "N",
        value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rules: Vec<u32>,
    /// The kernel's rules also as sets, beside chains; without --quick they are
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    sets: Option<bool>,
    /// IPv6 as well; without --quick it is
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ipv6: Option<bool>,
    /// Also weir on the sending node and the kernel on the other; without --quick it is
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    mixed: Option<bool>,
    /// Also weir with so many attached and silent pods more on each node
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MOST_IDLE_PODS)))]
    idle_pods: Option<u8>,
    /// Workers of weir, and threads of the trivial forwarder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: Option<u8>,
    /// Whether each worker stays on one processor
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pin: Option<bool>,
    /// Workers never sleep
    #[arg(long)]
    busy_poll: bool,
    /// Congestion control of the TCP streams, like cubic, instead of the system's
    #[arg(long, value_name = "NAME", value_parser = congestion_control)]
    congestion_control: Option<String>,
    /// Any other key of weir's configuration, like scheduling.niceness=0; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Another build of weir to measure, in place of this one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    #[command(flatten)]
    results: Results,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Beside {
    /// Plain Linux on both nodes, as flannel sets it up
    Kernel,
    /// Open vSwitch in user space on both nodes, where it is installed
    Ovs,
    /// Threads that pass frames from one TAP to the other and do nothing else; within a node
    Forwarder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// One TCP stream
    Tcp1,
    /// Four TCP streams
    Tcp4,
    /// UDP frames of 64 bytes, two generators, 16 flows each
    Udp,
    /// The same, each frame a new flow
    UdpFlows,
    /// One request at a time
    Rtt,
    /// New connections
    Cps,
    /// The search for loads without loss
    Ndr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    OneNode,
    AcrossNodes,
}

fn congestion_control(name: &str) -> Result<String, String> {
    let available = congestion_controls().map_err(|error| error.to_string())?;
    if available.iter().any(|one| one == name) {
        return Ok(name.to_owned());
    }
    let available = available.join(", ");
    Err(format!("the kernel has {available} loaded; `modprobe tcp_{name}` may add it"))
}

impl Args {
    fn options(&self) -> anyhow::Result<Options> {
        let mut options = if self.quick { Options::quick() } else { Options::full() };
        let peer = |beside: &Beside| match beside {
            Beside::Kernel => Peer::Kernel,
            Beside::Ovs => Peer::Ovs,
            Beside::Forwarder => Peer::Forwarder,
        };
        options.against = self.against.iter().map(peer).collect();
        options.sets = self.sets.unwrap_or(options.sets);
        options.ipv6 = self.ipv6.unwrap_or(options.ipv6);
        options.mixed = self.mixed.unwrap_or(options.mixed && !self.against.is_empty());
        options.idle_pods = self.idle_pods.unwrap_or(0);
        options.setup.settings = self.settings()?;
        options.setup.measured.clone_from(&self.binary);
        options.setup.congestion.clone_from(&self.congestion_control);
        if let Some(binary) = self.binary.as_ref().filter(|binary| !binary.is_file()) {
            anyhow::bail!("--binary {}: there is no such file", binary.display());
        }
        if !self.underlay.is_empty() {
            options.underlays = self.underlay.iter().map(|&underlay| underlay.into()).collect();
        }
        if let Some(rounds) = self.rounds {
            options.rounds = rounds.into();
            options.further_rounds = 0;
        }
        if let Some(duration) = self.duration {
            options.window = duration;
        }
        if !self.scenario.is_empty() {
            options.ndr = self.scenario.contains(&Scenario::Ndr);
            options.workloads = self.scenario.iter().copied().filter_map(workload).collect();
        }
        if !self.path.is_empty() {
            let path = |way: &Way| match way {
                Way::OneNode => Path::OneNode,
                Way::AcrossNodes => Path::AcrossNodes,
            };
            options.paths = self.path.iter().map(path).collect();
        }
        if !self.attach.is_empty() {
            options.attach = self.attach.iter().map(|&wire| wire.into()).collect();
        }
        if !self.rules.is_empty() {
            options.rules = self.rules.iter().map(|&rules| rules as usize).collect();
        }
        Ok(options)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let mut settings = Settings::default();
        let flags = [
            self.workers.map(|workers| format!("workers={workers}")),
            self.pin.map(|pin| format!("scheduling.pin={pin}")),
            self.busy_poll.then(|| "scheduling.busy_poll=true".to_owned()),
        ];
        for text in flags.iter().flatten().chain(&self.set) {
            settings.set(text)?;
        }
        Ok(settings)
    }
}

fn workload(scenario: Scenario) -> Option<Workload> {
    match scenario {
        Scenario::Tcp1 => Some(Workload::Tcp1),
        Scenario::Tcp4 => Some(Workload::Tcp4),
        Scenario::Udp => Some(Workload::Udp),
        Scenario::UdpFlows => Some(Workload::UdpFlows),
        Scenario::Rtt => Some(Workload::RoundTrip),
        Scenario::Cps => Some(Workload::Connections),
        Scenario::Ndr => None,
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let options = args.options()?;
    let interrupt = interruptible()?;
    let out = args.results.directory()?;
    let bar = bar("{bar:30} {pos}/{len}, {eta} left, {wide_msg}");
    let outcome = bench::run(&options, &interrupt, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    match outcome {
        Ok(run) => args.results.leave(&run, &out),
        Err(LabError::Interrupted) => {
            eprintln!("interrupted before anything was measured; everything the lab had made is removed");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.total as u64);
    bar.set_position(progress.done as u64);
    bar.set_message(progress.now.clone());
}
