//! The tally: which frames came back, how often, in which order and after how long.
//!
//! Numbers are those of the stamps, made 64 bits wide by the highest seen. A window of [`WINDOW`] numbers remembers
//! which have come; a frame that is older is counted as reordered and taken for new, which it is unless something
//! holds frames back for a million others. Reordered is what comes after a higher number (RFC 4737 type-P-reordered).
//! What carries no stamp of this trial is foreign: neighbour discovery, late frames of the trial before.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::stamp::{Mark, Stamp};
use crate::report::LONGEST_NS;

/// Numbers that are remembered: 128 KiB.
const WINDOW: u64 = 1 << 20;

/// Frames of one kind that came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Different ones.
    pub received: u64,
    /// Again.
    pub duplicated: u64,
    /// After a higher number; of those received.
    pub reordered: u64,
}

/// Counts frames that come back.
pub struct Tally {
    mark: Mark,
    allowed: Line,
    denied: Line,
    foreign: u64,
    bytes: u64,
    latency: Histogram<u64>,
}

impl Tally {
    /// For frames of that mark.
    pub fn new(mark: Mark) -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST_NS, 3)
            .unwrap_or_else(|_| unreachable!("the bounds are in order and the precision is allowed"));
        Self { mark, allowed: Line::new(), denied: Line::new(), foreign: 0, bytes: 0, latency }
    }

    /// Counts a frame that came `now` nanoseconds after the beginning.
    pub fn take(&mut self, frame: &[u8], now: u64) {
        let Some(stamp) = Stamp::find(frame, self.mark) else {
            self.foreign = self.foreign.saturating_add(1);
            return;
        };
        let line = if stamp.denied { &mut self.denied } else { &mut self.allowed };
        if line.take(stamp.number) {
            self.bytes = self.bytes.saturating_add(frame.len() as u64);
            let latency = (now as u32).wrapping_sub(stamp.sent);
            // Never out of range.
            self.latency.saturating_record(u64::from(latency).max(1));
        }
    }

    /// Frames not meant to be denied.
    pub fn allowed(&self) -> Counts {
        self.allowed.counts
    }

    /// Frames meant to be denied that came all the same.
    pub fn denied(&self) -> Counts {
        self.denied.counts
    }

    /// Different frames of both kinds.
    pub fn received(&self) -> u64 {
        self.allowed.counts.received.saturating_add(self.denied.counts.received)
    }

    /// Frames of others.
    pub fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Bytes of the different frames, without FCS.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Nanoseconds from the stamp to the arrival of each different frame. What did not come is not in it.
    pub fn latency(&self) -> &Histogram<u64> {
        &self.latency
    }
}

/// Numbers of one kind.
struct Line {
    seen: Vec<u64>,
    /// One more than the highest number.
    end: u64,
    counts: Counts,
}

impl Line {
    fn new() -> Self {
        Self { seen: vec![0; (WINDOW / 64) as usize], end: 0, counts: Counts::default() }
    }

    fn bit(&mut self, number: u64) -> Option<(&mut u64, u64)> {
        let place = number % WINDOW;
        Some((self.seen.get_mut((place / 64) as usize)?, 1 << (place % 64)))
    }

    /// Notes a number; whether it is new.
    fn take(&mut self, number: u32) -> bool {
        let wide = self.widen(number);
        if wide >= self.end {
            // What is forgotten makes room. A jump of more than the window forgets all of it.
            for number in self.end.max(wide.saturating_sub(WINDOW - 1))..wide {
                if let Some((word, bit)) = self.bit(number) {
                    *word &= !bit;
                }
            }
            self.end = wide.saturating_add(1);
            if let Some((word, bit)) = self.bit(wide) {
                *word |= bit;
            }
            self.counts.received = self.counts.received.saturating_add(1);
            return true;
        }
        if wide.saturating_add(WINDOW) >= self.end
            && let Some((word, bit)) = self.bit(wide)
        {
            if *word & bit != 0 {
                self.counts.duplicated = self.counts.duplicated.saturating_add(1);
                return false;
            }
            *word |= bit;
        }
        self.counts.reordered = self.counts.reordered.saturating_add(1);
        self.counts.received = self.counts.received.saturating_add(1);
        true
    }

    /// The number next to the highest seen that ends in these 32 bits.
    fn widen(&self, number: u32) -> u64 {
        let ahead = number.wrapping_sub(self.end as u32).cast_signed();
        self.end.checked_add_signed(i64::from(ahead)).unwrap_or(u64::from(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn line(numbers: &[u32]) -> Counts {
        let mut line = Line::new();
        for number in numbers {
            line.take(*number);
        }
        line.counts
    }

    #[test]
    fn gaps_repeats_and_late_ones_are_told_apart() {
        let counts = line(&[0, 1, 3, 2, 2, 7, 7]);
        assert_eq!(counts, Counts { received: 5, duplicated: 2, reordered: 1 });
    }

    #[test]
    fn numbers_go_on_through_the_wrap() {
        let mut line = Line::new();
        line.end = u64::from(u32::MAX) - 2;
        for number in [u32::MAX - 2, u32::MAX - 1, u32::MAX, 0, 1, 1, u32::MAX] {
            line.take(number);
        }
        assert_eq!(line.counts, Counts { received: 5, duplicated: 2, reordered: 0 });
        assert_eq!(line.end, (1 << 32) + 2);
    }

    #[test]
    fn a_jump_beyond_the_window_forgets_what_was_before() {
        let far = 3 * WINDOW as u32;
        let counts = line(&[0, 5, far, far - 1, far, 5]);
        assert_eq!(counts, Counts { received: 5, duplicated: 1, reordered: 2 });
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_set(numbers in prop::collection::vec(0_u32..500, 0..400)) {
            let (mut seen, mut expected, mut highest) = (HashSet::new(), Counts::default(), None);
            for &number in &numbers {
                if !seen.insert(number) {
                    expected.duplicated += 1;
                    continue;
                }
                expected.received += 1;
                if highest.is_some_and(|highest| number < highest) {
                    expected.reordered += 1;
                }
                highest = highest.max(Some(number));
            }
            prop_assert_eq!(line(&numbers), expected);
        }
    }
}
