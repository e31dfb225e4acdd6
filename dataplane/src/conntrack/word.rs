//! The state of a connection in one word, so that it changes at once or not at all.
//!
//! ```text
//!    63                  25 24         10 9        1   0
//!   ┌──────────────────────┬─────────────┬──────────┬─────┐
//!   │ deadline, 50 ms (39) │ serial (15) │ life (9) │moved│
//!   └──────────────────────┴─────────────┴──────────┴─────┘
//! ```
//! The deadline is absolute and rounded up: all of [`Timestamp`](crate::time::Timestamp) fits, and a connection
//! with much traffic writes its state 20 times a second instead of with each packet. The serial's lowest bit says
//! only that a connection lives, so the 15 bits are those above it. Life 0 is none: an ended connection.

/// Nanoseconds of one unit of deadlines. Divides the timer wheel's tick.
const UNIT_NS: u64 = 50_000_000;
/// The last deadline.
const END: u64 = (1 << 39) - 1;

/// So many units, rounded up.
#[inline]
pub(super) const fn units(ns: u64) -> u64 {
    ns.div_ceil(UNIT_NS)
}

const LIFE_SHIFT: u32 = 1;
const LIFE_MASK: u64 = 0x1ff;
const SERIAL_SHIFT: u32 = 10;
const SERIAL_MASK: u64 = 0x7fff;
const DEADLINE_SHIFT: u32 = 25;

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(u64);

impl Word {
    /// The bit of `moved`.
    pub(super) const MOVED: u64 = 1;

    /// A state without a serial, whose deadline is `units` after the beginning of time, or at its end.
    #[inline]
    pub(super) const fn new(life: u16, units: u64) -> Self {
        let units = if units > END { END } else { units };
        Self(units << DEADLINE_SHIFT | (life as u64 & LIFE_MASK) << LIFE_SHIFT)
    }

    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The life, packed; 0 where there is none.
    #[inline]
    pub(super) const fn life(self) -> u16 {
        (self.0 >> LIFE_SHIFT & LIFE_MASK) as u16
    }

    /// When it ends, in nanoseconds.
    #[inline]
    pub(super) const fn deadline_ns(self) -> u64 {
        (self.0 >> DEADLINE_SHIFT).saturating_mul(UNIT_NS)
    }

    /// True for the state of no connection.
    #[inline]
    pub(super) const fn is_over(self) -> bool {
        self.life() == 0
    }

    /// True if it may be the state of the connection `serial`.
    #[inline]
    pub(super) const fn is_of(self, serial: u32) -> bool {
        !self.is_over() && self.0 >> SERIAL_SHIFT & SERIAL_MASK == (serial >> 1) as u64 & SERIAL_MASK
    }

    /// The same of the connection `serial`.
    #[inline]
    pub(super) const fn of(self, serial: u32) -> Self {
        let others = self.0 & !(SERIAL_MASK << SERIAL_SHIFT);
        Self(others | ((serial >> 1) as u64 & SERIAL_MASK) << SERIAL_SHIFT)
    }

    /// The same with life and deadline of `other`.
    #[inline]
    pub(super) const fn with(self, other: Self) -> Self {
        let kept = SERIAL_MASK << SERIAL_SHIFT | Self::MOVED;
        Self(self.0 & kept | other.0 & !kept)
    }

    /// The same with another life.
    #[inline]
    pub(super) const fn with_life(self, life: u16) -> Self {
        Self(self.0 & !(LIFE_MASK << LIFE_SHIFT) | (life as u64 & LIFE_MASK) << LIFE_SHIFT)
    }

    /// No connection's, on its way to the stack or not as before.
    #[inline]
    pub(super) const fn ended(self) -> Self {
        Self(self.0 & (SERIAL_MASK << SERIAL_SHIFT | Self::MOVED))
    }

    /// True while its place is, or will be, on the stack of its shard.
    #[inline]
    pub(super) const fn is_moved(self) -> bool {
        self.0 & Self::MOVED != 0
    }

    /// The same, moved.
    #[inline]
    pub(super) const fn moved(self) -> Self {
        Self(self.0 | Self::MOVED)
    }

    /// The same, not moved.
    #[inline]
    pub(super) const fn settled(self) -> Self {
        Self(self.0 & !Self::MOVED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_word_do_not_touch_one_another() {
        let word = Word::new(0x155, units(u64::MAX)).of(0xffff_ffff);
        assert_eq!(word.life(), 0x155);
        assert!(word.deadline_ns() >= u64::MAX - UNIT_NS && word.is_of(0xffff_ffff) && !word.is_moved());
        assert!(word.is_of(0xffff) && !word.is_of(0xfffd), "15 bits above the lowest");
        assert_eq!(Word::new(1, u64::MAX).deadline_ns(), u64::MAX);
        let word = word.moved().with(Word::new(3, units(50_000_001)));
        assert_eq!((word.life(), word.deadline_ns()), (3, 100_000_000), "rounded up");
        assert!(word.is_moved() && word.is_of(0xffff_ffff));
        let ended = word.ended();
        assert!(ended.is_over() && ended.is_moved() && !ended.is_of(0xffff_ffff));
        assert!(!ended.settled().is_moved());
        assert_eq!(word.with_life(7).life(), 7);
    }
}
