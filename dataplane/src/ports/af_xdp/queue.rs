//! One queue of the interface: its socket, its memory, and who holds which chunk.
//!
//! The chunks below `rx_chunks` are for receiving: each lies in the fill ring, is being filled, or waits in the rx ring,
//! and goes back into the fill ring as soon as its frame has been copied. The others are for sending: each is in `free`,
//! in the tx ring, being sent, or in the completion ring.

mod departure;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::super::Received;
use crate::buffer::{Batch, Frame, Pool};
use crate::sys::xdp::{Binding, Descriptor, Memory, Rings, Socket};

/// An Ethernet header; less is no frame.
const LEAST: usize = 14;
/// What the kernel keeps free in front of a frame it receives (`XDP_PACKET_HEADROOM`).
const KERNEL_HEADROOM: u32 = 256;
/// After so many frames the kernel is asked how many it lost, even if nothing speaks for it.
const ASK_AFTER: u32 = 4096;
/// Of calls that find nothing, one in so many asks whether the interface is still there: a worker that sleeps makes twenty
/// a second, one that spins a million.
const ASK_EVERY: u32 = 8;
/// Longest time the kernel takes to let go of a socket that was closed.
const CLOSING: Duration = Duration::from_secs(1);

/// How a queue's memory is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    /// Bytes of a chunk.
    pub(super) chunk: u32,
    /// Frames are longer than a chunk.
    pub(super) in_parts: bool,
}

impl Cut {
    /// For an interface of that MTU. What fits neither a page nor what drivers make of it comes in parts.
    pub(super) fn of(mtu: u32) -> Self {
        // The Ethernet header and a tag.
        let frame = mtu.saturating_add(18);
        if frame <= 2048 - KERNEL_HEADROOM {
            return Self { chunk: 2048, in_parts: false };
        }
        // A driver's page has the kernel's headroom in front and 320 bytes of its notes behind.
        Self { chunk: 4096, in_parts: frame > 4096 - KERNEL_HEADROOM - 320 }
    }
}

/// Binds the socket; whether the driver does without copies. For a moment after a socket was closed, also by a process that
/// was killed, the kernel still has it at the queue.
fn bind(socket: &Socket, to: Binding) -> io::Result<bool> {
    let begun = Instant::now();
    loop {
        match socket.bind(to) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && begun.elapsed() < CLOSING => {
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// A queue that is open.
pub(super) struct Queue {
    socket: Socket,
    memory: Memory,
    rings: Rings,
    rx_chunks: u32,
    /// Chunks to send from.
    free: Vec<u64>,
    /// What is in the tx ring: for the last part of each frame the received packets it stands for, nothing for the others.
    underway: VecDeque<Option<u32>>,
    /// A frame of which parts have come.
    begun: Option<Frame>,
    /// It is too large for a frame.
    spoilt: bool,
    in_parts: bool,
    zero_copy: bool,
    /// The interface was down when it was last sent through.
    down: bool,
    /// What the kernel says it lost, as it was last asked.
    lost: u64,
    since_asked: u32,
    /// How often nothing may come before the kernel is asked how things are.
    quiet: u32,
}

impl Queue {
    /// Opens a queue that receives into `rx` chunks and sends from `tx`: powers of two, or 0 for one that only receives.
    pub(super) fn open(to: Binding, cut: Cut, rx: u32, tx: u32) -> io::Result<Self> {
        let memory = Memory::new(cut.chunk, rx.saturating_add(tx))?;
        let socket = Socket::open()?;
        let mut rings = socket.set_up(&memory, rx, tx)?;
        let chunk = |number: u32| u64::from(number) * u64::from(cut.chunk);
        for number in 0..rx {
            rings.fill.push(chunk(number));
        }
        rings.fill.publish();
        let zero_copy = bind(&socket, to)?;
        Ok(Self {
            socket,
            memory,
            rings,
            rx_chunks: rx,
            free: (rx..rx.saturating_add(tx)).rev().map(chunk).collect(),
            underway: VecDeque::with_capacity(tx as usize),
            begun: None,
            spoilt: false,
            in_parts: to.in_parts,
            zero_copy,
            down: false,
            lost: 0,
            since_asked: 0,
            quiet: 0,
        })
    }

    /// The socket, for the program to redirect to.
    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The driver moves frames without a copy of the kernel's.
    pub(super) fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// On huge pages that had been set aside.
    pub(super) fn on_huge_pages(&self) -> bool {
        self.memory.is_huge()
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_fd().as_raw_fd()
    }

    /// Appends up to `limit` frames to `batch`.
    ///
    /// # Errors
    /// The interface was deleted.
    pub(super) fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let mut received = Received::default();
        let there = self.rings.rx.available();
        while self.rings.rx.known() > 0 {
            if received.frames + received.malformed >= limit {
                received.more = true;
                break;
            }
            let Some(mut frame) = self.begun.take().or_else(|| pool.take()) else {
                received.more = true;
                break;
            };
            let Some(descriptor) = self.rings.rx.pop() else {
                pool.give(frame);
                break;
            };
            self.spoilt |= !self.take_in(descriptor, &mut frame);
            if descriptor.continues() {
                self.begun = Some(frame);
            } else if std::mem::take(&mut self.spoilt) || frame.len() < LEAST {
                pool.give(frame);
                received.malformed += 1;
            } else {
                batch.push(frame);
                received.frames += 1;
            }
        }
        self.rings.fill.publish();
        let full = self.rings.rx.release();
        if self.rings.fill.wants_wakeup() {
            // What is wrong with the interface shows below; while it is down nothing comes.
            let _ = self.socket.receive();
        }
        if there > 0 {
            self.since_asked = self.since_asked.saturating_add(there);
            if full || self.since_asked >= ASK_AFTER {
                received.lost = self.ask_losses()?;
            }
        } else if self.quiet == 0 {
            self.quiet = ASK_EVERY;
            if let Some(error) = self.socket.take_error()? {
                return Err(error);
            }
            received.lost = self.ask_losses()?;
        } else {
            self.quiet -= 1;
        }
        Ok(received)
    }

    /// Copies one part to the end of `frame` and gives its chunk back; false where there is no room for it, or no sense in
    /// it.
    fn take_in(&mut self, part: Descriptor, frame: &mut Frame) -> bool {
        let chunk = part.addr & !(u64::from(self.memory.chunk()) - 1);
        if chunk < u64::from(self.memory.chunk()) * u64::from(self.rx_chunks) {
            self.rings.fill.push(chunk);
        }
        let before = frame.len();
        let Some(room) = frame.writable().get_mut(before..) else { return false };
        if !self.memory.copy_out(part.addr, part.len, room) {
            return false;
        }
        frame.set_len(before.saturating_add(part.len as usize));
        true
    }

    /// Frames the kernel lost of which no call has told yet; none where it does not say.
    pub(super) fn losses(&mut self) -> u64 {
        self.ask_losses().unwrap_or(0)
    }

    fn ask_losses(&mut self) -> io::Result<u64> {
        self.since_asked = 0;
        let lost = self.socket.statistics()?.lost;
        let new = lost.saturating_sub(self.lost);
        self.lost = lost;
        Ok(new)
    }
}
