//! Timing: batches through the pipeline, each timed by itself.
//!
//! Quantity: packets per second of pipeline time, in millions; a run adds up the time of its batches and nothing
//! else. Beside it stands what a packet of the median batch took, which a descheduled thread does not disturb. Five
//! runs, median and extremes. A packet that is not forwarded where it should be makes the result invalid: an error.

// Packets of a run are far fewer than 2^53.
#![allow(clippy::cast_precision_loss)]

use std::ops::Range;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Frame};
use dataplane::drop_reason::DropReason;
use dataplane::telemetry::Stage;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::drops::{Kin, Refused, send};
use super::node::{Node, Shape};
use super::traffic::{Direction, Frames, Size};
use crate::generate::Rng;

/// Runs of one measurement.
const RUNS: usize = 5;

/// Connections that a run opens at the least.
const LEAST_OPENED: u64 = 10_000;

/// Millions of packets per second of several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    /// The middle one.
    pub median: f64,
    /// The slowest.
    pub least: f64,
    /// The fastest.
    pub most: f64,
}

impl Figure {
    fn of(mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        let at = |place: usize| rates.get(place).copied().unwrap_or_default();
        Self { median: at(rates.len() / 2), least: at(0), most: at(rates.len().saturating_sub(1)) }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    /// Millions of packets per second.
    pub millions_per_second: Figure,
    /// Nanoseconds a packet of the median batch.
    pub median_ns: f64,
    /// Nanoseconds a packet of the batch that 99 % are not slower than.
    pub p99_ns: f64,
    /// Nanoseconds a packet that writing its bytes into its buffer took, which is in none of the other figures.
    pub refill_ns: f64,
    /// What each stage took, of one batch in 64.
    pub stages: Vec<StageTime>,
}

/// What a stage took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// Its name.
    pub stage: &'static str,
    /// Packets that went through it while it was timed.
    pub packets: u64,
    /// Nanoseconds for each of them.
    pub ns: f64,
}

fn stages(node: &Node) -> Vec<StageTime> {
    let taken = Stage::ALL.into_iter().map(|stage| (stage, node.stages.of(stage)));
    let taken = taken.filter(|(_, (packets, _))| *packets > 0);
    taken
        .map(|(stage, (packets, ns))| StageTime {
            stage: stage.name(),
            packets,
            ns: ns as f64 / packets as f64,
        })
        .collect()
}

/// Batches and their time.
struct Lap {
    batches: Histogram<u64>,
    packets: u64,
    refill: Duration,
    took: Duration,
}

impl Lap {
    fn new() -> Result<Self, String> {
        let batches = Histogram::new_with_max(1_000_000_000, 3).map_err(|error| error.to_string())?;
        Ok(Self { batches, packets: 0, refill: Duration::ZERO, took: Duration::ZERO })
    }

    /// Writes a batch and passes it through.
    fn batch(&mut self, node: &mut Node, direction: Direction, write: impl FnOnce(&mut Node)) {
        let begin = Instant::now();
        write(node);
        let count = node.batch.len() as u64;
        let ready = Instant::now();
        node.pass(direction);
        let took = ready.elapsed();
        node.take_back();
        self.packets += count;
        self.took += took;
        self.refill += ready.duration_since(begin);
        // A thousandth of a nanosecond a packet is fine enough.
        let each = took.as_nanos() as u64 * 1000 / count.max(1);
        self.batches.saturating_record(each);
    }

    fn rate(&self) -> f64 {
        self.packets as f64 / self.took.as_secs_f64() / 1e6
    }
}

/// The figures of the same runs on several threads.
fn summed(threads: &[Vec<Lap>], stages: Vec<StageTime>) -> Result<Measured, String> {
    let mut all = Lap::new()?;
    for lap in threads.iter().flatten() {
        all.batches.add(&lap.batches).map_err(|error| error.to_string())?;
        all.packets += lap.packets;
        all.refill += lap.refill;
    }
    let runs = threads.iter().map(Vec::len).min().unwrap_or_default();
    let of_run = |run: usize| threads.iter().filter_map(|laps| laps.get(run)).map(Lap::rate).sum();
    let rates = (0..runs).map(of_run).collect();
    Ok(Measured {
        millions_per_second: Figure::of(rates),
        median_ns: all.batches.value_at_quantile(0.5) as f64 / 1e3,
        p99_ns: all.batches.value_at_quantile(0.99) as f64 / 1e3,
        refill_ns: all.refill.as_nanos() as f64 / all.packets.max(1) as f64,
        stages,
    })
}

fn fill(node: &mut Node, frames: &mut Frames, flows: impl Iterator<Item = u32>) {
    for flow in flows.take(BATCH_FRAMES) {
        if !node.put(|frame| frames.write(frame, flow)) {
            break;
        }
    }
}

/// Opens `flows` connections and shows that all of them pass.
///
/// # Errors
/// One did not: under which reasons.
pub fn open_flows(
    node: &mut Node,
    frames: &mut Frames,
    direction: Direction,
    flows: Range<u32>,
) -> Result<(), String> {
    let mut numbers = flows;
    while !numbers.is_empty() {
        fill(node, frames, numbers.by_ref());
        node.pass(direction);
        node.take_back();
    }
    passed(node)
}

/// Everything taken in was forwarded.
fn passed(node: &Node) -> Result<(), String> {
    let (received, forwarded) = (node.counters.received.get(), node.counters.forwarded.get());
    if received == forwarded {
        return Ok(());
    }
    Err(format!("{} of {received} packets were not forwarded: {}", received - forwarded, node.drops()))
}

/// The numbers of `flows` in an order without a pattern, so that no prefetcher knows the next.
fn shuffled(flows: Range<u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = flows.collect();
    let mut rng = Rng::new(1);
    for place in (1..numbers.len()).rev() {
        numbers.swap(place, rng.below(place + 1));
    }
    numbers
}

/// Passes packets of `flows` open connections for five times `run`, on each of `threads` threads and flows of its
/// own on one connection table; their rates are added up, run by run.
///
/// # Errors
/// A packet was not forwarded.
pub fn timed(
    shape: &Shape,
    direction: Direction,
    size: Size,
    flows: u32,
    threads: u32,
    run: Duration,
) -> Result<Measured, String> {
    let threads = threads.max(1);
    let begin = Barrier::new(threads as usize);
    let connections = shape.connections.saturating_mul(threads as usize);
    let shape = &Shape { connections, ..*shape };
    let table = shape.table();
    let of_threads: Vec<Result<Prepared, String>> = std::thread::scope(|scope| {
        let one = |thread: u32| {
            let node = Node::sharing(shape, &table)?;
            // Each has flows of its own.
            let flows = thread * flows..(thread + 1) * flows;
            laps(node, direction, size, flows, run, &begin)
        };
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        let joined = running.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|lap| lap.unwrap_or_else(|_| Err("a thread panicked".to_owned()))).collect()
    });
    let (laps, nodes): (Vec<_>, Vec<_>) =
        of_threads.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    summed(&laps, nodes.into_iter().next().unwrap_or_default())
}

/// Laps of a thread, and what its stages took.
type Prepared = (Vec<Lap>, Vec<StageTime>);

fn laps(
    mut node: Node,
    direction: Direction,
    size: Size,
    flows: Range<u32>,
    run: Duration,
    begin: &Barrier,
) -> Result<Prepared, String> {
    let mut frames = Frames::new(direction, node.underlay, size);
    // Twice: a flow is known from its second packet on.
    let opened = open_flows(&mut node, &mut frames, direction, flows.clone())
        .and_then(|()| open_flows(&mut node, &mut frames, direction, flows.clone()));
    // Those who wait are let go whether or not this one is ready.
    begin.wait();
    opened?;
    let order = shuffled(flows);
    let mut numbers = order.iter().copied().cycle();
    let laps = runs(run, |lap| {
        lap.batch(&mut node, direction, |node| fill(node, &mut frames, numbers.by_ref()));
    })?;
    passed(&node)?;
    Ok((laps, stages(&node)))
}

/// Opens `flows` new connections, each with one packet, in five fresh tables. Few flows are opened again once their
/// connections have ended, until 10,000 were: one batch alone would time cold caches.
///
/// # Errors
/// A packet was not forwarded.
pub fn new_connections(shape: &Shape, direction: Direction, flows: u32) -> Result<Measured, String> {
    let order = shuffled(0..flows);
    let mut times = Vec::new();
    let mut laps = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let mut node = Node::new(shape)?;
        let mut frames = Frames::new(direction, shape.underlay, Size::Fixed(64));
        let mut lap = Lap::new()?;
        loop {
            let mut numbers = order.iter().copied().peekable();
            while numbers.peek().is_some() {
                lap.batch(&mut node, direction, |node| fill(node, &mut frames, numbers.by_ref()));
            }
            if lap.packets >= LEAST_OPENED || order.is_empty() {
                break;
            }
            node.outlive_connections()?;
        }
        passed(&node)?;
        times = stages(&node);
        laps.push(lap);
    }
    summed(&[laps], times)
}

/// Passes packets of a kind that takes the long way.
///
/// # Errors
/// One was not forwarded.
pub fn kin(shape: &Shape, kin: &Kin, run: Duration) -> Result<Measured, String> {
    let mut node = Node::new(shape)?;
    send(&mut node, Direction::Encap, &kin.opening)?;
    let outer = (kin.direction == Direction::Decap).then(Node::outer);
    let mut frames = kin.frames.iter().cycle();
    let laps = runs(run, |lap| {
        lap.batch(&mut node, kin.direction, |node| {
            repeat(node, |frame| {
                frames.next().into_iter().for_each(|bytes| frame.write(bytes));
                frame.outer = outer;
            });
        });
    })?;
    passed(&node)?;
    summed(&[laps], stages(&node))
}

/// A full batch.
fn repeat(node: &mut Node, mut write: impl FnMut(&mut Frame)) {
    for _ in 0..BATCH_FRAMES {
        if !node.put(&mut write) {
            break;
        }
    }
}

/// Runs of that length each, but for one ahead of them that fills caches.
fn runs(run: Duration, mut batch: impl FnMut(&mut Lap)) -> Result<Vec<Lap>, String> {
    let mut laps = Vec::with_capacity(RUNS);
    for _ in 0..=RUNS {
        let mut lap = Lap::new()?;
        while lap.took < run {
            batch(&mut lap);
        }
        laps.push(lap);
    }
    laps.remove(0);
    Ok(laps)
}

/// Passes packets that end under one reason.
///
/// # Errors
/// One of them ended otherwise.
pub fn refused(shape: &Shape, refused: &Refused, run: Duration) -> Result<Measured, String> {
    let reason: DropReason = refused.reason;
    let mut node = Node::new(&Shape { underlay: refused.underlay, lack: refused.lack, ..*shape })?;
    let mut source = refused.source();
    refused.prepare(&mut node)?;
    let before = (node.counters.received.get(), node.counters.dropped(reason));
    let laps = runs(run, |lap| {
        lap.batch(&mut node, refused.direction, |node| repeat(node, |frame| source.write(frame)));
    })?;
    let after = (node.counters.received.get(), node.counters.dropped(reason));
    if after.0 - before.0 != after.1 - before.1 {
        return Err(format!("packets for {reason} ended otherwise: {}", node.drops()));
    }
    summed(&[laps], stages(&node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Underlay, drops};

    #[test]
    fn what_drops_are_set_against_passes() {
        let shape = Shape::new(2, 1, Underlay::Datagram);
        for passing in drops::kin() {
            let measured = kin(&shape, &passing, Duration::from_micros(100)).unwrap();
            assert!(measured.millions_per_second.least > 0.0, "{measured:?}");
        }
    }

    #[test]
    fn few_new_connections_are_opened_again_and_again() {
        let shape = Shape::new(2, 1, Underlay::Datagram);
        for direction in Direction::ALL {
            let measured = new_connections(&shape, direction, 1).unwrap();
            assert!(measured.millions_per_second.least > 0.0, "{measured:?}");
            let opened = measured.stages.iter().find(|time| time.stage == Stage::Policy.name());
            assert!(opened.is_some_and(|time| time.packets > 100), "each is judged: {measured:?}");
        }
    }
}
