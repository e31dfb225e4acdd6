//! One end of a memory wire, as a lab's host uses it: frames are copied in and out, and one that finds the wire
//! full waits here instead of being lost.
//!
//! For smoltcp it is a device. A frame that smoltcp knows nothing to do with (SCTP, fragments) is set aside
//! for whoever speaks that by hand; see [`super::raw`].

use std::collections::VecDeque;
use std::io;

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::ports::Port;
use dataplane::ports::memory::MemoryPort;
use smoltcp::phy::{Device, DeviceCapabilities};
use smoltcp::time::Instant;

use super::raw;
use crate::card::{self, Incoming, Outgoing};

/// Frames that wait for room on the wire before smoltcp is held back.
const WAITING: usize = 64;

/// One end of a wire.
pub(super) struct Wire {
    port: MemoryPort,
    pool: Pool,
    batch: Batch,
    out: VecDeque<Vec<u8>>,
    into: VecDeque<Vec<u8>>,
    by_hand: Vec<Vec<u8>>,
    mtu: usize,
}

impl Wire {
    /// The end of a wire that takes IP packets of `mtu` bytes.
    pub(super) fn new(port: MemoryPort, mtu: u16) -> Self {
        Self {
            port,
            pool: Pool::new(BATCH_FRAMES),
            batch: Batch::new(),
            out: VecDeque::new(),
            into: VecDeque::new(),
            by_hand: Vec::new(),
            mtu: usize::from(mtu),
        }
    }

    /// Takes what has come over the wire. Returns how many frames.
    pub(super) fn receive(&mut self) -> io::Result<usize> {
        let count = self.port.recv(&mut self.pool, &mut self.batch, BATCH_FRAMES)?.frames;
        self.into.extend(self.batch.iter().map(|frame| frame.bytes().to_vec()));
        self.pool.give_all(self.batch.drain(..));
        Ok(count)
    }

    /// The next frame received.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.into.pop_front()
    }

    /// Sends a frame once there is room.
    pub(super) fn send(&mut self, frame: Vec<u8>) {
        self.out.push_back(frame);
    }

    /// Puts frames on the wire while there is room. Returns how many.
    pub(super) fn flush(&mut self) -> io::Result<usize> {
        let mut total = 0;
        while !self.out.is_empty() && self.port.room() > 0 {
            let Some(mut frame) = self.pool.take() else { break };
            if let Some(bytes) = self.out.pop_front() {
                frame.write(&bytes);
            }
            self.batch.push(frame);
            total += self.port.send(&mut self.pool, &mut self.batch)?.frames;
        }
        Ok(total)
    }

    /// The frames set aside so far.
    pub(super) fn take_by_hand(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.by_hand)
    }
}

impl Device for Wire {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a, VecDeque<Vec<u8>>>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_, VecDeque<Vec<u8>>>)> {
        loop {
            let frame = self.into.pop_front()?;
            if raw::is_by_hand(&frame) {
                self.by_hand.push(frame);
            } else {
                return Some((Incoming(frame), Outgoing(&mut self.out)));
            }
        }
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_, VecDeque<Vec<u8>>>> {
        (self.out.len() < WAITING).then_some(Outgoing(&mut self.out))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        card::capabilities(self.mtu)
    }
}
