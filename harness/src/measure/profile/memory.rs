//! A testbed in memory: weir's whole pipeline behind a queue of bounded length, on a clock of its own.
//!
//! ```text
//!  Generator ─► queue of 1,024 ─► batch ─► Pipeline::process ─► Tally
//!   frame n at n / rate    └─ full: dropped     └─ the clock goes on by what this took
//! ```
//! The clock stands still but while the pipeline works (and jumps to the next frame where there is none): generator and
//! counter take nothing from the device though they run on the same processor, and frames arrive while a batch is
//! under way as they would from a wire. So the knee is the pipeline's own: where batches take longer than their frames
//! took to arrive, the queue fills and drops. Time in which the scheduler ran something else does not count and is
//! stated; what a hypervisor took is not known and shows as loss.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::drop_reason::DropReason;
use dataplane::ports::memory::{MemoryPort, pair};
use dataplane::ports::{Capabilities, Port};
use dataplane::time::Timestamp;
use ipnet::IpNet;

use super::waits::Waits;
use super::{MARGIN, Order, Taken, Testbed};
use crate::bench::{self, Direction, Node, Underlay};
use crate::load::{Ends, Generator, Rate, Shape, Tally};

/// Frames that the queue holds: descriptors of a common NIC's ring.
const QUEUE: usize = 1024;
/// How much faster than any load a burst comes.
const BURST: f64 = 2.0;
/// What fits the tunnel, with FCS.
const LARGEST: usize = 1468;
/// Connections that the table holds without an eviction.
const CONNECTIONS: usize = 262_144;

/// The pipeline as a device.
pub struct MemoryBed {
    node: Node,
    direction: Direction,
    policies: usize,
    near: MemoryPort,
    far: MemoryPort,
    pool: Pool,
    batch: Batch,
    shape: Shape,
    /// The device's time, in nanoseconds.
    now: u64,
    waits: Waits,
    trial: u32,
}

impl MemoryBed {
    /// A node with so many policies, of which one way is tried, with so many flows.
    ///
    /// # Errors
    /// The node cannot be made: a bug, in words.
    pub fn new(direction: Direction, policies: usize, flows: u32, seed: u64) -> Result<Self, String> {
        let shape = bench::Shape::new(policies, CONNECTIONS, Underlay::Frame);
        let (near, far) = pair(QUEUE, Capabilities::default());
        let (src_mac, dst_mac, src, dst) = direction.ends();
        let ends = Ends { src_mac, dst_mac, src: IpNet::from(std::net::IpAddr::from(src)), dst: dst.into() };
        Ok(Self {
            node: Node::new(&shape)?,
            direction,
            policies,
            near,
            far,
            pool: Pool::new(2 * BATCH_FRAMES),
            batch: Batch::with_capacity(BATCH_FRAMES),
            shape: Shape { flows, seed, tunnel: direction.tunnel(), ..Shape::between(ends) },
            now: 0,
            waits: Waits::new(),
            trial: 0,
        })
    }

    /// Puts what is made into the queue; how many found no place.
    fn arrive(&mut self) -> io::Result<u64> {
        if self.batch.is_empty() {
            return Ok(0);
        }
        Ok(self.near.send(&mut self.pool, &mut self.batch)?.congested as u64)
    }

    /// Frames of a share, 0 to 1, are to be denied.
    #[must_use]
    pub fn with_denied(mut self, share: f64) -> Self {
        self.shape.denied = share;
        self
    }

    /// Packets that the policies have denied so far.
    fn denied(&self) -> u64 {
        self.node.counters.dropped(DropReason::PolicyDeny)
    }

    fn drops(&self) -> Vec<(String, u64)> {
        let counted = DropReason::ALL.iter();
        counted.map(|reason| (reason.name().to_owned(), self.node.counters.dropped(*reason))).collect()
    }
}

impl Testbed for MemoryBed {
    fn name(&self) -> String {
        format!("weir's pipeline in memory, {}", self.direction.name())
    }

    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn largest(&self) -> usize {
        LARGEST
    }

    fn highest(&self, flood: &Taken) -> f64 {
        flood.rate() * MARGIN
    }

    fn burst_rate(&self, most: f64) -> Rate {
        Rate::PerSecond(most * BURST)
    }

    fn notes(&self) -> Vec<String> {
        vec![
            format!(
                "In memory: one core's pipeline with {} policies behind a queue of {QUEUE} frames. No ports, no system \
                 calls; time counts only while the pipeline works. Not to be compared with figures of real interfaces.",
                self.policies
            ),
            format!(
                "{:.0} ms in which the scheduler ran something else in the middle of a batch are left out.",
                self.waits.total.as_secs_f64() * 1e3
            ),
        ]
    }

    fn run(&mut self, order: &Order<'_>) -> io::Result<Taken> {
        self.trial = self.trial.wrapping_add(1);
        let mut generator = Generator::new(order.shape, self.trial).map_err(io::Error::other)?;
        let mut tally = Tally::new(generator.mark());
        let before = self.drops();
        let denied_before = self.denied();
        let (begin, mut made, mut refused) = (self.now, 0_u64, 0_u64);
        let length = u64::try_from(order.duration.as_nanos()).unwrap_or(u64::MAX);
        let frames = match order.rate {
            Rate::PerSecond(rate) => order.frames.min((rate * order.duration.as_secs_f64()).floor() as u64),
            Rate::Max => order.frames,
        };
        // When frame `n` arrives, since the beginning.
        let due = |number: u64| match order.rate {
            Rate::PerSecond(rate) => (number as f64 * 1e9 / rate) as u64,
            Rate::Max => 0,
        };
        let mut last = Instant::now();
        loop {
            if order.stop.load(Ordering::Relaxed) {
                // What is in the queue belongs to no trial.
                while self.far.recv(&mut self.node.pool, &mut self.node.batch, BATCH_FRAMES)?.frames > 0 {
                    self.node.pool.give_all(self.node.batch.drain(..));
                }
                return Err(io::ErrorKind::Interrupted.into());
            }
            let elapsed = self.now.saturating_sub(begin);
            // A flood is held back by the queue and drops nothing there; else what is due arrives.
            let room = if order.rate == Rate::Max {
                if elapsed < length { self.near.room() } else { 0 }
            } else {
                usize::MAX
            };
            let mut arrived = 0;
            while made < frames && arrived < room && due(made) <= elapsed {
                let mut frame = self.pool.take().unwrap_or_default();
                let at = if order.rate == Rate::Max { elapsed } else { due(made) };
                generator.write(&mut frame, at);
                self.batch.push(frame);
                made = made.saturating_add(1);
                arrived = arrived.saturating_add(1);
                if self.batch.len() >= BATCH_FRAMES {
                    refused = refused.saturating_add(self.arrive()?);
                }
            }
            refused = refused.saturating_add(self.arrive()?);
            if self.far.pending() == 0 {
                if made >= frames || (order.rate == Rate::Max && elapsed >= length) {
                    break;
                }
                self.now = begin.saturating_add(due(made)).max(self.now);
                continue;
            }
            self.far.recv(&mut self.node.pool, &mut self.node.batch, BATCH_FRAMES)?;
            let start = Instant::now();
            self.waits.skip(start.duration_since(last));
            self.node.pass(self.direction);
            last = Instant::now();
            let took = last.duration_since(start);
            let worked = took.saturating_sub(self.waits.within(took));
            self.now = self.now.saturating_add(u64::try_from(worked.as_nanos()).unwrap_or(u64::MAX));
            let at = self.now.saturating_sub(begin);
            self.node.hand_over(Timestamp::from_nanos(self.now), |frame| tally.take(frame.bytes(), at));
        }
        let counted = self.drops().into_iter().zip(before);
        let mut dropped = vec![("queue_full".to_owned(), refused)];
        dropped.extend(counted.map(|((name, now), (_, before))| (name, now.saturating_sub(before))));
        dropped.retain(|(_, count)| *count > 0);
        let seconds = match order.rate {
            Rate::PerSecond(rate) => frames as f64 / rate,
            Rate::Max => Duration::from_nanos(self.now.saturating_sub(begin)).as_secs_f64(),
        };
        let (allowed, denied) = (tally.allowed(), tally.denied());
        Ok(Taken {
            offered: made,
            refused: 0,
            received: tally.received(),
            duplicated: allowed.duplicated.saturating_add(denied.duplicated),
            reordered: allowed.reordered.saturating_add(denied.reordered),
            // No more than were meant to be: others are lost, whatever denied them.
            denied: self
                .denied()
                .saturating_sub(denied_before)
                .min(generator.written().denied.saturating_sub(denied.received)),
            leaked: denied.received,
            dropped,
            seconds,
            latency: tally.latency().clone(),
        })
    }
}
