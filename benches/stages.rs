//! The stages of the pipeline, each by itself: which of them a regression is in.
//!
//! Input: 64-byte UDP packets over IPv4 in batches of [`BATCH_FRAMES`], two pods here and one behind a VTEP, 100 policies
//! about them, an underlay of datagrams. Two kinds of packets: of 10,000 known flows, which take the short way (`look`,
//! `known`), and the first of each of 200,000 flows, which take all stages. Unit: packets. What a stage took is the
//! pipeline's own account (`telemetry::StageTimer`), read around each batch; the reading itself, some 25 ns a batch, is in
//! each figure. Look-ups apart from the pipeline: `conntrack`, `classifier`, `vxlan`.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::buffer::BATCH_FRAMES;
use dataplane::telemetry::Stage;
use harness::bench::traffic::Frames;
use harness::bench::{Direction, Node, Shape, Size, Underlay, open_flows};

/// Flows that are known.
const KNOWN: u32 = 10_000;
/// Flows that each send one packet; then the node is made anew.
const NEW: u32 = 200_000;

/// A node and the packets it gets.
struct Run {
    node: Node,
    frames: Frames,
    direction: Direction,
    known: bool,
    next: u32,
}

impl Run {
    fn new(direction: Direction, known: bool) -> Result<Self, String> {
        let shape = Shape::new(100, NEW as usize, Underlay::Datagram);
        let mut node = Node::new(&shape)?;
        node.time_every_batch();
        let mut frames = Frames::new(direction, Underlay::Datagram, Size::Fixed(64));
        if known {
            // A flow is known from its second packet on.
            open_flows(&mut node, &mut frames, direction, 0..KNOWN)?;
            open_flows(&mut node, &mut frames, direction, 0..KNOWN)?;
        }
        Ok(Self { node, frames, direction, known, next: 0 })
    }

    /// Passes a batch through; what `stage` took of it.
    fn pass(&mut self, stage: Stage) -> Result<Duration, String> {
        let flows = if self.known { KNOWN } else { NEW };
        if self.next + BATCH_FRAMES as u32 > flows {
            if !self.known {
                *self = Self::new(self.direction, false)?;
            }
            self.next = 0;
        }
        for flow in self.next..self.next + BATCH_FRAMES as u32 {
            let Some(mut frame) = self.node.pool.take() else { break };
            self.frames.write(&mut frame, flow);
            self.node.batch.push(frame);
        }
        self.next += BATCH_FRAMES as u32;
        let (_, before) = self.node.stages.of(stage);
        self.node.pass(self.direction);
        let (_, after) = self.node.stages.of(stage);
        self.node.take_back();
        Ok(Duration::from_nanos(after - before))
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("stages");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    for direction in Direction::ALL {
        for stage in Stage::ALL {
            let known = matches!(stage, Stage::Look | Stage::Known);
            // Nothing comes out of a tunnel there; and memory has no ports.
            let beyond = matches!(stage, Stage::Receive | Stage::Send);
            if beyond || stage == Stage::Decap && direction != Direction::Decap {
                continue;
            }
            let mut run = Run::new(direction, known).unwrap_or_else(|error| panic!("{error}"));
            group.bench_function(BenchmarkId::new(stage.name(), direction.name()), |bencher| {
                bencher.iter_custom(|iterations| {
                    let batches = (0..iterations).map(|_| run.pass(stage));
                    batches.sum::<Result<Duration, String>>().unwrap_or_else(|error| panic!("{error}"))
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
}
