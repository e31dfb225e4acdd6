//! Memory ports: a wire between two ends in one process, for tests, benches and labs without a kernel.
//!
//! ```text
//!   left ── frames ──► right        each direction: `capacity` places,
//!        ◄─ empties ──              every place holds a frame or an empty one in exchange
//! ```
//! A frame moves to the other end with its metadata; in exchange its sender gets an empty frame, and the
//! receiver puts one of its pool in its place. So either pool keeps its size, nothing is copied, and nothing
//! is allocated once the pair is made. Deterministic: what one end has sent, the other receives next.
//!
//! A full wire refuses frames, which the sender counts as congested; nothing is lost unseen on the way, so
//! [`Received::lost`] stays 0.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::{Capabilities, Gone, Port, Received, Sent};
use crate::buffer::{Batch, Frame, Pool};

/// One direction of the wire.
struct Lane {
    frames: ArrayQueue<Frame>,
    empties: ArrayQueue<Frame>,
}

impl Lane {
    fn new(capacity: usize) -> Arc<Self> {
        let lane = Self { frames: ArrayQueue::new(capacity), empties: ArrayQueue::new(capacity) };
        while lane.empties.push(Frame::new()).is_ok() {}
        Arc::new(lane)
    }
}

/// One end of the wire.
pub struct MemoryPort {
    out: Arc<Lane>,
    into: Arc<Lane>,
    capabilities: Capabilities,
    waker: Option<Box<dyn Fn() + Send>>,
}

/// A wire with room for `capacity` frames (1 at the least) each way, whose ends both take what
/// `capabilities` says.
pub fn pair(capacity: usize, capabilities: Capabilities) -> (MemoryPort, MemoryPort) {
    let (there, back) = (Lane::new(capacity.max(1)), Lane::new(capacity.max(1)));
    let end = |out: &Arc<Lane>, into: &Arc<Lane>| MemoryPort {
        out: Arc::clone(out),
        into: Arc::clone(into),
        capabilities,
        waker: None,
    };
    (end(&there, &back), end(&back, &there))
}

/// Wires for ports of `queues` queues (1 at the least) each: what one end's queue sends, the same queue of the other end
/// receives.
pub fn pair_of_queues(
    queues: usize,
    capacity: usize,
    capabilities: Capabilities,
) -> (Vec<MemoryPort>, Vec<MemoryPort>) {
    (0..queues.max(1)).map(|_| pair(capacity, capabilities)).unzip()
}

impl MemoryPort {
    /// Has `waker` called after each send of this end that put frames on the wire: to wake who owns the other.
    pub fn set_waker(&mut self, waker: Box<dyn Fn() + Send>) {
        self.waker = Some(waker);
    }

    /// Frames on the way to this end.
    pub fn pending(&self) -> usize {
        self.into.frames.len()
    }

    /// Frames that [`Port::send`] would take now.
    pub fn room(&self) -> usize {
        self.out.empties.len()
    }
}

impl Port for MemoryPort {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let mut received = Received::default();
        while received.frames < limit && !self.into.frames.is_empty() {
            let Some(empty) = pool.take() else { break };
            let Some(frame) = self.into.frames.pop() else {
                pool.give(empty);
                break;
            };
            // There is room: the frame just taken left a place without an empty.
            let _ = self.into.empties.push(empty);
            batch.push(frame);
            received.frames += 1;
        }
        received.more = !self.into.frames.is_empty();
        Ok(received)
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        let mut sent = Sent::default();
        for frame in batch.drain(..) {
            let Some(empty) = self.out.empties.pop() else {
                sent.congest([&frame]);
                pool.give(frame);
                continue;
            };
            pool.give(empty);
            match self.out.frames.push(frame) {
                Ok(()) => sent.frames += 1,
                // Cannot be: whoever holds an empty has a place. Counted all the same.
                Err(frame) => {
                    sent.congest([&frame]);
                    pool.give(frame);
                }
            }
        }
        if let (Some(waker), 1..) = (&self.waker, sent.frames) {
            waker();
        }
        Ok(sent)
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Checksum;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn batch_of(pool: &mut Pool, bytes: impl IntoIterator<Item = u8>) -> Batch {
        bytes
            .into_iter()
            .map(|byte| {
                let mut frame = pool.take().unwrap();
                frame.write(&[byte]);
                frame
            })
            .collect()
    }

    fn free(pool: &mut Pool) -> usize {
        let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let count = frames.len();
        pool.give_all(frames);
        count
    }

    #[test]
    fn frames_arrive_in_order_with_their_metadata_and_pools_keep_their_size() {
        let (mut left, mut right) = pair(8, Capabilities::default());
        let (mut here, mut there) = (Pool::new(8), Pool::new(8));
        for round in 0..10_u8 {
            let mut batch = batch_of(&mut here, [round, round + 1]);
            batch[1].checksum = Checksum::Partial { start: 14, offset: 6 };
            assert_eq!(left.send(&mut here, &mut batch).unwrap().frames, 2);
            assert!(batch.is_empty());
            assert_eq!(right.recv(&mut there, &mut batch, 64).unwrap().frames, 2);
            assert_eq!((batch[0].bytes(), batch[1].bytes()), (&[round][..], &[round + 1][..]));
            assert_eq!(batch[1].checksum, Checksum::Partial { start: 14, offset: 6 });
            there.give_all(batch.drain(..));
            assert_eq!((free(&mut here), free(&mut there)), (8, 8));
        }
    }

    #[test]
    fn a_full_wire_refuses_the_rest_and_gives_the_frames_back() {
        let (mut left, mut right) = pair(3, Capabilities::default());
        let mut pool = Pool::new(8);
        let mut batch = batch_of(&mut pool, 0..5);
        batch[4].packets = 1;
        assert_eq!(
            left.send(&mut pool, &mut batch).unwrap(),
            Sent { frames: 3, congested: 2, congested_packets: 1, ..Sent::default() }
        );
        assert_eq!(free(&mut pool), 8);
        assert_eq!(right.pending(), 3);
        assert_eq!(right.recv(&mut pool, &mut batch, 2).unwrap().frames, 2);
        assert_eq!(right.recv(&mut pool, &mut batch, 2).unwrap().frames, 1);
    }

    #[test]
    fn an_empty_pool_leaves_the_frames_on_the_wire() {
        let (mut left, mut right) = pair(4, Capabilities::default());
        let (mut here, mut there) = (Pool::new(4), Pool::new(1));
        let mut batch = batch_of(&mut here, 0..3);
        left.send(&mut here, &mut batch).unwrap();
        assert_eq!(right.recv(&mut there, &mut batch, 64).unwrap().frames, 1);
        assert_eq!(right.recv(&mut there, &mut batch, 64).unwrap().frames, 0);
        there.give_all(batch.drain(..));
        assert_eq!(right.recv(&mut there, &mut batch, 64).unwrap().frames, 1);
        assert_eq!(batch[0].bytes(), [1]);
    }

    #[test]
    fn the_waker_is_called_when_frames_went_out() {
        let (mut left, _right) = pair(4, Capabilities::default());
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&calls);
        left.set_waker(Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        let mut pool = Pool::new(4);
        left.send(&mut pool, &mut Batch::new()).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let mut batch = batch_of(&mut pool, [1]);
        left.send(&mut pool, &mut batch).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
