//! `weir bench classifier`: lookups per second, build time, bytes and update latency of a rule set's classifier.
//!
//! Unit: packets looked up by one thread, keys at hand: no parsing, no connection table. Every answer is compared with
//! the linear walk before anything is timed. `--generate k8s` measures the engine that judges policies, on connections
//! between the pods of a generated cluster; one operation there is one connection judged at both ends, egress and ingress,
//! pushed into its burst beforehand.

mod cluster;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::ValueEnum;
use harness::generate::ruleset::{Family, RuleSetShape, Skew, packets};
use harness::report::Environment;
use policy_compiler::classifier::{General, Limits, LinearRules, TupleClassifier};
use policy_compiler::ruleset::{RuleSet, Tuple};
use serde::Serialize;

use super::rate::Rate;
use super::sweep;
use super::updates::{self, Updates};
use crate::cli::Outcome;
use crate::cli::classify::{refuse, rules, trace};
use crate::cli::output::{Output, table};

const BURSTS: [usize; 3] = [1, 32, 256];
/// Length of a run of the linear walk, which is there for scale.
const FEW: Duration = Duration::from_millis(50);

/// Lookups per second, build time, bytes and update latency of a classifier
///
/// Takes a rule set and a trace (as `weir classify` does), or makes them: acl, fw, ipc and k8s-rules are general rule
/// sets of these shapes, k8s is a cluster with --size policies, judged by the engine that judges packets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir bench classifier --rules configs/rules/office.rules --trace configs/rules/office.trace
  weir bench classifier --generate fw --size 10000 --seed 1 -o json
  weir bench classifier --generate k8s --pods 5000 --size 1236 --zipf -o json
  weir bench classifier --sweep --out benches/results")]
pub(super) struct Args {
    /// File of rules
    #[arg(long, value_name = "FILE", requires = "trace", required_unless_present_any = ["generate", "sweep", "redraw"])]
    rules: Option<PathBuf>,
    /// File of packets
    #[arg(long, value_name = "FILE", requires = "rules")]
    trace: Option<PathBuf>,
    /// Make rules and packets of this kind
    #[arg(long, value_enum, conflicts_with_all = ["rules", "trace"])]
    generate: Option<Kind>,
    /// Rules to make; policies for k8s
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "generate")]
    size: usize,
    /// Pods of the cluster, for k8s: 50 on a node
    #[arg(long, value_name = "N", default_value_t = 500, requires = "generate")]
    pods: usize,
    /// What chooses them
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Packets to make: 20,000 unless given; connections for k8s: 4,096, as many as stay in a core's cache
    #[arg(long, value_name = "N", requires = "generate")]
    packets: Option<usize>,
    /// Make IPv6 rules and packets
    #[arg(long, requires = "generate")]
    ipv6: bool,
    /// Packets choose rules by Zipf's law instead of evenly
    #[arg(long, requires = "generate")]
    zipf: bool,
    /// Updates to time
    #[arg(long, value_name = "N", default_value_t = 4000)]
    updates: usize,
    /// Length of one run; there are five for each figure
    #[arg(long, value_name = "MS", default_value_t = 200)]
    milliseconds: u64,
    /// Measure every engine against the number of rules, and write classifier-DATE.json and .svg
    #[arg(long, conflicts_with_all = ["rules", "trace", "generate"])]
    sweep: bool,
    /// Directory for the files of a sweep
    #[arg(long, value_name = "DIR", default_value = ".", requires = "sweep")]
    out: PathBuf,
    /// Draw the chart of such a file again, beside it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rules", "trace", "generate", "sweep"])]
    redraw: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Access list
    Acl,
    /// Firewall
    Fw,
    /// IP chain
    Ipc,
    /// A cluster's pods as general rules
    K8sRules,
    /// A cluster and its policies
    K8s,
}

/// One engine on one set.
#[derive(Debug, Serialize)]
struct Measured {
    engine: String,
    build_ms: f64,
    memory_bytes: usize,
    /// Millions of lookups per second, by burst.
    lookups: Vec<AtBurst>,
    /// Insertions and removals, and lookups beside them.
    updates: Option<Updates>,
}

#[derive(Debug, Serialize)]
struct AtBurst {
    burst: usize,
    #[serde(flatten)]
    millions_per_second: Rate,
}

/// The whole of a bench.
#[derive(Debug, Serialize)]
struct Report {
    environment: Environment,
    input: String,
    rules: usize,
    packets: usize,
    /// How many answers were compared with the linear walk, all of them equal.
    checked: usize,
    engines: Vec<Measured>,
}

pub(super) fn run(args: &Args) -> Outcome {
    if let Some(file) = &args.redraw {
        return sweep::redraw(file);
    }
    if args.sweep {
        return sweep::run(&args.out, args.milliseconds, args.seed, &args.output);
    }
    let run = Duration::from_millis(args.milliseconds.max(1));
    let general = |family| {
        let shape = RuleSetShape { family, rules: args.size, v6: args.ipv6, seed: args.seed };
        let skew = if args.zipf { Skew::Zipf } else { Skew::Uniform };
        let rules = shape.rules();
        let tuples = packets(&rules, skew, args.seed, args.packets.unwrap_or(20_000));
        let input = format!("{shape:?}, {skew:?}");
        report(input, rules, &tuples, run, args.updates)
    };
    let report = match (args.generate, &args.rules, &args.trace) {
        (Some(Kind::Acl), ..) => general(Family::Acl)?,
        (Some(Kind::Fw), ..) => general(Family::Fw)?,
        (Some(Kind::Ipc), ..) => general(Family::Ipc)?,
        (Some(Kind::K8sRules), ..) => general(Family::K8s)?,
        (Some(Kind::K8s), ..) => cluster::report(args, run)?,
        (None, Some(rules_file), Some(trace_file)) => match (rules(rules_file)?, trace(trace_file)?) {
            (Ok(rules), Ok(tuples)) => {
                let input = format!("{} with {}", rules_file.display(), trace_file.display());
                report(input, rules, &tuples, run, args.updates)?
            }
            (rules, tuples) => return Ok(refuse([rules.err(), tuples.err()])),
        },
        _ => bail!("give --rules and --trace, or --generate"),
    };
    args.output.print(&report, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn report(
    input: String,
    rules: RuleSet,
    tuples: &[Tuple],
    run: Duration,
    update_count: usize,
) -> anyhow::Result<Report> {
    if tuples.is_empty() {
        bail!("{input}: there are no packets to look up");
    }
    let environment = Environment::now();
    let mut builds = Vec::new();
    let mut build = || {
        let begin = Instant::now();
        let engine = General::new(&rules, Limits::default());
        builds.push(begin.elapsed());
        engine
    };
    for _ in 0..4 {
        build()?;
    }
    let general = build()?;
    builds.sort_unstable();
    let linear = LinearRules::new(rules.clone());
    check(&general, &linear, tuples)?;
    let mut engines = vec![Measured {
        updates: updates::measure(&rules, tuples, update_count)?,
        build_ms: builds.get(2).map_or(0.0, Duration::as_secs_f64) * 1e3,
        ..measured(&general, tuples, run)
    }];
    // For scale, and briefly: it takes as long as it takes.
    let few = tuples.get(..tuples.len().min(1024)).unwrap_or(tuples);
    engines.push(measured(&linear, few, run.min(FEW)));
    Ok(Report {
        environment,
        input,
        rules: rules.len(),
        packets: tuples.len(),
        checked: tuples.len(),
        engines,
    })
}

/// Compares every answer, one by one and in bursts.
pub(super) fn check(general: &General, linear: &LinearRules, tuples: &[Tuple]) -> anyhow::Result<()> {
    let mut batch = vec![None; tuples.len()];
    general.lookup_batch(tuples, &mut batch);
    for ((tuple, batched), number) in tuples.iter().zip(batch).zip(1_u64..) {
        let (expected, found) = (linear.lookup(tuple), general.lookup(tuple));
        if found != expected || batched != expected {
            bail!(
                "packet {number} of the trace: linear {expected:?}, general {found:?}, in bursts {batched:?}"
            );
        }
    }
    Ok(())
}

fn measured(engine: &dyn TupleClassifier, tuples: &[Tuple], run: Duration) -> Measured {
    let lookups = BURSTS.map(|burst| {
        let mut out = vec![None; burst];
        let millions_per_second = Rate::of(run, || {
            for tuples in tuples.chunks(burst) {
                if let ([tuple], [out]) = (tuples, &mut out[..]) {
                    *out = engine.lookup(tuple);
                } else {
                    engine.lookup_batch(tuples, &mut out);
                }
                std::hint::black_box(&mut out);
            }
            tuples.len()
        });
        AtBurst { burst, millions_per_second }
    });
    Measured {
        engine: engine.name().to_owned(),
        build_ms: 0.0,
        memory_bytes: engine.memory_bytes(),
        lookups: lookups.into(),
        updates: None,
    }
}

fn for_people(report: &Report) -> String {
    let header = ["ENGINE", "BUILD ms", "MiB", "BURST", "M/s", "LEAST", "MOST"];
    let rows = report.engines.iter().flat_map(|engine| {
        engine.lookups.iter().map(|at| {
            let Rate { median, least, most } = at.millions_per_second;
            // Sizes of tables are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let mebibytes = engine.memory_bytes as f64 / 1_048_576.0;
            [
                engine.engine.clone(),
                format!("{:.1}", engine.build_ms),
                format!("{mebibytes:.2}"),
                at.burst.to_string(),
                format!("{median:.2}"),
                format!("{least:.2}"),
                format!("{most:.2}"),
            ]
        })
    });
    let mut text = format!(
        "{}\n{}: {} rules, {} packets, {} answers equal to the linear walk\n\n{}\n",
        report.environment.line(),
        report.input,
        report.rules,
        report.packets,
        report.checked,
        table(header, rows)
    );
    for engine in &report.engines {
        if let Some(updates) = &engine.updates {
            text += &updates.for_people(&engine.engine);
        }
    }
    text
}
