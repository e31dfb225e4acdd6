//! Doubly linked lists over places: any number of lists, each place in one of them at the most.
//!
//! One word a place, apart from the entries, so that relinking does not touch them: the place before, the place
//! after, and the number of the list, by which an entry is found in it. Every operation costs the same. The words
//! are atomics because lists of different shards lie in one array; each is read and written under the lock of the
//! shard that its place belongs to, so no order is asked of them.

use super::places::Places;
use super::sync::{AtomicU64, Ordering};

/// Bits of a place.
const PLACE_BITS: u32 = 27;
/// No place.
const END: u32 = (1 << PLACE_BITS) - 1;
/// Number of lists a place may know to be in.
const LISTS: u64 = 1 << (64 - 2 * PLACE_BITS);

/// The ends of one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct List {
    head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { head: END, tail: END };

    /// The place that was put in first.
    pub(super) const fn first(self) -> Option<u32> {
        if self.head == END { None } else { Some(self.head) }
    }
}

/// The links of all lists.
pub(super) struct Links {
    words: Places<AtomicU64>,
}

struct Link {
    before: u32,
    after: u32,
    list: u64,
}

impl Link {
    const fn pack(&self) -> u64 {
        (self.list % LISTS) << (2 * PLACE_BITS) | (self.before as u64) << PLACE_BITS | self.after as u64
    }

    const fn unpack(word: u64) -> Self {
        let before = (word >> PLACE_BITS) as u32 & END;
        Self { before, after: word as u32 & END, list: word >> (2 * PLACE_BITS) }
    }
}

impl Links {
    /// Links for `places`, fewer than 2^27.
    pub(super) fn new(places: usize) -> Self {
        Self { words: Places::new(places) }
    }

    /// Puts `place`, which is in no list, at the end of `list`, whose number is `number`.
    pub(super) fn push(&self, list: &mut List, number: u64, place: u32) {
        let Some(word) = self.words.get(place) else { return };
        word.store(Link { before: list.tail, after: END, list: number }.pack(), Ordering::Relaxed);
        let has_last = self.change(list.tail, |link| Link { after: place, ..link });
        if !has_last {
            list.head = place;
        }
        list.tail = place;
    }

    /// Takes `place` out of `list`, which it is in.
    pub(super) fn unlink(&self, list: &mut List, place: u32) {
        let Some(Link { before, after, .. }) = self.link(place) else { return };
        if !self.change(before, |link| Link { after, ..link }) {
            list.head = after;
        }
        if !self.change(after, |link| Link { before, ..link }) {
            list.tail = before;
        }
    }

    /// Takes out the place that was put in first.
    pub(super) fn pop(&self, list: &mut List) -> Option<u32> {
        let place = list.first()?;
        self.unlink(list, place);
        Some(place)
    }

    /// Remembers that `place` is in no list, under a number that no list has.
    pub(super) fn leave_out(&self, place: u32, number: u64) {
        if let Some(word) = self.words.get(place) {
            word.store(Link { before: END, after: END, list: number }.pack(), Ordering::Relaxed);
        }
    }

    /// The number of the list that `place` was put into last.
    pub(super) fn list_of(&self, place: u32) -> Option<u64> {
        Some(self.link(place)?.list)
    }

    /// Bytes in use once the first `used` places were.
    pub(super) fn memory_bytes(&self, used: usize) -> usize {
        self.words.memory_bytes(used)
    }

    fn link(&self, place: u32) -> Option<Link> {
        Some(Link::unpack(self.words.get(place)?.load(Ordering::Relaxed)))
    }

    /// False where there is no such place.
    fn change(&self, place: u32, change: impl Fn(Link) -> Link) -> bool {
        if place == END {
            return false;
        }
        let Some(word) = self.words.get(place) else { return false };
        let link = change(Link::unpack(word.load(Ordering::Relaxed)));
        word.store(link.pack(), Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_in_order_what_was_not_taken_out() {
        let (links, mut list, mut other) = (Links::new(8), List::EMPTY, List::EMPTY);
        for place in [3, 1, 7, 0] {
            links.push(&mut list, 9, place);
        }
        links.push(&mut other, 1023, 5);
        links.unlink(&mut list, 1);
        links.unlink(&mut list, 0);
        links.unlink(&mut list, 3);
        links.push(&mut list, 8, 3);
        assert_eq!((links.list_of(3), links.list_of(5)), (Some(8), Some(1023)));
        assert_eq!(links.pop(&mut list), Some(7));
        assert_eq!(links.pop(&mut list), Some(3));
        assert_eq!(links.pop(&mut list), None);
        assert_eq!(list, List::EMPTY);
        assert_eq!(links.pop(&mut other), Some(5));
    }

    #[test]
    fn a_place_beyond_the_end_is_left_out() {
        let (links, mut list) = (Links::new(2), List::EMPTY);
        links.push(&mut list, 0, 512);
        assert_eq!(list.first(), None);
    }
}
