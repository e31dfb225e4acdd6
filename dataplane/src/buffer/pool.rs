//! The pool of a worker's frames: last in, first out, so that the frame used next is still in the cache.
//!
//! A frame's memory is 64 KiB of address space, but a page of it costs real memory only once a packet that
//! large has been in it.

use super::Frame;

/// Frames not in use.
pub struct Pool {
    free: Vec<Frame>,
    made: usize,
    limit: usize,
}

impl Pool {
    /// A pool that makes frames as they are first needed, `limit` at the most.
    pub fn new(limit: usize) -> Self {
        Self { free: Vec::with_capacity(limit), made: 0, limit }
    }

    /// An empty frame; `None` when all `limit` frames are in use.
    pub fn take(&mut self) -> Option<Frame> {
        if let Some(frame) = self.free.pop() {
            return Some(frame);
        }
        if self.made == self.limit {
            return None;
        }
        self.made += 1;
        Some(Frame::new())
    }

    /// Gives a frame back. A frame made elsewhere is taken in while there is room, and freed otherwise.
    pub fn give(&mut self, mut frame: Frame) {
        if self.free.len() < self.limit && !frame.is_hollow() {
            frame.reset();
            self.free.push(frame);
        }
    }

    /// Gives back every frame of `frames`.
    pub fn give_all(&mut self, frames: impl IntoIterator<Item = Frame>) {
        frames.into_iter().for_each(|frame| self.give(frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_hands_out_no_more_than_its_limit_and_takes_frames_back_empty() {
        let mut pool = Pool::new(2);
        let mut first = pool.take().expect("first");
        let _second = pool.take().expect("second");
        assert!(pool.take().is_none());
        first.write(&[1, 2, 3]);
        pool.give(first);
        assert!(pool.take().expect("given back").is_empty());
    }
}
