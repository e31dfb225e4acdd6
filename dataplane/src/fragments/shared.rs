//! The handle by which workers share the table.
//!
//! Fragments are few, and a datagram's fragments follow one another: one lock serves them. Packets that are no fragments
//! do not take it; the housekeeping that comes with each batch looks at one number first, which says when there is
//! anything to do. A frame that one worker held and another's packet sets free goes to the other's pool
//! ([`crate::buffer::Pool`] evens that out).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::table::{FragConfig, FragKey, Later, Table};
use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::time::Timestamp;

/// A worker's handle of the fragments under way. `L` is what the caller wants to know of the first fragment when it sees a
/// later one.
pub struct FragTable<L> {
    shared: Arc<Shared<L>>,
}

struct Shared<L> {
    table: Mutex<Table<L>>,
    /// When there is something to expire, in nanoseconds. Written under the lock. A worker that reads an old value
    /// expires with its next batch; what has ended is found no more whoever expires it.
    due: AtomicU64,
}

impl<L> Clone for FragTable<L> {
    /// Another handle of the same table.
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<L: Copy> FragTable<L> {
    /// An empty table. All of its memory is allocated here.
    pub fn new(config: FragConfig) -> Self {
        let shared = Shared { table: Mutex::new(Table::new(config)), due: AtomicU64::new(u64::MAX) };
        Self { shared: Arc::new(shared) }
    }

    /// Enters the first fragment of a datagram, whose payload ends at byte `end`, and moves the fragments that
    /// waited for it into `released`, in the order they came. They need no further call: treat them as later
    /// fragments whose first fragment said `l4`.
    ///
    /// # Errors
    /// The reason to drop the first fragment for.
    pub fn first(
        &mut self,
        key: FragKey,
        end: u32,
        l4: L,
        now: Timestamp,
        released: &mut Vec<Frame>,
    ) -> Result<(), DropReason> {
        self.with(|table| table.first(key, end, l4, now, released))
    }

    /// Takes a later fragment: `len` bytes of payload at byte `offset` (not 0), with `more` to follow or not.
    pub fn later(
        &mut self,
        key: FragKey,
        offset: u32,
        len: u32,
        more: bool,
        frame: Frame,
        now: Timestamp,
    ) -> Later<L> {
        self.with(|table| table.later(key, offset, len, more, frame, now))
    }

    /// Gives up datagrams whose time has passed (at most 250 ms late; none is used after it, however). Appends
    /// the frames held in vain, of these and of datagrams killed since the last call, each with its reason.
    pub fn expire(&mut self, now: Timestamp, dropped: &mut Vec<(Frame, DropReason)>) {
        if now.as_nanos() >= self.shared.due.load(Ordering::Relaxed) {
            self.with(|table| table.expire(now, dropped));
        }
    }

    /// Datagrams under way.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when no datagram is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frames the table holds, those included that [`FragTable::expire`] will hand out.
    pub fn held_frames(&self) -> usize {
        self.lock().held_frames()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Table<L>) -> T) -> T {
        let mut table = self.lock();
        let outcome = f(&mut table);
        let due = table.due().map_or(u64::MAX, Timestamp::as_nanos);
        self.shared.due.store(due, Ordering::Relaxed);
        outcome
    }

    /// A worker that panicked under the lock has ended the process; until it has, the table is as good as it was.
    fn lock(&self) -> MutexGuard<'_, Table<L>> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_nanos(1_000_000_000);

    fn key(id: u32) -> FragKey {
        let src = IpAddr::from([192, 0, 2, 1]);
        FragKey { src, dst: src, protocol: 17, id, port: 3 }
    }

    #[test]
    fn what_one_worker_holds_the_first_fragment_of_another_sets_free() {
        let mut one: FragTable<u8> = FragTable::new(FragConfig::default());
        let mut other = one.clone();
        let held = one.later(key(1), 8, 8, true, Frame::from_bytes(b"second"), NOW);
        assert!(matches!(held, Later::Held));
        let mut released = Vec::new();
        other.first(key(1), 8, 7, NOW, &mut released).unwrap();
        assert_eq!(released[0].bytes(), b"second");
        let last = one.later(key(1), 16, 5, false, Frame::from_bytes(b"third"), NOW);
        assert!(matches!(last, Later::Known(7, _)));
        assert!(one.is_empty() && other.is_empty());
    }

    #[test]
    fn an_overlap_that_comes_by_another_worker_is_found() {
        let mut one: FragTable<u8> = FragTable::new(FragConfig::default());
        let mut other = one.clone();
        one.first(key(1), 24, 7, NOW, &mut Vec::new()).unwrap();
        let over = other.later(key(1), 16, 16, true, Frame::new(), NOW);
        assert!(matches!(over, Later::Drop(_, DropReason::FragmentOverlap)));
        let again = other.first(key(1), 24, 9, NOW, &mut Vec::new());
        assert!(again.is_err(), "no second transport header");
    }

    #[test]
    fn any_worker_gives_up_what_has_waited_too_long_and_none_asks_before() {
        let mut one: FragTable<u8> = FragTable::new(FragConfig::default());
        let mut other = one.clone();
        let mut dropped = Vec::new();
        assert_eq!(one.shared.due.load(Ordering::Relaxed), u64::MAX);
        one.later(key(1), 8, 8, true, Frame::from_bytes(b"second"), NOW);
        other.expire(NOW, &mut dropped);
        assert!(dropped.is_empty());
        let over = NOW.plus(Duration::from_secs(31));
        other.expire(over, &mut dropped);
        assert!(matches!(dropped[..], [(_, DropReason::FragmentNoFirst)]));
        assert_eq!(one.shared.due.load(Ordering::Relaxed), u64::MAX);
    }
}
