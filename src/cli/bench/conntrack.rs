//! `weir bench conntrack`: what the connection table does by itself, and the bytes it takes for it.
//!
//! Unit: one table operation, UDP over IPv4, tuples in an order that no prefetcher follows. Left out: policy, and
//! everything of a packet but its tuple. Each thread has connections of its own in the one table; their rates are
//! added. Before anything is timed, every known tuple is looked up and found by its name, and every strange one is
//! not.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use dataplane::conntrack::{ConnId, ConnTable, ConntrackConfig, Dir, Owner, Signal, Tuple, protocol};
use dataplane::time::Timestamp;
use serde::Serialize;

use super::rate::Rate;
use crate::cli::Outcome;
use crate::cli::output::{Output, table};
use harness::report::Environment;

/// Sizes that are measured where none is asked for.
const SIZES: [usize; 2] = [10_000, 1_000_000];
const MOST: usize = 1 << 24;
const BURST: usize = 32;
/// Entries that one call ends, as a worker's tick does.
const SWEEP: usize = 4096;
const OWNER: Owner = Owner(1);
const BYTES: u32 = 64;

/// Operations per second of the connection table, and its bytes per entry
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir bench conntrack
  weir bench conntrack --entries 1000000 --threads 2 -o json")]
pub(super) struct Args {
    /// Connections in the table; 10,000 and 1,000,000 unless given
    #[arg(long, value_name = "N")]
    entries: Option<usize>,
    /// Threads that use the table at once
    #[arg(long, value_name = "T", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Length of one run; there are five for each figure
    #[arg(long, value_name = "MS", default_value_t = 200)]
    milliseconds: u64,
    #[command(flatten)]
    output: Output,
}

/// One size of table.
#[derive(Debug, Serialize)]
struct Measured {
    entries: usize,
    capacity: usize,
    bytes: usize,
    bytes_per_entry: f64,
    /// How many look-ups were compared with what was put in, all of them right.
    checked: usize,
    operations: Vec<Operation>,
}

#[derive(Debug, Serialize)]
struct Operation {
    operation: &'static str,
    #[serde(flatten)]
    millions_per_second: Rate,
}

#[derive(Debug, Serialize)]
struct Report {
    environment: Environment,
    threads: u8,
    burst: usize,
    tables: Vec<Measured>,
}

pub(super) fn run(args: &Args) -> Outcome {
    let sizes = args.entries.map_or(SIZES.to_vec(), |entries| vec![entries]);
    let run = Duration::from_millis(args.milliseconds.max(1));
    let environment = Environment::now();
    let mut tables = Vec::new();
    for entries in sizes {
        if !(1..=MOST).contains(&entries) || entries < usize::from(args.threads) {
            bail!("--entries {entries}: expected 1 to {MOST}, and one for each thread at least");
        }
        tables.push(measure(entries, usize::from(args.threads), run)?);
    }
    let report = Report { environment, threads: args.threads, burst: BURST, tables };
    args.output.print(&report, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(entries: usize, threads: usize, run: Duration) -> anyhow::Result<Measured> {
    let capacity = entries.next_power_of_two();
    let config = ConntrackConfig { owner_quota: capacity, ..ConntrackConfig::with_max_entries(capacity) };
    let (known, strange) = (tuples(entries, 1), tuples(entries, 2));
    let share = entries.div_ceil(threads);
    let mut now = Timestamp::ZERO;

    // A table is filled and emptied a few times: the first time memory is made, and not counted.
    let connections = ConnTable::keyed_at_random(config);
    let (mut opening, mut ending) = (Vec::new(), Vec::new());
    for round in 0..6 {
        let opened =
            each(known.chunks(share), |tuples| once(tuples.len(), || fill(&connections, tuples, now)));
        now = now.plus(Duration::from_mins(1));
        let (count, begin) = (connections.len(), Instant::now());
        ensure!(count == entries, "{count} of {entries} connections opened");
        while connections.expire(now, SWEEP) > 0 {}
        ensure!(connections.is_empty(), "{} connections did not end", connections.len());
        if round > 0 {
            opening.push(opened);
            ending.push(millions(count, begin.elapsed()));
        }
    }

    fill(&connections, &known, now);
    let checked = check(&connections, &known, &strange)?;
    let bytes = connections.memory_bytes();
    let look_up = |tuples: &[Vec<Tuple>]| {
        let rates = tuples.iter().map(|tuples| {
            let connections = &connections;
            move || {
                let mut found = [None; BURST];
                Rate::of(run, || {
                    for burst in tuples.chunks(BURST) {
                        connections.lookup_batch(black_box(burst), &mut found);
                        black_box(&mut found);
                    }
                    tuples.len()
                })
            }
        });
        together(rates)
    };
    let split = |tuples: &[Tuple]| tuples.chunks(share).map(<[Tuple]>::to_vec).collect::<Vec<_>>();
    let hit = look_up(&split(&known));
    let miss = look_up(&split(&strange));
    let names: Vec<(ConnId, Dir)> = known.iter().filter_map(|tuple| connections.lookup(tuple)).collect();
    let update = together(names.chunks(share).map(|names| {
        let connections = &connections;
        move || {
            Rate::of(run, || {
                for (id, dir) in names {
                    let _ = black_box(connections.update(*id, *dir, Signal::Udp, BYTES, now));
                }
                names.len()
            })
        }
    }));

    // A full table of unanswered connections: each new one takes the place of the oldest.
    fill(&connections, &tuples(capacity, 3), now);
    ensure!(connections.len() == capacity, "the table is not full");
    let mut evicting = Vec::new();
    for round in 0..6_u8 {
        let strange = tuples(entries, 4 + round);
        evicting.push(each(strange.chunks(share), |tuples| {
            once(tuples.len(), || fill(&connections, tuples, now))
        }));
    }
    ensure!(connections.len() == capacity, "the table is not full any more");
    evicting.remove(0);

    let operations = [
        ("look up, found", hit),
        ("look up, not found", miss),
        ("update by name", update),
        ("open", spread(opening)),
        ("open in a full table", spread(evicting)),
        ("end by timeout", spread(ending)),
    ];
    let operations = operations
        .map(|(operation, millions_per_second)| Operation { operation, millions_per_second })
        .into();
    // Sizes of tables are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let bytes_per_entry = bytes as f64 / capacity as f64;
    Ok(Measured { entries, capacity, bytes, bytes_per_entry, checked, operations })
}

/// As many tuples as asked for; a set of its own for each `server`.
fn tuples(count: usize, server: u8) -> Vec<Tuple> {
    let mask = count.next_power_of_two() - 1;
    let destination = IpAddr::from(Ipv4Addr::new(10, 244, 1, server));
    // An odd stride goes over all of a power of two.
    let numbers = (0..=mask).map(|number| number.wrapping_mul(0x9e37_79b1) & mask).take(count);
    numbers
        .filter_map(|number| {
            let [.., a, b, c, d] = number.to_be_bytes();
            let source = Ipv4Addr::new(10, 245, a, b);
            let src_port = u16::from_be_bytes([c, d]);
            Tuple::new(source.into(), destination, protocol::UDP, src_port, 8080)
        })
        .collect()
}

fn fill(connections: &ConnTable, tuples: &[Tuple], now: Timestamp) {
    for tuple in tuples {
        let _ = black_box(connections.insert(*tuple, OWNER, Owner::NONE, 1, Signal::Udp, BYTES, now));
    }
}

fn check(connections: &ConnTable, known: &[Tuple], strange: &[Tuple]) -> anyhow::Result<usize> {
    let mut found = [None; BURST];
    for burst in known.chunks(BURST) {
        connections.lookup_batch(burst, &mut found);
        for (tuple, found) in burst.iter().zip(&found) {
            let (id, _) = found.with_context(|| format!("{tuple:?} is not found"))?;
            let conn = connections.get(id).with_context(|| format!("{tuple:?} has no entry"))?;
            ensure!(conn.original == *tuple, "{tuple:?} leads to {:?}", conn.original);
        }
    }
    for tuple in strange {
        ensure!(connections.lookup(tuple).is_none(), "{tuple:?} is found");
    }
    Ok(known.len() + strange.len())
}

/// Calls `work` for each part at once; the rates of all.
fn each<'a, T: Sync + 'a>(parts: impl Iterator<Item = &'a [T]>, work: impl Fn(&[T]) -> f64 + Sync) -> f64 {
    let parts: Vec<&[T]> = parts.collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts.iter().map(|part| scope.spawn(|| work(part))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(f64::NAN)).sum()
    })
}

/// Measures all at once; the sums of their rates.
fn together<F: FnOnce() -> Rate + Send>(measurements: impl Iterator<Item = F>) -> Rate {
    let measurements: Vec<F> = measurements.collect();
    let none = Rate { median: 0.0, least: 0.0, most: 0.0 };
    std::thread::scope(|scope| {
        let threads: Vec<_> = measurements.into_iter().map(|measure| scope.spawn(measure)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).fold(none, |sum, rate| Rate {
            median: sum.median + rate.median,
            least: sum.least + rate.least,
            most: sum.most + rate.most,
        })
    })
}

fn once(count: usize, work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    millions(count, begin.elapsed())
}

fn millions(count: usize, time: Duration) -> f64 {
    // Counts of a run are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    count / 1e6 / time.as_secs_f64()
}

/// Of a few runs.
fn spread(mut rates: Vec<f64>) -> Rate {
    rates.sort_by(f64::total_cmp);
    let at = |position: usize| rates.get(position).copied().unwrap_or(f64::NAN);
    Rate { median: at(rates.len() / 2), least: at(0), most: at(rates.len().saturating_sub(1)) }
}

fn for_people(report: &Report) -> String {
    let header = ["ENTRIES", "OPERATION", "M/s", "LEAST", "MOST"];
    let rows = report.tables.iter().flat_map(|measured| {
        measured.operations.iter().map(|operation| {
            let Rate { median, least, most } = operation.millions_per_second;
            [
                measured.entries.to_string(),
                operation.operation.to_owned(),
                format!("{median:.2}"),
                format!("{least:.2}"),
                format!("{most:.2}"),
            ]
        })
    });
    let sizes = report.tables.iter().map(|measured| {
        let Measured { entries, capacity, bytes_per_entry, checked, .. } = measured;
        format!(
            "{entries} connections in a table of {capacity}: {bytes_per_entry:.1} bytes for each entry it may hold, \
             {checked} look-ups right\n"
        )
    });
    format!(
        "{}\n{} threads, look-ups in bursts of {}\n{}\n{}\n",
        report.environment.line(),
        report.threads,
        report.burst,
        sizes.collect::<String>(),
        table(header, rows)
    )
}
