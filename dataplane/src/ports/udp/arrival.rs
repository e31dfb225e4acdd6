//! Arrival: trains taken apart.
//!
//! The kernel hands datagrams of equal length from one sender over as one (`UDP_GRO`): the sender offered them as one
//! (`UDP_SEGMENT`), or the network card received them in a row. Each becomes a frame of its own again, in order; the
//! first stays where the kernel wrote it, the others are copied. Where the pool runs dry the rest is lost and counted.
//!
//! Anybody can send a train, and it takes dozens of frames: one from a stranger is not taken apart but left out whole,
//! and each of its datagrams counted. So a stranger takes no frame from the nodes.

use crate::buffer::{Batch, Frame, Pool};
use crate::ports::{LeftOut, Peers};

/// Messages received at once while trains arrive. Each may stand for dozens of frames, and the pool is everybody's.
const TRAINS_AT_ONCE: usize = 16;

/// What is known of the messages received last.
#[derive(Default)]
pub(super) struct Unpacking {
    /// Of each message that was kept: the length of its datagrams, where it is several.
    segments: Vec<Option<usize>>,
    /// Whether there were trains among the last messages.
    trains: bool,
    whole: Batch,
    /// Who may send, once somebody has said so.
    peers: Option<Peers>,
}

impl Unpacking {
    /// How many messages to receive at once.
    pub(super) fn patience(&self) -> usize {
        if self.trains { TRAINS_AT_ONCE } else { usize::MAX }
    }

    pub(super) fn trust(&mut self, peers: &Peers) {
        self.peers = Some(Peers::clone(peers));
    }

    /// Remembers a message that is kept.
    pub(super) fn note(&mut self, segment: Option<usize>) {
        self.segments.push(segment);
    }

    /// Takes apart what stands in the batch from `start` on, which was noted in that order.
    pub(super) fn unpack(&mut self, start: usize, batch: &mut Batch, pool: &mut Pool) -> LeftOut {
        let mut left_out = LeftOut::default();
        let is_train =
            |(segment, frame): (&Option<usize>, &Frame)| segment.is_some_and(|segment| frame.len() > segment);
        let received = batch.get(start..).unwrap_or_default();
        if !received.is_empty() {
            self.trains = self.segments.iter().zip(received).any(is_train);
        }
        if self.trains && !received.is_empty() {
            self.whole.extend(batch.drain(start..));
            for (frame, segment) in self.whole.drain(..).zip(&self.segments) {
                match segment {
                    Some(segment) if frame.len() > *segment => {
                        let peer = frame.outer.map(|outer| outer.peer);
                        if self.peers.as_ref().is_some_and(|peers| !peer.is_some_and(|peer| peers(peer))) {
                            left_out.strangers += frame.len().div_ceil((*segment).max(1)) as u64;
                            pool.give(frame);
                        } else {
                            left_out.lost += take_apart(frame, *segment, batch, pool);
                        }
                    }
                    _ => batch.push(frame),
                }
            }
        }
        self.segments.clear();
        left_out
    }
}

/// Appends the datagrams of a train, each `segment` bytes but for the last; how many there were no frames for.
fn take_apart(mut train: Frame, segment: usize, batch: &mut Batch, pool: &mut Pool) -> u64 {
    let first = batch.len();
    batch.push(Frame::hollow());
    let mut lost = 0;
    for bytes in train.bytes().chunks(segment.max(1)).skip(1) {
        let Some(mut frame) = pool.take() else {
            lost += 1;
            continue;
        };
        frame.write(bytes);
        frame.outer = train.outer;
        batch.push(frame);
    }
    train.truncate(segment);
    if let Some(place) = batch.get_mut(first) {
        *place = train;
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Outer;
    use std::net::IpAddr;

    fn frame(bytes: &[u8]) -> Frame {
        let peer = IpAddr::from([192, 0, 2, 1]);
        let mut frame = Frame::from_bytes(bytes);
        frame.outer = Some(Outer { peer, local: peer, source_port: 50_000, tos: 3 });
        frame
    }

    fn texts(batch: &Batch) -> Vec<&[u8]> {
        batch.iter().map(Frame::bytes).collect()
    }

    #[test]
    fn trains_become_their_datagrams_in_order_among_single_ones() {
        let (mut unpacking, mut pool) = (Unpacking::default(), Pool::new(8));
        let mut batch = vec![frame(b"before"), frame(b"one"), frame(b"aabbc"), frame(b"two")];
        for segment in [None, Some(2), Some(9)] {
            unpacking.note(segment);
        }
        assert_eq!(unpacking.unpack(1, &mut batch, &mut pool), LeftOut::default());
        assert_eq!(texts(&batch), [&b"before"[..], b"one", b"aa", b"bb", b"c", b"two"]);
        assert!(batch.iter().all(|frame| frame.outer.is_some_and(|outer| outer.tos == 3)));
        assert_eq!(unpacking.patience(), TRAINS_AT_ONCE);
        let mut batch = vec![frame(b"x")];
        unpacking.note(None);
        unpacking.unpack(0, &mut batch, &mut pool);
        assert_eq!((texts(&batch), unpacking.patience()), (vec![&b"x"[..]], usize::MAX));
    }

    #[test]
    fn a_strangers_train_takes_no_frame_of_the_pool_and_each_of_its_datagrams_is_counted() {
        let (mut unpacking, mut pool) = (Unpacking::default(), Pool::new(2));
        let node = IpAddr::from([192, 0, 2, 1]);
        let peers: Peers = std::sync::Arc::new(move |peer| peer == node);
        unpacking.trust(&peers);
        let mut strange = frame(b"abcdefg");
        strange.outer = strange.outer.map(|outer| Outer { peer: [192, 0, 2, 66].into(), ..outer });
        let mut batch = vec![strange, frame(b"xyz")];
        unpacking.note(Some(2));
        unpacking.note(Some(1));
        assert_eq!(unpacking.unpack(0, &mut batch, &mut pool), LeftOut { lost: 0, strangers: 4 });
        assert_eq!(texts(&batch), [b"x", b"y", b"z"]);
    }

    #[test]
    fn what_the_pool_has_no_frames_for_is_lost_and_counted() {
        let (mut unpacking, mut pool) = (Unpacking::default(), Pool::new(2));
        let mut batch = vec![frame(b"abcdef")];
        unpacking.note(Some(1));
        assert_eq!(unpacking.unpack(0, &mut batch, &mut pool), LeftOut { lost: 3, strangers: 0 });
        assert_eq!(texts(&batch), [b"a", b"b", b"c"]);
    }
}
