//! `weir bench classifier --sweep`: every engine against the number of rules, as a table, a dated file and a chart.
//!
//! ```text
//!  generated sets, 10 to 100,000 rules ─► engines, answers compared ─► Record ─┬─► classifier-DATE.json
//!                                                       --redraw FILE ─► Record ┴─► classifier-DATE.svg
//! ```
//! Unit: packets looked up by one thread in bursts of 32, keys at hand; for a cluster one packet is judged at both of its
//! ends. Each figure is the median of five runs with the least and the most, once for packets that choose rules evenly
//! and once by Zipf's law. `linear` is the oracle, here for scale, up to 10,000 rules.

mod chart;
mod policy;
mod record;
mod sets;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::to_value;

use crate::cli::Outcome;
use crate::cli::output::{Output, Progress, table};
use harness::report::Environment;
use record::{Point, Record, Series, today};

/// Rules of a set, from few to many.
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Rules that the linear walk is still asked about.
const LINEAR_RULES: usize = 10_000;
const BURST: usize = 32;
/// Packets that are looked up again and again: with more, their fetching is measured.
const PACKETS: usize = 16_384;
/// Packets for the linear walk, and answers that are compared with its own.
const FEW: usize = 1024;

/// What each measurement shares.
#[derive(Debug, Clone, Copy)]
struct Effort {
    run: Duration,
    seed: u64,
}

/// Measures, and writes both files into the directory.
pub(super) fn run(out: &Path, milliseconds: u64, seed: u64, output: &Output) -> Outcome {
    let effort = Effort { run: Duration::from_millis(milliseconds.max(1)), seed };
    let environment = to_value(Environment::now())?;
    let mut progress = Progress::new("measuring");
    let all = SIZES.len() * (sets::FAMILIES.len() + 1);
    let mut series: Vec<Series> = Vec::new();
    for (number, size) in (0..).zip(SIZES) {
        for (family, place) in sets::FAMILIES.into_iter().zip(1_usize..) {
            add(&mut series, sets::points(family, size, effort)?);
            progress.at(number * (sets::FAMILIES.len() + 1) + place, all);
        }
        add(&mut series, policy::points(size, effort)?);
        progress.at((number + 1) * (sets::FAMILIES.len() + 1), all);
    }
    let record = Record {
        date: today(),
        environment,
        seed,
        run_milliseconds: milliseconds.max(1),
        runs: super::rate::RUNS,
        burst: BURST,
        packets: PACKETS,
        series,
    };
    std::fs::create_dir_all(out).with_context(|| format!("{} cannot be made", out.display()))?;
    let file = out.join(format!("classifier-{}.json", record.date));
    write(&file, &(serde_json::to_string_pretty(&record)? + "\n"))?;
    write(&file.with_extension("svg"), &chart::svg(&record))?;
    output.print(&record, for_people)?;
    Ok(ExitCode::SUCCESS)
}

/// Draws a record again, beside it.
pub(super) fn redraw(file: &Path) -> Outcome {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let record: Record = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a file of a sweep (classifier-DATE.json)", file.display()))?;
    write(&file.with_extension("svg"), &chart::svg(&record))?;
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

/// Adds points to the series they belong to.
fn add(series: &mut Vec<Series>, points: Vec<(&'static str, &'static str, Point)>) {
    for (engine, set, point) in points {
        match series.iter_mut().find(|series| series.engine == engine && series.set == set) {
            Some(series) => series.points.push(point),
            None => {
                series.push(Series { engine: engine.to_owned(), set: set.to_owned(), points: vec![point] });
            }
        }
    }
}

fn for_people(record: &Record) -> String {
    let header =
        ["ENGINE", "SET", "RULES", "BUILD ms", "MiB", "M/s", "LEAST", "MOST", "ZIPF M/s", "ZIPF/EVEN"];
    let rows = record.series.iter().flat_map(|series| {
        series.points.iter().map(|point| {
            // Sizes of tables are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let mebibytes = point.memory_bytes as f64 / 1_048_576.0;
            let rate = |rate: f64| if rate < 1.0 { format!("{rate:.4}") } else { format!("{rate:.2}") };
            [
                series.engine.clone(),
                series.set.clone(),
                point.rules.to_string(),
                format!("{:.1}", point.build_ms),
                format!("{mebibytes:.2}"),
                rate(point.uniform.median),
                rate(point.uniform.least),
                rate(point.uniform.most),
                rate(point.zipf.median),
                format!("{:.2}", point.zipf.median / point.uniform.median),
            ]
        })
    });
    format!(
        "{}\nseed {}, {}\n\n{}\n",
        record.environment_line(),
        record.seed,
        record.date,
        table(header, rows)
    )
}
