//! `weir bench pipeline`: packets per second through the whole pipeline, between memory and memory.
//!
//! Unit: millions of packets per second of one core's pipeline time; sizes are of the inner frame with its FCS, and so
//! is the line rate they are set against (20 bytes of preamble and gap to each). No ports: see `weir lab bench`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;
use harness::bench::traffic::MOST_FLOWS;
use harness::bench::{self, Direction, Measured, Shape, Size, StageTime, Underlay, drops};
use harness::report::Environment;
use serde::Serialize;

use super::way::Ways;
use crate::cli::Outcome;
use crate::cli::output::{Output, table};

/// Gigabits per second of the lines that figures are set against.
const LINES: [f64; 4] = [10.0, 25.0, 40.0, 100.0];
/// Preamble, start delimiter and gap.
const BETWEEN_FRAMES: f64 = 20.0;

/// Packets per second through the whole pipeline, on memory
///
/// Parse, decap, guard, connection tracking, policy, forward and encap of UDP packets on connections that are open.
/// The copy into packet memory is timed apart. Each figure is the median of five runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir bench pipeline --direction decap --flows 10000 --policies 1000
  weir bench pipeline --size 64,imix --flows 1,1000000 -o json
  weir bench pipeline --drops")]
pub(super) struct Args {
    /// Way through the pipeline
    #[arg(long, value_enum, default_value = "all")]
    direction: Ways,
    /// Frame sizes, 64 to 1468 bytes with FCS, or imix (7:4:1 of 64, 594 and 1468)
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = "64", value_parser = size)]
    size: Vec<Size>,
    /// Connections that packets belong to, taken in no order
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,10000,1000000")]
    flows: Vec<u32>,
    /// Policies that select the pods, the one that allows the packets last
    #[arg(long, value_name = "N", default_value_t = 1000)]
    policies: usize,
    /// Underlay of UDP datagrams, or of frames whose outer headers are weir's own work too
    #[arg(long, value_enum, default_value = "datagram")]
    underlay: Kind,
    /// Time packets that each open a connection, as many as --flows says
    #[arg(long, conflicts_with = "drops")]
    new_connections: bool,
    /// Show what each stage takes
    #[arg(long)]
    stages: bool,
    /// Time packets that are dropped, for each reason that a sender can bring about at will
    #[arg(long)]
    drops: bool,
    /// Workers, each with flows of its own, on one connection table
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), conflicts_with_all = ["drops", "new_connections"])]
    threads: u32,
    /// Pipeline time of one run; there are five for each figure
    #[arg(long, value_name = "MS", default_value_t = 200)]
    milliseconds: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// UDP sockets
    Datagram,
    /// A raw port
    Frame,
}

fn size(text: &str) -> Result<Size, String> {
    if text == "imix" {
        return Ok(Size::Imix);
    }
    let size = text.parse().map_err(|_| "expected a number of bytes, or imix".to_owned())?;
    if (64..=1468).contains(&size) {
        Ok(Size::Fixed(size))
    } else {
        Err("expected 64 to 1468 bytes: what fits the tunnel, with FCS".to_owned())
    }
}

/// The whole of a bench.
#[derive(Debug, Serialize)]
struct Report {
    environment: Environment,
    underlay: &'static str,
    policies: usize,
    /// What the figures leave out.
    left_out: &'static str,
    rows: Vec<Row>,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Row {
    direction: &'static str,
    /// `forwarded`, `new_connections`, what takes the long way and passes, or a drop reason.
    what: String,
    size: String,
    flows: u32,
    threads: u32,
    /// Of all threads together.
    #[serde(flatten)]
    measured: Measured,
    /// Of one thread.
    per_core: f64,
    /// Share of what lines of 10, 25, 40 and 100 Gbit/s carry of such frames.
    line_share: [f64; 4],
}

pub(super) fn run(args: &Args) -> Outcome {
    let most = MOST_FLOWS / args.threads as usize;
    if let Some(flows) = args.flows.iter().find(|flows| **flows == 0 || **flows as usize > most) {
        bail!("--flows {flows}: expected 1 to {most}");
    }
    let environment = Environment::now();
    let run = Duration::from_millis(args.milliseconds.max(1));
    let rows = if args.drops { dropped(args, run)? } else { forwarded(args, run)? };
    let report = Report {
        environment,
        underlay: if args.underlay == Kind::Frame { "frame" } else { "datagram" },
        policies: args.policies,
        left_out: "ports, system calls, and the copy into packet memory (refill_ns)",
        rows,
    };
    args.output.print(&report, |report| for_people(report, args.stages))?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    fn shape(&self, connections: u32) -> Shape {
        let underlay = match self.underlay {
            Kind::Datagram => Underlay::Datagram,
            Kind::Frame => Underlay::Frame,
        };
        Shape::new(self.policies, connections as usize, underlay)
    }
}

fn forwarded(args: &Args, run: Duration) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for direction in args.direction.directions() {
        for &flows in &args.flows {
            let shape = args.shape(flows);
            if args.new_connections {
                let measured =
                    bench::new_connections(&shape, direction, flows).map_err(anyhow::Error::msg)?;
                rows.push(row(direction, "new_connections", Size::Fixed(64), flows, 1, measured));
                continue;
            }
            for &size in &args.size {
                let measured = bench::timed(&shape, direction, size, flows, args.threads, run)
                    .map_err(anyhow::Error::msg)?;
                rows.push(row(direction, "forwarded", size, flows, args.threads, measured));
            }
        }
    }
    Ok(rows)
}

/// Every reason, and before them what passes, to set them against.
fn dropped(args: &Args, run: Duration) -> anyhow::Result<Vec<Row>> {
    let shape = Shape { underlay: Underlay::Datagram, ..args.shape(10_000) };
    let mut rows = Vec::new();
    for direction in args.direction.directions() {
        let size = Size::Fixed(64);
        let measured = bench::timed(&shape, direction, size, 10_000, 1, run).map_err(anyhow::Error::msg)?;
        rows.push(row(direction, "forwarded", size, 10_000, 1, measured));
        let measured = bench::new_connections(&shape, direction, 10_000).map_err(anyhow::Error::msg)?;
        rows.push(row(direction, "new_connections", size, 10_000, 1, measured));
        for kin in drops::kin().iter().filter(|kin| kin.direction == direction) {
            let measured = bench::kin(&shape, kin, run).map_err(anyhow::Error::msg)?;
            rows.push(row(direction, kin.name, size, 1, 1, measured));
        }
        for refused in drops::all().iter().filter(|refused| refused.direction == direction) {
            let measured = bench::refused(&shape, refused, run).map_err(anyhow::Error::msg)?;
            rows.push(row(direction, refused.reason.name(), size, refused.flows(), 1, measured));
        }
    }
    Ok(rows)
}

fn row(direction: Direction, what: &str, size: Size, flows: u32, threads: u32, measured: Measured) -> Row {
    let total = measured.millions_per_second.median;
    let on_line = (size.mean() + BETWEEN_FRAMES) * 8.0;
    Row {
        direction: direction.name(),
        what: what.to_owned(),
        size: match size {
            Size::Fixed(size) => size.to_string(),
            Size::Imix => "imix".to_owned(),
        },
        flows,
        threads,
        measured,
        per_core: total / f64::from(threads),
        line_share: LINES.map(|line| total * on_line / (line * 1e3)),
    }
}

fn for_people(report: &Report, with_stages: bool) -> String {
    let header = [
        "WAY",
        "WHAT",
        "SIZE",
        "FLOWS",
        "M/s",
        "LEAST",
        "MOST",
        "ns",
        "p99 ns",
        "10G",
        "25G",
        "40G",
        "100G",
        "REFILL ns",
    ];
    let rows = report.rows.iter().map(|row| {
        let Measured { millions_per_second: rate, median_ns, p99_ns, refill_ns, .. } = &row.measured;
        let [ten, twenty_five, forty, hundred] =
            row.line_share.map(|share| format!("{:.0} %", share * 100.0));
        [
            row.direction.to_owned(),
            row.what.clone(),
            row.size.clone(),
            row.flows.to_string(),
            format!("{:.2}", rate.median),
            format!("{:.2}", rate.least),
            format!("{:.2}", rate.most),
            format!("{median_ns:.1}"),
            format!("{p99_ns:.1}"),
            ten,
            twenty_five,
            forty,
            hundred,
            format!("{refill_ns:.1}"),
        ]
    });
    let stages = report.rows.iter().filter(|_| with_stages).flat_map(|row| {
        let cells = |time: &StageTime| {
            [
                row.direction.to_owned(),
                row.what.clone(),
                row.size.clone(),
                row.flows.to_string(),
                time.stage.to_owned(),
                time.packets.to_string(),
                format!("{:.1}", time.ns),
            ]
        };
        row.measured.stages.iter().map(cells).collect::<Vec<_>>()
    });
    let stages = table(["WAY", "WHAT", "SIZE", "FLOWS", "STAGE", "PACKETS", "ns"], stages);
    let stages = if with_stages { format!("\n{stages}\n") } else { String::new() };
    format!(
        "{}\n{} underlay, {} policies; left out: {}\n\n{}\n{stages}",
        report.environment.line(),
        report.underlay,
        report.policies,
        report.left_out,
        table(header, rows)
    )
}
