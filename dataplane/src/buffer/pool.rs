//! The pool of a worker's frames: last in, first out, so that the frame used next is still in the cache.
//!
//! A frame's memory is 64 KiB of address space, but a page of it costs real memory only once a packet that
//! large has been in it.
//!
//! Now and then a frame that one worker received ends with another (a fragment that waited for its first). Pools that
//! [share a depot](Pool::beside) even that out: who has more frames than it made puts the surplus there, who has run dry
//! takes from there.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::Frame;

/// Frames not in use.
pub struct Pool {
    free: Vec<Frame>,
    made: usize,
    limit: usize,
    depot: Option<Arc<ArrayQueue<Frame>>>,
}

impl Pool {
    /// A pool that makes frames as they are first needed, `limit` at the most.
    pub fn new(limit: usize) -> Self {
        Self { free: Vec::with_capacity(limit), made: 0, limit, depot: None }
    }

    /// Pools of `limit` frames each for `count` workers, with a depot between them.
    pub fn beside(limit: usize, count: usize) -> Vec<Self> {
        let depot = Arc::new(ArrayQueue::new(limit.saturating_mul(count).max(1)));
        (0..count).map(|_| Self { depot: Some(Arc::clone(&depot)), ..Self::new(limit) }).collect()
    }

    /// An empty frame; `None` when all `limit` frames are in use.
    pub fn take(&mut self) -> Option<Frame> {
        if let Some(frame) = self.free.pop() {
            return Some(frame);
        }
        if self.made == self.limit {
            return self.depot.as_ref()?.pop();
        }
        self.made += 1;
        Some(Frame::new())
    }

    /// Gives a frame back. A frame made elsewhere is taken in while there is room; otherwise it goes to the depot, and is
    /// freed where there is none.
    #[inline]
    pub fn give(&mut self, mut frame: Frame) {
        if frame.is_hollow() {
            return;
        }
        let own = if self.depot.is_some() { self.made } else { self.limit };
        if self.free.len() < own {
            self.free.push(frame);
            // Where it stands: to move what was just changed stalls the processor.
            self.free.last_mut().into_iter().for_each(Frame::reset);
        } else if let Some(depot) = &self.depot {
            frame.reset();
            // Holds all frames that all pools can make.
            let _ = depot.push(frame);
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

    #[test]
    fn frames_that_end_in_another_pool_come_back() {
        let mut pools = Pool::beside(4, 2);
        let (mut other, mut one) = (pools.pop().expect("two"), pools.pop().expect("two"));
        for _ in 0..100 {
            let frame = one.take().expect("one never runs dry");
            other.give(frame);
        }
        let count = |pool: &mut Pool| {
            let frames: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
            frames.len()
        };
        assert_eq!(count(&mut one) + count(&mut other), 8, "as many as both may make");
    }
}
