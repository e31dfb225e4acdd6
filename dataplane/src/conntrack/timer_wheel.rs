//! When to look at which entry again: a wheel of 1,024 lists, one for each quarter of a second.
//!
//! An entry is hung into the list of its deadline's tick, or of the farthest one (256 s) where that is later.
//! A later deadline moves nothing: when its list comes due the entry is found not to be over, and hung up
//! again. So a packet costs the wheel nothing, an idle entry of five days is looked at once in 256 s, and no
//! second level is needed. A deadline that comes nearer (a connection that closes) is moved when its worker's
//! note of it is taken up.
//!
//! Each shard has a wheel, under its lock; the links of all are one array. 8 bytes an entry and 8 KiB a wheel;
//! every operation costs the same, but for the steps over empty lists, at most 1,024 in a call. An entry is
//! reported at most one tick late, never early.

use crate::time::Timestamp;

use super::links::{Links, List};

/// Length of a tick: divides the second, so that timeouts in whole seconds end exactly.
const TICK_NS: u64 = 250_000_000;
/// Number of lists, and ticks in a turn.
const SLOTS: u64 = 1_024;

/// The wheel of one shard.
pub(super) struct TimerWheel {
    slots: Box<[List]>,
    /// The tick whose list is being emptied; all earlier lists of the turn are empty.
    position: u64,
    armed: usize,
}

/// The last tick that `now` has reached.
pub(super) const fn tick_at(now: Timestamp) -> u64 {
    now.as_nanos() / TICK_NS
}

/// The first tick at which `deadline` has passed.
const fn tick_of(deadline: Timestamp) -> u64 {
    deadline.as_nanos().div_ceil(TICK_NS)
}

impl TimerWheel {
    pub(super) fn new() -> Self {
        Self { slots: vec![List::EMPTY; SLOTS as usize].into(), position: 0, armed: 0 }
    }

    /// Hangs up `place`, which does not hang, to be reported when `deadline` has passed or earlier.
    pub(super) fn schedule(&mut self, links: &Links, place: u32, deadline: Timestamp, now: Timestamp) {
        if self.armed == 0 {
            self.position = tick_at(now);
        }
        let slot = self.wake(deadline) % SLOTS;
        if let Some(list) = self.slots.get_mut(slot as usize) {
            links.push(list, slot, place);
            self.armed += 1;
        }
    }

    /// Takes down `place`, which hangs.
    pub(super) fn cancel(&mut self, links: &Links, place: u32) {
        if let Some(slot) = links.list_of(place)
            && let Some(list) = self.slots.get_mut(slot as usize)
        {
            links.unlink(list, place);
            self.armed = self.armed.saturating_sub(1);
        }
    }

    /// Hangs `place`, which hangs, nearer if it would be reported too late.
    pub(super) fn bring_nearer(&mut self, links: &Links, place: u32, deadline: Timestamp, now: Timestamp) {
        let Some(slot) = links.list_of(place) else { return };
        let ahead = (slot + SLOTS - self.position % SLOTS) % SLOTS;
        if self.wake(deadline) < self.position + ahead {
            self.cancel(links, place);
            self.schedule(links, place, deadline, now);
        }
    }

    /// Takes down an entry whose tick has come.
    pub(super) fn pop_due(&mut self, links: &Links, now: Timestamp) -> Option<u32> {
        let target = tick_at(now);
        // One turn visits every list: there is nothing more to find in the turns before.
        self.position = self.position.max(target.saturating_sub(SLOTS));
        while self.armed > 0 {
            if let Some(list) = self.slots.get_mut((self.position % SLOTS) as usize)
                && let Some(place) = links.pop(list)
            {
                self.armed -= 1;
                return Some(place);
            }
            if self.position >= target {
                return None;
            }
            self.position += 1;
        }
        None
    }

    /// Bytes in use.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    /// The tick to hang up `deadline` for.
    fn wake(&self, deadline: Timestamp) -> u64 {
        tick_of(deadline).clamp(self.position + 1, self.position + SLOTS - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO.plus(Duration::from_secs(seconds))
    }

    fn drain(wheel: &mut TimerWheel, links: &Links, now: Timestamp) -> Vec<u32> {
        std::iter::from_fn(|| wheel.pop_due(links, now)).collect()
    }

    #[test]
    fn an_entry_is_reported_when_its_deadline_has_passed_and_not_before() {
        let (mut wheel, links) = (TimerWheel::new(), Links::new(4));
        wheel.schedule(&links, 0, at(30), at(0));
        wheel.schedule(&links, 1, at(10), at(0));
        assert!(drain(&mut wheel, &links, at(9)).is_empty());
        assert_eq!(drain(&mut wheel, &links, at(10)), [1]);
        let almost = Timestamp::from_nanos(at(30).as_nanos() - 1);
        assert!(drain(&mut wheel, &links, almost).is_empty());
        assert_eq!(drain(&mut wheel, &links, at(30)), [0]);
    }

    #[test]
    fn a_deadline_beyond_the_turn_is_reported_early_to_be_hung_up_again() {
        let (mut wheel, links) = (TimerWheel::new(), Links::new(1));
        wheel.schedule(&links, 0, at(432_000), at(1_000_000));
        assert_eq!(drain(&mut wheel, &links, at(1_000_256)), [0]);
    }

    #[test]
    fn a_cancelled_entry_is_not_reported() {
        let (mut wheel, links) = (TimerWheel::new(), Links::new(2));
        wheel.schedule(&links, 0, at(5), at(0));
        wheel.schedule(&links, 1, at(5), at(0));
        wheel.cancel(&links, 0);
        assert_eq!(drain(&mut wheel, &links, at(6)), [1]);
    }

    #[test]
    fn a_deadline_that_came_nearer_is_reported_in_time_and_a_later_one_moves_nothing() {
        let (mut wheel, links) = (TimerWheel::new(), Links::new(2));
        wheel.schedule(&links, 0, at(2_000), at(1_000));
        wheel.schedule(&links, 1, at(1_005), at(1_000));
        wheel.bring_nearer(&links, 0, at(1_010), at(1_001));
        wheel.bring_nearer(&links, 1, at(1_100), at(1_001));
        assert_eq!(drain(&mut wheel, &links, at(1_009)), [1]);
        assert_eq!(drain(&mut wheel, &links, at(1_010)), [0]);
    }

    #[test]
    fn after_a_long_silence_everything_is_found_in_one_turn() {
        let (mut wheel, links) = (TimerWheel::new(), Links::new(3));
        for (index, seconds) in [(0, 1), (1, 100), (2, 255)] {
            wheel.schedule(&links, index, at(seconds), at(0));
        }
        let mut found = drain(&mut wheel, &links, at(10_000_000));
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
    }

    #[test]
    fn time_at_its_end_does_not_overflow() {
        let end = Timestamp::from_nanos(u64::MAX);
        let (mut wheel, links) = (TimerWheel::new(), Links::new(1));
        wheel.schedule(&links, 0, end, end);
        assert!(drain(&mut wheel, &links, end).len() <= 1);
    }
}
