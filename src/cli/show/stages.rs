//! `weir show stages`: what a worker's stages take of its time, while packets pass.
//!
//! Asks twice and prints what lies between. The daemon times its stages for as long as the request says, which is a
//! little longer than until the next one: when this ends, however it ends, that ends too.

use std::fmt::Write;
use std::process::ExitCode;
use std::time::Duration;

use dataplane::control::{Reply, Request, StageReport, Stages, WorkerReport};

use crate::cli::Outcome;
use crate::cli::output::{Colour, Output, is_read, on_terminal, paint, table, visible};
use crate::cli::socket::Socket;

/// How much longer than to the next question the daemon is to go on timing.
const SLACK: Duration = Duration::from_secs(1);

/// What the stages take: packets, nanoseconds for each of them and how full the batches are, per worker
///
/// While this runs, all packets are counted at each stage and one batch in eight is timed. Receiving and sending are
/// the system calls of the ports. SHARE is of the worker's time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir show stages
  weir show stages --watch --interval 5
  weir show stages -o json")]
pub(super) struct Args {
    #[command(flatten)]
    socket: Socket,
    #[command(flatten)]
    output: Output,
    /// Go on until interrupted
    #[arg(long)]
    watch: bool,
    /// How long to count before printing, 0.1 to 60
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok().filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "expected seconds from 0.1 to 60".to_owned())
}

pub(super) fn run(args: &Args) -> Outcome {
    let lease = args.interval.saturating_add(SLACK);
    let mut before = args.ask(lease)?;
    loop {
        std::thread::sleep(args.interval);
        let now = args.ask(if args.watch { lease } else { Duration::ZERO })?;
        let text = args.output.render(&now.since(&before), for_people)?;
        if !is_read(&(args.lead() + &text))? || !args.watch {
            return Ok(ExitCode::SUCCESS);
        }
        before = now;
    }
}

impl Args {
    fn ask(&self, lease: Duration) -> anyhow::Result<Stages> {
        let milliseconds = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        match self.socket.ask(&Request::Stages { milliseconds })? {
            Reply::Stages(stages) => Ok(*stages),
            _ => {
                anyhow::bail!("the daemon answered something else than its stages: is it of another version?")
            }
        }
    }

    /// What stands before each of several reports.
    fn lead(&self) -> String {
        if !self.watch {
            String::new()
        } else if self.output.is_table() && on_terminal() {
            // Over the one before.
            "\u{1b}[H\u{1b}[2J".to_owned()
        } else {
            self.output.separator().to_owned()
        }
    }
}

fn for_people(report: &StageReport) -> String {
    let mut text = format!("{}, {:.1} seconds\n", visible(&report.node), report.seconds);
    for worker in &report.workers {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n{}: {}", paint(Colour::Heading, &visible(&worker.name)), summary(worker));
        if !worker.stages.is_empty() {
            let _ = writeln!(text, "{}", stages(worker).trim_end());
        }
    }
    text
}

fn summary(worker: &WorkerReport) -> String {
    let asleep = format!("asleep {} times", worker.sleeps);
    let Some(fill) = worker.packets_per_batch else { return format!("no packets, {asleep}") };
    format!(
        "{} packets, {fill:.1} in a batch, flow cache {} hits {} misses, {asleep}, {:.1} % busy",
        worker.packets,
        worker.flow_hits,
        worker.flow_misses,
        worker.busy * 100.0
    )
}

fn stages(worker: &WorkerReport) -> String {
    let figure = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}{unit}"))
    };
    let rows = worker.stages.iter().map(|row| {
        [
            row.stage.clone(),
            row.packets.to_string(),
            figure(row.packets_per_batch, ""),
            figure(row.nanoseconds_per_packet, ""),
            figure(row.share.map(|share| share * 100.0), " %"),
        ]
    });
    table(["STAGE", "PACKETS", "PACKETS/BATCH", "NS/PACKET", "SHARE"], rows)
}

#[cfg(test)]
mod tests {
    use super::{for_people, interval};
    use dataplane::control::{StageReport, StageRow, WorkerReport};

    fn row(stage: &str, packets: u64, fill: f64, nanoseconds: Option<f64>) -> StageRow {
        let share = nanoseconds.map(|each| each / 2e5);
        let (stage, packets_per_batch) = (stage.to_owned(), Some(fill));
        StageRow { stage, packets, packets_per_batch, nanoseconds_per_packet: nanoseconds, share }
    }

    fn example() -> StageReport {
        let first = WorkerReport {
            name: "weir-worker-0".to_owned(),
            packets: 12_345,
            packets_per_batch: Some(24.7),
            sleeps: 310,
            flow_hits: 12_000,
            flow_misses: 345,
            busy: 0.314,
            stages: vec![
                row("receive", 12_345, 24.7, Some(410.2)),
                row("look", 12_345, 24.7, Some(31.0)),
                row("known", 12_000, 60.0, Some(38.4)),
                row("parse", 345, 1.2, None),
                row("send", 12_300, 24.6, Some(633.5)),
            ],
        };
        let second = WorkerReport { name: "weir-worker-1".to_owned(), sleeps: 20, ..WorkerReport::default() };
        StageReport { node: "node-a".to_owned(), seconds: 1.000_213, workers: vec![first, second] }
    }

    #[test]
    fn the_stages_for_people() {
        insta::assert_snapshot!(for_people(&example()));
    }

    #[test]
    fn the_stages_as_json() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&example()).unwrap());
    }

    #[test]
    fn the_stages_as_yaml() {
        insta::assert_snapshot!(crate::cli::yaml::to_string(&example()).unwrap());
    }

    #[test]
    fn an_interval_is_neither_too_short_nor_too_long_for_the_daemon() {
        for text in ["0", "0.01", "61", "-1", "NaN", "inf", "", "1s"] {
            assert!(interval(text).is_err(), "{text}");
        }
        assert_eq!(interval("0.5").unwrap().as_millis(), 500);
    }
}
