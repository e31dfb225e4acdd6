//! Which bytes of a datagram have been seen: the fragments' ranges in order, each kept by itself.
//!
//! They are not merged, because an exact duplicate has to be told from an overlap. 64 ranges at the most: a
//! 64 KiB datagram is 47 fragments at the overlay's MTU of 1,450. 260 bytes; adding is a binary search and a move.

/// Most fragments of one datagram.
const MOST: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
struct Range {
    start: u16,
    end: u16,
}

/// The ranges seen; none is empty, none touches the bytes of another.
#[derive(Clone)]
pub(super) struct Ranges {
    ranges: [Range; MOST],
    len: u8,
}

/// What [`Ranges::add`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// New bytes.
    New,
    /// Exactly an earlier fragment's bytes.
    Duplicate,
    /// Some bytes of earlier fragments.
    Overlap,
    /// New bytes, but no room to remember them.
    TooMany,
}

impl Ranges {
    pub(super) const EMPTY: Self = Self { ranges: [Range { start: 0, end: 0 }; MOST], len: 0 };

    fn seen(&self) -> &[Range] {
        self.ranges.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Enters the bytes from `start` up to, not including, `end`; `start` is less.
    pub(super) fn add(&mut self, start: u16, end: u16) -> Added {
        let new = Range { start, end };
        // The first range that does not lie wholly before the new one.
        let position = self.seen().partition_point(|range| range.end <= start);
        match self.seen().get(position) {
            Some(next) if *next == new => return Added::Duplicate,
            Some(next) if next.start < end => return Added::Overlap,
            _ => {}
        }
        let len = usize::from(self.len);
        let Some(moved) = self.ranges.get_mut(position..=len) else { return Added::TooMany };
        moved.rotate_right(1);
        if let Some(free) = moved.first_mut() {
            *free = new;
        }
        self.len += 1;
        Added::New
    }

    /// True when some fragment reaches beyond `end`.
    pub(super) fn reaches_beyond(&self, end: u16) -> bool {
        self.seen().last().is_some_and(|last| last.end > end)
    }

    /// True when every byte before `end` has been seen.
    pub(super) fn cover(&self, end: u16) -> bool {
        let mut reached = 0;
        for range in self.seen() {
            if range.start != reached {
                return false;
            }
            reached = range.end;
        }
        reached == end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_in_any_order_cover_what_they_cover() {
        let mut ranges = Ranges::EMPTY;
        assert_eq!(ranges.add(16, 24), Added::New);
        assert_eq!(ranges.add(0, 8), Added::New);
        assert!(!ranges.cover(24));
        assert_eq!(ranges.add(8, 16), Added::New);
        assert!(ranges.cover(24) && !ranges.cover(16));
        assert!(ranges.reaches_beyond(23) && !ranges.reaches_beyond(24));
    }

    #[test]
    fn a_duplicate_is_told_from_every_kind_of_overlap() {
        let mut ranges = Ranges::EMPTY;
        ranges.add(8, 24);
        assert_eq!(ranges.add(8, 24), Added::Duplicate);
        for (start, end) in [(0, 9), (8, 16), (16, 24), (16, 32), (0, 32), (10, 12), (23, 40)] {
            assert_eq!(ranges.add(start, end), Added::Overlap, "{start}..{end}");
        }
        assert_eq!(ranges.add(0, 8), Added::New);
        assert_eq!(ranges.add(24, 32), Added::New);
    }

    #[test]
    fn the_sixty_fifth_range_is_refused() {
        let mut ranges = Ranges::EMPTY;
        for number in 0..64 {
            assert_eq!(ranges.add(number * 16, number * 16 + 8), Added::New);
        }
        assert_eq!(ranges.add(2000, 2008), Added::TooMany);
        assert_eq!(ranges.add(0, 8), Added::Duplicate);
    }
}
