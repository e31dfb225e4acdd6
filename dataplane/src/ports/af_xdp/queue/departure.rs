//! Sending: from frames to the tx ring, and chunks back from the completion ring.
//!
//! In copy mode the kernel sends from within the call that tells it of the ring, some 32 frames at a time; without copies
//! the driver sends when it likes. Either way a frame counts as sent once it is in the ring, and is taken back from that
//! count when the kernel says that it was dropped, or that the interface is down.

use std::io;

use super::super::super::Sent;
use super::{LEAST, Queue};
use crate::buffer::Frame;
use crate::sys::xdp::Descriptor;

/// Most parts of a frame that is too large for a chunk; the kernel takes up to 17.
const MOST_PARTS: usize = 16;

impl Queue {
    /// Sends `frames` in order, none longer than `longest`.
    ///
    /// # Errors
    /// The interface is gone; all frames are accounted for in `sent` all the same.
    pub(in super::super) fn send(
        &mut self,
        frames: &[Frame],
        longest: usize,
        sent: &mut Sent,
    ) -> io::Result<()> {
        if self.down && !self.is_up_again()? {
            sent.fail(frames);
            return Ok(());
        }
        for frame in frames {
            let parts = self.parts(frame, longest);
            if parts == 0 || self.down {
                sent.fail([frame]);
            } else if self.has_free(parts, sent)? {
                self.put(frame);
                sent.frames += 1;
            } else {
                sent.congest([frame]);
            }
        }
        self.hand_over(sent)
    }

    /// Sends what the kernel had no room for when it was last told to.
    ///
    /// # Errors
    /// The interface is gone.
    pub(in super::super) fn send_rest(&mut self) -> io::Result<()> {
        if self.underway.is_empty() || self.down {
            return Ok(());
        }
        self.reap();
        // These frames have been accounted for.
        self.hand_over(&mut Sent::default())
    }

    /// In how many parts the frame is sent; 0 where it cannot be.
    fn parts(&self, frame: &Frame, longest: usize) -> usize {
        let parts = frame.len().div_ceil(self.memory.chunk() as usize);
        let fits = parts == 1 || (self.in_parts && parts <= MOST_PARTS);
        if fits && frame.gso.is_none() && (LEAST..=longest).contains(&frame.len()) { parts } else { 0 }
    }

    /// Whether there are that many chunks to send from, after those that were sent have come back.
    fn has_free(&mut self, parts: usize, sent: &mut Sent) -> io::Result<bool> {
        if self.free.len() < parts {
            self.reap();
        }
        if self.free.len() < parts {
            self.hand_over(sent)?;
            self.reap();
        }
        Ok(self.free.len() >= parts)
    }

    /// Puts a frame into the tx ring, which has room for as many descriptors as there are chunks.
    fn put(&mut self, frame: &Frame) {
        let Some(tx) = &mut self.rings.tx else { return };
        let mut parts = frame.bytes().chunks(self.memory.chunk() as usize).peekable();
        while let Some(part) = parts.next() {
            let Some(addr) = self.free.pop() else { return };
            let last = parts.peek().is_none();
            self.memory.copy_in(part, addr);
            let options = if last { 0 } else { libc::XDP_PKT_CONTD };
            tx.push(Descriptor { addr, len: part.len() as u32, options });
            self.underway.push_back(last.then_some(frame.packets));
        }
    }

    /// Takes back the chunks that were sent.
    pub(in super::super) fn reap(&mut self) {
        if self.rings.completion.available() == 0 {
            return;
        }
        let chunk = u64::from(self.memory.chunk());
        let (first, end) = (chunk * u64::from(self.rx_chunks), chunk * u64::from(self.memory.count()));
        let most = self.free.capacity();
        while let Some(addr) = self.rings.completion.pop() {
            let addr = addr & !(chunk - 1);
            if (first..end).contains(&addr) && self.free.len() < most {
                self.free.push(addr);
            }
        }
        self.rings.completion.release();
    }

    /// Tells the kernel about the tx ring, as often as it goes on with it: it takes some 32 frames at a time.
    fn hand_over(&mut self, sent: &mut Sent) -> io::Result<()> {
        let Some(tx) = &mut self.rings.tx else { return Ok(()) };
        tx.publish();
        loop {
            let before = self.waiting();
            let told = self.rings.tx.as_ref().is_none_or(|tx| !tx.wants_wakeup());
            if before == 0 || told {
                self.forget_sent();
                return Ok(());
            }
            let outcome = self.socket.send();
            let dropped = self.forget_sent();
            let went_on = self.waiting() < before;
            match outcome.err().and_then(|error| error.raw_os_error()) {
                // The interface has dropped the last one it was given.
                Some(libc::EBUSY) if went_on => {
                    sent.frames = sent.frames.saturating_sub(1);
                    sent.congested += 1;
                    sent.congested_packets += u64::from(dropped);
                }
                Some(libc::EAGAIN) if went_on => self.reap(),
                // Done; or full, and the rest waits in the ring.
                None | Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM) => return Ok(()),
                Some(libc::EINTR) => {}
                Some(libc::ENETDOWN) => {
                    self.down = true;
                    self.give_up(sent);
                    return Ok(());
                }
                Some(number) => {
                    self.down = true;
                    self.give_up(sent);
                    return Err(io::Error::from_raw_os_error(number));
                }
            }
        }
    }

    /// Chunks to send from, free or on their way.
    #[cfg(test)]
    pub(in super::super) fn sending_chunks(&self) -> usize {
        self.free.len() + self.underway.len()
    }

    fn waiting(&mut self) -> usize {
        self.rings.tx.as_mut().map_or(0, |tx| tx.waiting() as usize)
    }

    /// Forgets what the kernel has taken out of the tx ring; what the last of it stood for.
    fn forget_sent(&mut self) -> u32 {
        let gone = self.underway.len().saturating_sub(self.waiting());
        self.underway.drain(..gone).next_back().flatten().unwrap_or(0)
    }

    /// Counts as failed what is left in the tx ring. It cannot be taken back: should the interface come up again, it is
    /// sent then.
    fn give_up(&mut self, sent: &mut Sent) {
        self.forget_sent();
        let frames = self.underway.iter().rev().flatten();
        let left = frames.clone().count().min(sent.frames);
        sent.frames -= left;
        sent.failed += left;
        sent.failed_packets += frames.take(left).map(|&packets| u64::from(packets)).sum::<u64>();
    }

    /// Whether the interface, which was down, is up; what is left in the tx ring from then has been accounted for.
    fn is_up_again(&mut self) -> io::Result<bool> {
        match self.socket.send().err().and_then(|error| error.raw_os_error()) {
            Some(libc::ENETDOWN) => return Ok(false),
            Some(number @ (libc::ENXIO | libc::EBADF | libc::ENOTSOCK)) => {
                return Err(io::Error::from_raw_os_error(number));
            }
            _ => {}
        }
        self.down = false;
        self.reap();
        self.hand_over(&mut Sent::default())?;
        Ok(!self.down)
    }
}
