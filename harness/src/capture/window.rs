//! A bounded window onto a file or stream: the only place where capture bytes are held.
//!
//! ```text
//!   file  ─────────────────────────[ consumed │ unread bytes │ free ]──────────►
//!                                  └───────── WINDOW bytes ─────────┘
//! ```
//! Files are read, never mapped: one that shrinks under the reader is then an error with a place, not a signal.
//! What is too large for the window is not held but skipped ([`Window::skip`]). Cost: each byte is copied once out of
//! the kernel and, at most once per window, moved to its front.

use std::io::{self, Read};

/// Size of the window: most bytes of one block that are looked at together.
pub(super) const WINDOW: usize = 1 << 20;

/// Most bytes of one read: some 10 µs, so that a replay that keeps time is not held up by its reader.
const READ: usize = 1 << 16;

/// Bytes of a source, in order, some at a time.
pub(super) struct Window<R> {
    source: R,
    memory: Box<[u8]>,
    start: usize,
    end: usize,
    /// Offset of `start` in the source.
    offset: u64,
    ended: bool,
}

impl<R: Read> Window<R> {
    pub(super) fn new(source: R) -> Self {
        let memory = vec![0; WINDOW].into_boxed_slice();
        Self { source, memory, start: 0, end: 0, offset: 0, ended: false }
    }

    /// Offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes: `wanted` of them (at most [`WINDOW`]), fewer only at the end of the source.
    pub(super) fn peek(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while self.end - self.start < wanted.min(WINDOW) && !self.ended {
            self.fill()?;
        }
        let have = wanted.min(self.end - self.start);
        Ok(self.memory.get(self.start..self.start + have).unwrap_or_default())
    }

    /// The bytes that the last [`Window::peek`] has seen, again, without reading on.
    pub(super) fn seen(&self, wanted: usize) -> &[u8] {
        let have = wanted.min(self.end - self.start);
        self.memory.get(self.start..self.start + have).unwrap_or_default()
    }

    /// Goes on by `count` bytes, of any number; how many the source did not have.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        loop {
            let here = left.min((self.end - self.start) as u64);
            self.start += here as usize;
            self.offset = self.offset.saturating_add(here);
            left -= here;
            if left == 0 || self.ended {
                return Ok(left);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.end == self.memory.len() || self.start == self.end {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let until = self.end.saturating_add(READ).min(self.memory.len());
        let free = self.memory.get_mut(self.end..until).unwrap_or_default();
        match self.source.read(free) {
            Ok(0) => self.ended = true,
            Ok(count) => self.end = self.end.saturating_add(count).min(self.memory.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in ever-changing portions, as a pipe does.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 % 7 + 1;
            let count = self.1.min(to.len()).min(self.0.len());
            let (now, later) = self.0.split_at(count);
            to[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn bytes_come_in_order_however_the_source_hands_them_out() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let mut window = Window::new(Drip(&bytes, 0));
        let mut seen = Vec::new();
        while window.peek(13).unwrap().len() == 13 {
            seen.extend_from_slice(window.seen(13));
            assert_eq!(window.skip(13).unwrap(), 0);
        }
        let rest = window.peek(13).unwrap().to_vec();
        seen.extend_from_slice(&rest);
        assert_eq!(seen, bytes);
        assert_eq!(window.offset(), (bytes.len() / 13 * 13) as u64);
    }

    #[test]
    fn skipping_past_the_end_says_how_much_was_missing() {
        let mut window = Window::new(&[1_u8; 100][..]);
        assert_eq!(window.skip(4 << 30).unwrap(), (4 << 30) - 100);
        assert!(window.peek(1).unwrap().is_empty());
    }

    #[test]
    fn more_than_the_window_is_never_held() {
        let mut window = Window::new(io::repeat(7).take(3 * WINDOW as u64));
        assert_eq!(window.peek(usize::MAX).unwrap().len(), WINDOW);
        assert_eq!(window.skip(2 * WINDOW as u64).unwrap(), 0);
        assert_eq!(window.peek(2 * WINDOW).unwrap().len(), WINDOW);
    }
}
