//! When to look at which entry again: a wheel of 1,024 lists, one for each quarter of a second.
//!
//! An entry is hung into the list of its deadline's tick, or of the farthest one (256 s) where that is later.
//! A later deadline moves nothing: when its list comes due the entry is found not to be over, and hung up
//! again. So a packet costs the wheel nothing, an idle entry of five days is looked at once in 256 s, and no
//! second level is needed. A deadline that comes nearer (a connection that closes) is moved at once.
//!
//! 8 bytes an entry and 8 KiB; every operation costs the same, but for the steps over empty lists, at most
//! 1,024 in a call. An entry is reported at most one tick late, never early.

use crate::time::Timestamp;

use super::links::{Links, List};

/// Length of a tick: divides the second, so that timeouts in whole seconds end exactly.
const TICK_NS: u64 = 250_000_000;
/// Number of lists, and ticks in a turn.
const SLOTS: u64 = 1_024;

/// The wheel. Which tick an entry waits for is kept by the caller, who has the entry at hand.
pub(super) struct TimerWheel {
    slots: Vec<List>,
    links: Links,
    /// The tick whose list is being emptied; all earlier lists of the turn are empty.
    position: u64,
    armed: usize,
}

/// The first tick at which `deadline` has passed.
pub(super) const fn tick_of(deadline: Timestamp) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NS)
}

impl TimerWheel {
    pub(super) fn new(capacity: usize) -> Self {
        Self { slots: vec![List::EMPTY; SLOTS as usize], links: Links::new(capacity), position: 0, armed: 0 }
    }

    /// Hangs up `index`, which does not hang, to be reported when `deadline` has passed or earlier. Returns
    /// the tick it waits for.
    pub(super) fn schedule(&mut self, index: u32, deadline: Timestamp, now: Timestamp) -> u64 {
        if self.armed == 0 {
            self.position = now.as_nanos() / TICK_NS;
        }
        let wake = tick_of(deadline).clamp(self.position + 1, self.position + SLOTS - 1);
        if let Some(list) = self.slots.get_mut(slot(wake)) {
            self.links.push(list, index);
            self.armed += 1;
        }
        wake
    }

    /// Takes down `index`, which waits for the tick `wake`.
    pub(super) fn cancel(&mut self, index: u32, wake: u64) {
        if let Some(list) = self.slots.get_mut(slot(wake)) {
            self.links.unlink(list, index);
            self.armed = self.armed.saturating_sub(1);
        }
    }

    /// Takes down an entry whose tick has come.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<u32> {
        let target = now.as_nanos() / TICK_NS;
        // One turn visits every list: there is nothing more to find in the turns before.
        self.position = self.position.max(target.saturating_sub(SLOTS));
        while self.armed > 0 {
            if let Some(list) = self.slots.get_mut(slot(self.position))
                && let Some(index) = self.links.pop(list)
            {
                self.armed -= 1;
                return Some(index);
            }
            if self.position >= target {
                return None;
            }
            self.position += 1;
        }
        None
    }
}

const fn slot(tick: u64) -> usize {
    (tick % SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.plus(Duration::from_secs(seconds))
    }

    fn drain(wheel: &mut TimerWheel, now: Timestamp) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop_due(now)).collect()
    }

    #[test]
    fn an_entry_is_reported_when_its_deadline_has_passed_and_not_before() {
        let mut wheel = TimerWheel::new(4);
        wheel.schedule(0, at(30), at(0));
        wheel.schedule(1, at(10), at(0));
        assert!(drain(&mut wheel, at(9)).is_empty());
        assert_eq!(drain(&mut wheel, at(10)), [1]);
        let almost = Timestamp::from_nanos(at(30).as_nanos() - 1);
        assert!(drain(&mut wheel, almost).is_empty());
        assert_eq!(drain(&mut wheel, at(30)), [0]);
    }

    #[test]
    fn a_deadline_beyond_the_turn_is_reported_early_to_be_hung_up_again() {
        let mut wheel = TimerWheel::new(1);
        let wake = wheel.schedule(0, at(432_000), at(1_000_000));
        assert!(wake <= tick_of(at(1_000_256)));
        assert_eq!(drain(&mut wheel, at(1_000_256)), [0]);
    }

    #[test]
    fn a_cancelled_entry_is_not_reported() {
        let mut wheel = TimerWheel::new(2);
        let wake = wheel.schedule(0, at(5), at(0));
        wheel.schedule(1, at(5), at(0));
        wheel.cancel(0, wake);
        assert_eq!(drain(&mut wheel, at(6)), [1]);
    }

    #[test]
    fn after_a_long_silence_everything_is_found_in_one_turn() {
        let mut wheel = TimerWheel::new(3);
        for (index, seconds) in [(0, 1), (1, 100), (2, 255)] {
            wheel.schedule(index, at(seconds), at(0));
        }
        let mut found = drain(&mut wheel, at(10_000_000));
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
    }

    #[test]
    fn time_at_its_end_does_not_overflow() {
        let end = Timestamp::from_nanos(u64::MAX);
        let mut wheel = TimerWheel::new(1);
        wheel.schedule(0, end, end);
        assert!(drain(&mut wheel, end).len() <= 1);
    }
}
