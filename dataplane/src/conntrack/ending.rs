//! How connections end, and the bookkeeping that follows packets: lists and wheels, under the locks of their shards.
//!
//! A packet changes its connection without a lock. Where that calls for another shelf or a nearer end, its worker
//! puts the entry's place on a stack of the shard and says so in `restless`; whoever next holds the lock hangs the
//! entry up where it belongs. [`ConnTable::expire`] does that with each batch, so that it is done within one.
//!
//! An entry is ended in one compare-exchange of its state, which fails where a packet came first: nothing ends as idle
//! that was refreshed, or as half open that was established, in the instant before.

use std::sync::atomic::Ordering;

use crate::time::Timestamp;

use super::entry::Conn;
use super::life::Life;
use super::names::{ConnId, Dir};
use super::shard::{Held, Shard};
use super::stack::BOTTOM;
use super::table::ConnTable;
use super::timer_wheel::tick_at;
use super::tuple::Tuple;
use super::word::Word;

/// All places have been looked at.
pub(super) const PURGED: u32 = u32::MAX;

impl ConnTable {
    /// Removes a connection, if it is still there.
    pub fn remove(&self, id: ConnId) {
        let Some(cell) = self.cells.get(id.index) else { return };
        let shard = usize::from(cell.meta().shard);
        // Else that was the shard of another connection.
        if !cell.still(id.serial) {
            return;
        }
        let Some(mut held) = self.enter(shard) else { return };
        if cell.is(id.serial) && self.end(&mut held, id.index, |_| true) {
            held.stats.removed += 1;
        }
    }

    /// Says what time it is: whatever has ended by then is found no more. Removes entries that ended, looking
    /// at `budget` entries at the most; returns how many it removed. To be called with each batch.
    pub fn expire(&self, now: Timestamp, budget: usize) -> usize {
        let now = self.tell(now);
        self.settle_all();
        let target = tick_at(now);
        if self.tide.swept.load(Ordering::Relaxed) >= target {
            return 0;
        }
        let (mut left, mut ended, mut all) = (budget, 0, true);
        for (number, shard) in self.shards.iter().enumerate() {
            if shard.swept.load(Ordering::Relaxed) >= target {
                continue;
            }
            // Who holds it opens or ends a connection now; the next batch comes soon.
            let Some(mut held) = shard.try_lock() else {
                all = false;
                continue;
            };
            self.settle(number, &mut held);
            let before = held.stats.expired;
            let is_swept = self.sweep(&mut held, now, &mut left);
            ended += (held.stats.expired - before) as usize;
            if is_swept {
                shard.swept.fetch_max(target, Ordering::Relaxed);
            } else {
                all = false;
                break;
            }
        }
        if all {
            self.tide.swept.fetch_max(target, Ordering::Relaxed);
        }
        ended
    }

    /// Empties a wheel up to `now`; false if `left` entries did not suffice.
    fn sweep(&self, held: &mut Held, now: Timestamp, left: &mut usize) -> bool {
        while *left > 0 {
            let Some(place) = held.wheel.pop_due(&self.timer_links, now) else { return true };
            *left -= 1;
            let deadline = self.cells.get(place).map_or(0, |cell| cell.state().deadline_ns());
            held.wheel.schedule(&self.timer_links, place, Timestamp::from_nanos(deadline), now);
            if deadline <= now.as_nanos()
                && self.end(held, place, |state| state.deadline_ns() <= now.as_nanos())
            {
                held.stats.expired += 1;
            }
        }
        false
    }

    /// Has [`ConnTable::purge`] begin at the first place, for those who judge by this generation. Each worker calls it when
    /// it has taken that up: the last one's pass over the table finds all that is over by then.
    pub fn begin_purge(&self, generation: u32) {
        let begin = |state: u64| ((state >> 32) as u32 <= generation).then_some(u64::from(generation) << 32);
        // One that lags behind begins nothing.
        let _ = self.purge.fetch_update(Ordering::AcqRel, Ordering::Acquire, begin);
    }

    /// Looks at the next `budget` places and removes the connections that `is_over` says yes to; the workers share the
    /// table among them. False, and nothing done, once all have been looked at, and for who judges by another generation than
    /// the one for which it was begun: he would take the connections of its new pods for those of pods that are gone. For
    /// what ends many connections at once and is no packet and no timeout: a little of it at a time, so that packets need
    /// not wait.
    pub fn purge(&self, generation: u32, budget: u32, is_over: impl Fn(&Conn) -> bool) -> bool {
        let places = self.places.load(Ordering::Relaxed);
        let next = |state: u64| {
            let from = state as u32;
            let end = from.saturating_add(budget);
            let next = if end < places { end } else { PURGED };
            ((state >> 32) as u32 == generation && from != PURGED)
                .then_some(state >> 32 << 32 | u64::from(next))
        };
        let Ok(state) = self.purge.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) else {
            return false;
        };
        let from = state as u32;
        let end = from.saturating_add(budget).min(places);
        for place in from..end {
            if let Some((id, _)) = self.conn_at(place).filter(|(_, conn)| is_over(conn)) {
                self.remove(id);
            }
        }
        if end == places {
            self.forget_owners();
        }
        true
    }

    /// Lets go of what is kept for owners that hold nothing.
    fn forget_owners(&self) {
        for shard in &self.shards {
            shard.lock().shares.prune();
        }
        self.accounts.prune();
    }

    /// Ends the connection at `place`, which is of the shard that `held` is of, if `may` agrees with the state it
    /// is in then, and takes it out of everything that knows it.
    pub(super) fn end(&self, held: &mut Held, place: u32, may: impl Fn(Word) -> bool) -> bool {
        let Some(cell) = self.cells.get(place) else { return false };
        let Some(snapshot) = cell.snapshot() else { return false };
        let Some(last) = cell.retire_if(may) else { return false };
        for (key, dir) in [(&snapshot.original, Dir::Original), (&snapshot.reply, Dir::Reply)] {
            self.index.remove(self.hash(&Tuple::from_key(key)), place, dir);
        }
        held.wheel.cancel(&self.timer_links, place);
        held.shares.release(&self.shelf_links, self.owners_at(place).charged(), place);
        if let Some(shard) = self.shards.get(usize::from(snapshot.meta.shard)) {
            shard.discount_entry();
            // Where it is on its way to the stack, or there, who takes it down from there sets it free.
            if !last.is_moved()
                && let Some(next) = self.next.get(place)
            {
                shard.vacant.push(place, next);
            }
        }
        true
    }

    /// Puts a place whose state has just been marked as moved on the stack of its shard.
    #[cold]
    pub(super) fn note_moved(&self, place: u32, shard: u8) {
        if let (Some(of), Some(next)) = (self.shards.get(usize::from(shard)), self.next.get(place))
            && of.moved.push(place, next)
        {
            self.tide.restless.fetch_or(1 << shard, Ordering::AcqRel);
        }
    }

    /// Catches up with the bookkeeping of all shards whose locks are free.
    fn settle_all(&self) {
        let mut restless = self.tide.restless.load(Ordering::Relaxed);
        while restless != 0 {
            let number = restless.trailing_zeros() as usize;
            restless &= restless - 1;
            if let Some(mut held) = self.shards.get(number).and_then(Shard::try_lock) {
                self.settle(number, &mut held);
            }
        }
    }

    /// Catches up with the bookkeeping of the shard `number`, which `held` is of.
    pub(super) fn settle(&self, number: usize, held: &mut Held) {
        let bit = 1 << number;
        if self.tide.restless.load(Ordering::Relaxed) & bit == 0 {
            return;
        }
        // Cleared first: what is put on the stack from now on is announced anew.
        self.tide.restless.fetch_and(!bit, Ordering::AcqRel);
        let Some(shard) = self.shards.get(number) else { return };
        let mut place = shard.moved.take(|place| self.next.get(place));
        let now = Timestamp::from_nanos(self.now());
        while place != BOTTOM {
            let (Some(cell), Some(next)) = (self.cells.get(place), self.next.get(place)) else { return };
            // Once the mark is gone the place may be put on the stack again.
            let below = next.load(Ordering::Relaxed);
            let state = cell.settle();
            if state.is_over() {
                shard.vacant.push(place, next);
            } else {
                let owner = self.owners_at(place).charged();
                let shelf = Life::unpack(state.life()).shelf();
                held.shares.reshelve(&self.shelf_links, owner, shelf, place);
                let deadline = Timestamp::from_nanos(state.deadline_ns());
                held.wheel.bring_nearer(&self.timer_links, place, deadline, now);
            }
            place = below;
        }
    }
}
