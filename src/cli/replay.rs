//! `weir replay`: a capture through the pipeline of a node, and what became of every packet.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use harness::replay::{
    self, Capture, Input, MapRule, NodeState, Options, Progress, ReplayError, Speed, Text,
};
use indicatif::ProgressBar;

use super::Outcome;
use super::interrupt::{INTERRUPTED, interruptible};
use super::output::{self, Output, visible};
use super::policy::Refused;

/// What only the pipeline understands.
const PIPELINE: [&str; 11] = [
    "state",
    "node",
    "config",
    "map",
    "strict_mac",
    "out",
    "dropped",
    "record",
    "expect",
    "against",
    "flows",
];

/// Send a capture through the pipeline of a node: what its policies make of recorded traffic
///
/// Reads pcap and pcapng, plain or VXLAN. Each packet enters at the port that its addresses imply: from a pod of
/// this node at the pod's, VXLAN to this node at the underlay, from outside at the node's; what cannot be placed is
/// left out and counted. The pipeline's clock is the capture's, whatever the speed. TCP connections that were open when
/// the capture began are unknown to it, as they are after a restart: their packets are dropped as `ct_invalid`.
///
/// Exits 1 if a verdict differs from those expected or from the other state's, 2 if the capture is faulty (what came
/// before the fault is reported), 130 on Ctrl-C (likewise).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir replay yesterday.pcap --state /etc/weir/state --node node-a
  weir replay yesterday.pcap --state new/ --against old/ --node node-a
  weir replay in.pcapng --state state/ --node node-a --speed x2.5 --out passed.pcapng --dropped why.pcapng
  weir replay in.pcap --state state/ --node node-a --record verdicts.jsonl
  weir replay in.pcap --state state/ --node node-a --expect verdicts.jsonl
  weir replay eth0.pcap --state state/ --node node-a --map if:veth3=pod:shop/web --map any=leave-out
  weir replay in.pcap --to tap0 --speed 500kpps")]
pub(super) struct Args {
    /// The capture; `-` is standard input
    #[arg(value_name = "PCAP")]
    capture: PathBuf,
    /// Directory of manifests (*.yaml, *.yml, *.json): Namespaces, Pods, Nodes, NetworkPolicies
    #[arg(long, value_name = "DIR", required_unless_present = "to", requires = "node")]
    state: Option<PathBuf>,
    /// Name of the Node whose pipeline it is
    #[arg(long, value_name = "NAME", requires = "state")]
    node: Option<String>,
    /// Send the packets out of this interface as they are, instead of through a pipeline
    #[arg(long, value_name = "INTERFACE", conflicts_with_all = PIPELINE)]
    to: Option<String>,
    /// Configuration of `weir run` on that node, where it is not the default: VNI, port, MACs, limits
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How fast: timed (by its stamps), xN (N times as fast), a rate like 500kpps, or max
    #[arg(long, value_name = "SPEED", default_value = "max")]
    speed: Speed,
    /// How often, one pass after the other
    #[arg(long = "loop", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    passes: u64,
    /// Where packets enter, where their addresses do not say so: CONDITION[,CONDITION...]=PORT with conditions if:NAME,
    /// if:#N, src:CIDR, dst:CIDR, mac:MAC or any, and PORT pod:NAMESPACE/NAME, node, underlay or leave-out; may be
    /// repeated, the first that fits decides
    #[arg(long, value_name = "RULE")]
    map: Vec<MapRule>,
    /// Leave MACs as they are; else they become those that the port expects
    #[arg(long)]
    strict_mac: bool,
    /// Write the frames that leave, as pcapng with an interface for each port
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the packets that are dropped, as captured, as pcapng with reason and deciding rule as comment
    #[arg(long, value_name = "FILE")]
    dropped: Option<PathBuf>,
    /// Write the verdict of each packet, one JSON object per line
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Hold the verdicts against those that --record wrote before
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Hold the verdicts against those of this state, and list the flows whose verdict changes
    #[arg(long, value_name = "OLD_STATE")]
    against: Option<PathBuf>,
    /// Write all flows, one JSON object per line, with the verdict of their first packets
    #[arg(long, value_name = "FILE")]
    flows: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Outcome {
    let interrupt = interruptible()?;
    let input =
        if args.capture.as_os_str() == "-" { Input::Stdin } else { Input::File(args.capture.clone()) };
    let (Some(directory), Some(node)) = (&args.state, &args.node) else {
        return onto_wire(args, &input, &interrupt);
    };
    let load = |directory| load(args, directory, node);
    let state = load(directory)?;
    let against = args.against.as_deref().map(load).transpose()?;
    let options = Options {
        passes: args.passes,
        speed: args.speed,
        map: args.map.clone(),
        strict_mac: args.strict_mac,
        out: args.out.clone(),
        dropped: args.dropped.clone(),
        record: args.record.clone(),
        expect: args.expect.clone(),
        flows: args.flows.clone(),
        ..Options::new(input)
    };
    let bar = bar();
    let report = replay::run(state, against, &options, &interrupt, &mut |progress| show(&bar, progress));
    bar.finish_and_clear();
    let report = report?;
    args.output.print(&report, |report| visible_lines(&Text(report).to_string()))?;
    end(&report.capture, report.agrees())
}

fn onto_wire(args: &Args, input: &Input, interrupt: &AtomicBool) -> Outcome {
    let interface = args.to.as_deref().unwrap_or_default();
    let bar = bar();
    let report = replay::send(input, interface, args.speed, args.passes, interrupt, &mut |progress| {
        show(&bar, progress);
    });
    bar.finish_and_clear();
    let report = report?;
    args.output.print(&report, |report| visible_lines(&report.to_string()))?;
    end(&report.capture, report.adds_up && report.congested == 0 && report.failed == 0)
}

fn end(capture: &Capture, good: bool) -> Outcome {
    if let Some(fault) = &capture.fault {
        anyhow::bail!("{fault} (what came before it is reported)");
    }
    if capture.interrupted {
        eprintln!("interrupted; what was processed is reported, and files are complete");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn show(bar: &ProgressBar, progress: &Progress) {
    bar.set_length(progress.total.unwrap_or(0));
    bar.set_position(progress.bytes);
    bar.set_message(format!("{} packets", progress.packets));
}

fn load(args: &Args, directory: &Path, node: &str) -> anyhow::Result<NodeState> {
    let state = NodeState::load(directory, node, args.config.as_deref());
    let state = state.map_err(|error| match error {
        ReplayError::State(problems) => anyhow::Error::from(Refused::new(problems)),
        ReplayError::Config(error) => error.into(),
        other => other.into(),
    })?;
    for warning in &state.warnings {
        eprintln!("{}", visible(&warning.to_string()));
    }
    Ok(state)
}

/// A progress bar in bytes.
pub(super) fn bar() -> ProgressBar {
    output::bar("{bar:30} {bytes}/{total_bytes} {msg}, {eta} left")
}

/// Names come from manifests and captures, and may not steer a terminal.
fn visible_lines(text: &str) -> String {
    text.lines().map(|line| visible(line) + "\n").collect()
}
