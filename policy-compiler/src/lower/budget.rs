//! How much work a compilation may take, and how much memory what it works with.
//!
//! Whoever may write one policy can ask for tables and work far beyond its size: rules, selectors and blocks meet in
//! products. What grows like that is counted here before it is done. A *step* is about a word touched (some nanoseconds);
//! things dearer than that count as several. Work is counted from one full build to the next and never forgotten in
//! between: so a state that changes led to has been paid for as a full build would, and a full build that does
//! everything anew is not refused what its changes were allowed.
//!
//! A change may take as much as the last full build took, or a small part of what it may take: beyond that the full build
//! is the shorter way.

use super::TooLarge;

/// Steps of work that a full build may take per byte of the ceiling: what takes no memory in the end, because it is
/// shared or thrown away, has to be found out all the same. With the default ceiling that is ten seconds or so.
const STEPS_PER_BYTE: usize = 32;

/// The part of all allowed steps that one change may take, where the full build did not take more itself.
const SHARE_OF_CHANGE: usize = 64;

/// What trying a selector on a pod's labels counts.
pub(crate) const SELECTOR: usize = 16;

/// Work done so far and allowed.
#[derive(Debug)]
pub(crate) struct Budget {
    ceiling: usize,
    done: usize,
    /// Of that, what the full build took.
    built: Option<usize>,
    allowed: usize,
}

impl Budget {
    /// For a full build of tables of at most `ceiling` bytes.
    pub(crate) fn new(ceiling: usize) -> Self {
        Self { ceiling, done: 0, built: None, allowed: ceiling.saturating_mul(STEPS_PER_BYTE) }
    }

    /// Bytes that tables may take, and that lists kept beside them may take.
    pub(crate) fn ceiling(&self) -> usize {
        self.ceiling
    }

    /// All is built, or the change before is made: from here on there is work for one change.
    pub(crate) fn next_change(&mut self) {
        let all = self.ceiling.saturating_mul(STEPS_PER_BYTE);
        let built = *self.built.get_or_insert(self.done);
        self.allowed = self.done.saturating_add(built.max(all / SHARE_OF_CHANGE)).min(all);
    }

    /// Counts work that is about to be done for a part of the tables.
    pub(crate) fn toil(&mut self, steps: usize, part: &'static str) -> Result<(), TooLarge> {
        self.done = self.done.saturating_add(steps);
        if self.done > self.allowed { Err(TooLarge { part, needed: usize::MAX }) } else { Ok(()) }
    }

    /// Whether so many bytes of a part fit.
    pub(crate) fn holds(&self, bytes: usize, part: &'static str) -> Result<(), TooLarge> {
        if bytes > self.ceiling { Err(TooLarge { part, needed: bytes }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, SHARE_OF_CHANGE, STEPS_PER_BYTE};

    #[test]
    fn changes_take_a_share_each_and_all_together_no_more_than_a_full_build() {
        let mut budget = Budget::new(64);
        let all = 64 * STEPS_PER_BYTE;
        let share = all / SHARE_OF_CHANGE;
        for _ in 0..SHARE_OF_CHANGE {
            budget.next_change();
            assert!(budget.toil(share, "a change").is_ok());
        }
        budget.next_change();
        assert!(budget.toil(1, "one too many").is_err());
        let mut budget = Budget::new(64);
        assert!(budget.toil(all / 2, "what is built").is_ok());
        budget.next_change();
        assert!(budget.toil(all / 2, "the same by changes").is_ok() && budget.toil(1, "more").is_err());
        assert!(budget.holds(64, "as much").is_ok() && budget.holds(65, "more").is_err());
    }
}
