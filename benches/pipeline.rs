//! The whole pipeline, on frames in memory: what a packet costs between two ports, without the ports.
//!
//! Input: UDP packets over IPv4, in batches of [`BATCH_FRAMES`], on 1 and on 10,000 connections that are open already;
//! two pods here and one behind a VTEP, 100 policies about them. Paths: pod to pod on this node, pod into the tunnel,
//! tunnel to pod, on an underlay of datagrams and on one of whole frames. Unit: frames. Frame sizes are those of the
//! pod's frame, with FCS. Left out: system calls and the copy into the frame (outside the measured time), connections
//! being opened, policy look-ups (a connection is judged once per generation; `classifier` measures that). The same
//! node, with more to choose from and its stages apart: `weir bench pipeline --stages`.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use dataplane::buffer::BATCH_FRAMES;
use harness::bench::traffic::Frames;
use harness::bench::{Direction, Node, Shape, Size, Underlay, open_flows};

/// Passes one batch through and returns how long the pipeline took.
fn pass(
    node: &mut Node,
    direction: Direction,
    frames: &mut Frames,
    flows: &mut impl Iterator<Item = u32>,
) -> Duration {
    for flow in flows.take(BATCH_FRAMES) {
        let Some(mut frame) = node.pool.take() else { break };
        frames.write(&mut frame, flow);
        node.batch.push(frame);
    }
    let start = Instant::now();
    node.pass(direction);
    let took = start.elapsed();
    node.take_back();
    took
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(BATCH_FRAMES as u64));
    for underlay in [Underlay::Datagram, Underlay::Frame] {
        for direction in Direction::ALL {
            for (len, flows) in [(64, 1), (64, 10_000), (1400, 1), (1400, 10_000)] {
                let shape = Shape::new(100, 10_000, underlay);
                let mut node = Node::new(&shape).unwrap_or_else(|error| panic!("{error}"));
                let mut frames = Frames::new(direction, underlay, Size::Fixed(len));
                open_flows(&mut node, &mut frames, direction, 0..flows)
                    .unwrap_or_else(|error| panic!("{error}"));
                let mut endless = (0..flows).cycle();
                let name = format!("{}, {underlay:?}, {len} B", direction.name());
                group.bench_function(BenchmarkId::new(name, flows), |bencher| {
                    bencher.iter_custom(|iterations| {
                        (0..iterations)
                            .map(|_| pass(&mut node, direction, &mut frames, &mut endless))
                            .sum::<Duration>()
                    });
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
}
