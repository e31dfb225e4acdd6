//! Two interfaces with a device between them, as packet sockets.
//!
//! Both are listened at, so that the kernel neither answers nor forwards what comes. A super-packet that comes counts for
//! the segments it stands for, and what its sender left to the interface is finished here. What a socket or an interface
//! counted as dropped is booked under that name, what is missing without a word is lost.

use std::io;
use std::time::Duration;

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::offload::complete_checksum;
use dataplane::ports::Port;

use super::bed::Link;
use super::nic::Nic;
use crate::load::interface::{Listening, Statistics};
use crate::report::Book;

/// The two interfaces.
pub(super) struct Interfaces {
    sides: [Side; 2],
    drain: Duration,
    pool: Pool,
    batch: Batch,
}

struct Side {
    name: String,
    port: Listening,
    before: Option<Statistics>,
    taken: u64,
    refused: u64,
    lost: u64,
}

impl Interfaces {
    pub(super) fn new(ends: [(String, Listening); 2], drain: Duration) -> Self {
        let sides = ends.map(|(name, port)| Side { name, port, before: None, taken: 0, refused: 0, lost: 0 });
        Self { sides, drain, pool: Pool::new(2 * BATCH_FRAMES), batch: Batch::with_capacity(BATCH_FRAMES) }
    }
}

impl Link for Interfaces {
    fn begin(&mut self) {
        for side in &mut self.sides {
            (side.taken, side.refused, side.lost) = (0, 0, 0);
            side.before = Statistics::of(&side.name);
        }
    }

    fn carry(&mut self, cards: [&mut Nic; 2], _now: Duration) -> io::Result<usize> {
        let Self { sides, pool, batch, .. } = self;
        let mut moved = 0;
        for (side, card) in sides.iter_mut().zip(cards) {
            moved += side.receive(card, pool, batch)?;
            moved += side.send(card, pool, batch)?;
        }
        Ok(moved)
    }

    fn drain(&self) -> Duration {
        self.drain
    }

    fn rest(&self) {
        std::thread::yield_now();
    }

    fn book(&self, arrived: u64) -> Book {
        let sum = |of: fn(&Side) -> u64| self.sides.iter().map(of).fold(0_u64, u64::saturating_add);
        let since = |of: fn(Statistics) -> u64| {
            let counted = self
                .sides
                .iter()
                .filter_map(|side| Some(of(Statistics::of(&side.name)?.since(side.before?))));
            counted.fold(0_u64, u64::saturating_add)
        };
        let dropped = [
            ("rx_socket_full".to_owned(), sum(|side| side.lost)),
            ("tx_dropped".to_owned(), since(|counted| counted.tx_dropped)),
            ("rx_dropped".to_owned(), since(|counted| counted.rx_dropped)),
        ];
        Book::close(sum(|side| side.taken), arrived, sum(|side| side.refused), &dropped)
    }
}

impl Side {
    fn receive(&mut self, card: &mut Nic, pool: &mut Pool, batch: &mut Batch) -> io::Result<usize> {
        let received = self.port.recv(pool, batch, BATCH_FRAMES)?;
        self.lost = self.lost.saturating_add(received.lost);
        for mut frame in batch.drain(..) {
            let size = frame.gso.map(|gso| gso.size);
            // What cannot be completed fails the check of its receiver.
            let _ = complete_checksum(&mut frame);
            card.arrive(frame.bytes(), size);
            pool.give(frame);
        }
        Ok(received.frames)
    }

    fn send(&mut self, card: &mut Nic, pool: &mut Pool, batch: &mut Batch) -> io::Result<usize> {
        let mut moved = 0;
        for (frames, counts) in [(&mut card.others, false), (&mut card.segments, true)] {
            while !frames.is_empty() {
                for bytes in frames.drain(..frames.len().min(BATCH_FRAMES)) {
                    let mut frame = pool.take().unwrap_or_default();
                    frame.write(&bytes);
                    batch.push(frame);
                }
                let sent = self.port.send(pool, batch)?;
                moved += sent.frames;
                if counts {
                    let refused = sent.congested.saturating_add(sent.failed) as u64;
                    self.taken = self.taken.saturating_add(sent.frames as u64);
                    self.refused = self.refused.saturating_add(refused);
                }
            }
        }
        Ok(moved)
    }
}
