//! `weir lab`: nodes and pods on this machine, real traffic, and what the policies made of it.
//!
//! Exits 0 if everything came as expected, 1 if not, 2 if the lab could not be had, 130 on Ctrl-C (after
//! everything was removed; a second Ctrl-C does not wait for that).

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use dataplane::config::{Log, LogFormat, LogLevel, UnderlayKind};
use harness::lab::demo::{self, Options, Progress};
use harness::lab::report::Text;
use harness::lab::{Attach, Backend, LabError, NodeKind, teardown};

use super::interrupt::{INTERRUPTED, interruptible};
use super::output::{Output, print};
use super::{Outcome, lab_bench, lab_capture, lab_forwarder, logging};

/// Try weir on this machine: nodes and pods in namespaces, real traffic, and what the policies made of it
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir lab demo\n  weir lab bench --against kernel --quick\n  weir lab clean"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(Demo),
    Bench(lab_bench::Args),
    Capture(lab_capture::Args),
    #[command(hide = true)]
    Forwarder(lab_forwarder::Args),
    /// Remove labs that were kept, or whose process was killed
    #[command(after_help = "Example:\n  weir lab clean")]
    Clean,
}

/// Two nodes, their pods and policies, every pair probed; then everything is removed
///
/// Builds two nodes as network namespaces joined by an underlay, outside hosts, dual-stack pods and a set of
/// policies, runs weir on node A and weir or plain Linux (as flannel sets it up) on node B, and compares
/// who reaches whom with what the policies say. As root it uses namespaces directly, else a user namespace.
/// Exits 1 if anything came otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir lab demo                     weir on both nodes
  weir lab demo --peer kernel       node B is plain Linux with flannel's devices
  weir lab demo -o json             for scripts
  weir lab demo --backend memory    all in this process, where namespaces are not to be had
  weir lab demo --keep              leave it up, and say how to enter a pod")]
struct Demo {
    /// What node B runs
    #[arg(long, value_enum, default_value_t = Node::Weir)]
    peer: Node,
    /// What node A runs; plain Linux on both nodes shows what flannel enforces: nothing
    #[arg(long, value_enum, default_value_t = Node::Weir)]
    node_a: Node,
    /// How pods are attached to weir: TAPs made in the pods, or the host ends of veths
    #[arg(long, value_enum, default_value_t = Wire::Tap)]
    attach: Wire,
    /// How weir sends and receives VXLAN: UDP sockets, or whole frames through packet sockets or AF_XDP
    #[arg(long, value_enum, default_value_t = Underlay::Udp)]
    underlay: Underlay,
    /// Where hosts and wires come from: the kernel, or this process alone (needs no right to anything)
    #[arg(long, value_enum, default_value_t = Place::Namespaces)]
    backend: Place,
    /// How long to measure throughput, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    throughput: u64,
    /// Leave everything up, and print how to enter each pod
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Node {
    Weir,
    Kernel,
}

/// How pods are attached to weir.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wire {
    Tap,
    Veth,
}

impl From<Wire> for Attach {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Tap => Self::Tap,
            Wire::Veth => Self::Veth,
        }
    }
}

/// What weir's underlay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Underlay {
    Udp,
    AfPacket,
    AfXdp,
}

impl From<Underlay> for UnderlayKind {
    fn from(underlay: Underlay) -> Self {
        match underlay {
            Underlay::Udp => Self::Udp,
            Underlay::AfPacket => Self::AfPacket,
            Underlay::AfXdp => Self::AfXdp,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Place {
    Namespaces,
    Memory,
}

pub(super) fn run(args: &Args, log: Option<&str>) -> Outcome {
    logging::init(log, &Log { level: LogLevel::Warn, format: LogFormat::Auto })?;
    match &args.command {
        Command::Demo(args) => demonstrate(args),
        Command::Bench(args) => lab_bench::run(args),
        Command::Capture(args) => lab_capture::run(args),
        Command::Forwarder(args) => lab_forwarder::run(args),
        Command::Clean => clean(),
    }
}

fn clean() -> Outcome {
    let mut removed = teardown::sweep().context("cannot remove what killed labs left")?;
    removed.extend(teardown::remove_kept().context("cannot remove kept labs")?);
    if removed.is_empty() {
        print("nothing to remove\n")?;
    }
    for name in &removed {
        print(&format!("removed {name}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn demonstrate(args: &Demo) -> Outcome {
    let interrupt = interruptible()?;
    let kind = |node| match node {
        Node::Weir => NodeKind::Weir,
        Node::Kernel => NodeKind::Kernel,
    };
    let options = Options {
        nodes: [kind(args.node_a), kind(args.peer)],
        attach: args.attach.into(),
        underlay: args.underlay.into(),
        backend: match args.backend {
            Place::Namespaces => Backend::Namespaces,
            Place::Memory => Backend::Memory,
        },
        binary: None,
        keep: args.keep,
        throughput: Duration::from_secs(args.throughput),
    };
    let bar = Bar::new();
    let outcome = demo::run(&options, interrupt, &|progress| bar.show(&progress));
    bar.clear();
    match outcome {
        Ok(report) => {
            let color = io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            args.output.print(&report, |report| Text { report, color }.to_string())?;
            Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Err(LabError::Interrupted) => {
            eprintln!("interrupted; everything the lab had made is removed");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error.into()),
    }
}

/// A progress bar, where standard error is a terminal; silence elsewhere.
struct Bar {
    terminal: bool,
    stage: Mutex<&'static str>,
}

impl Bar {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), stage: Mutex::new("") }
    }

    fn show(&self, progress: &Progress) {
        const WIDTH: usize = 30;
        let Ok(mut stage) = self.stage.lock() else { return };
        let text = match *progress {
            Progress::Stage(name) => {
                *stage = name;
                name.to_owned()
            }
            Progress::Probes { done, total } => {
                let filled = done.saturating_mul(WIDTH).checked_div(total).unwrap_or(0).min(WIDTH);
                format!(
                    "{stage} [{}{}] {done}/{total}",
                    "#".repeat(filled),
                    " ".repeat(WIDTH.saturating_sub(filled))
                )
            }
        };
        if self.terminal {
            eprint!("\r\x1b[K{text}");
        }
    }

    fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}
