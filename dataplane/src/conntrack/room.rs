//! Opening connections, and making room for them.
//!
//! All of it under the lock of the shard that the tuple belongs to, and of that one alone at any time: where room has
//! to be made in another shard, the lock is let go first and everything looked at again afterwards. The rounds are
//! bounded, so that an insertion ends even where others take the room it made.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use crate::time::Timestamp;

use super::cell::{Filling, Key, Meta};
use super::entry::{MS, Opening, Owners};
use super::life::Life;
use super::names::{ConnId, Dir, Owner};
use super::outcome::InsertError;
use super::shard::Held;
use super::state::{Shelf, Signal, State};
use super::table::{ConnTable, short};
use super::timer_wheel::tick_at;
use super::tuple::Tuple;

/// Ends looked for before an entry is evicted or refused.
const SWEEP: usize = 16;
/// Evictions tried for one insertion; more than two only where workers race for the room.
const ROUNDS: usize = 8;

/// Both keys of a connection, and where they are to be found.
struct Keys {
    original: Key,
    reply: Key,
    hashes: [u64; 2],
    shard: usize,
}

impl ConnTable {
    /// Opens the connection of a packet that the policy of `generation` allows. May evict an entry that is
    /// over or was never established, of this owner first.
    #[expect(clippy::too_many_arguments, reason = "one call site; each says something else of the packet")]
    pub fn insert(
        &self,
        tuple: Tuple,
        source_owner: Owner,
        dest_owner: Owner,
        generation: u64,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
    ) -> Result<ConnId, InsertError> {
        let now = self.tell(now);
        let owners = Owners { source: source_owner, dest: dest_owner };
        let opened = State::open(&tuple, signal).ok_or(InsertError::Invalid).and_then(|state| {
            let opening = Opening { original: tuple, owners, generation, state, bytes };
            self.open(&opening, now)
        });
        if opened == Err(InsertError::Invalid) {
            self.tallies.invalid.fetch_add(1, Ordering::Relaxed);
        }
        opened
    }

    fn open(&self, opening: &Opening, now: Timestamp) -> Result<ConnId, InsertError> {
        let reply = opening.original.reversed();
        // A packet from an endpoint's port to the same port of itself would be its own reply.
        if reply == opening.original {
            return Err(InsertError::Invalid);
        }
        let hashes = [self.hash(&opening.original), self.hash(&reply)];
        let [first, second] = hashes;
        let shard = self.shard_of(first.wrapping_add(second));
        let keys = Keys { original: opening.original.key(), reply: reply.key(), hashes, shard };
        let owner = opening.owners.charged();
        let (mut has_swept, mut rounds) = (false, 0);
        let mut held = self.enter(shard).ok_or(InsertError::Full)?;
        loop {
            self.vacate(&mut held, &keys, now)?;
            let lack = match self.reserve(&mut held, shard, owner) {
                Ok(place) => return self.settle_in(&mut held, place, &keys, opening, now),
                Err(lack) => lack,
            };
            rounds += 1;
            if !has_swept && self.tide.swept.load(Ordering::Relaxed) < tick_at(now) {
                has_swept = true;
                drop(held);
                self.expire(now, SWEEP);
                held = self.enter(shard).ok_or(InsertError::Full)?;
                continue;
            }
            if rounds <= ROUNDS && self.evict(&mut held, owner) {
                continue;
            }
            drop(held);
            let made_room = rounds <= ROUNDS && self.evict_elsewhere(shard, owner, lack);
            held = self.enter(shard).ok_or(InsertError::Full)?;
            if !made_room {
                let refused = match lack {
                    InsertError::Quota => &mut held.stats.refused_quota,
                    _ => &mut held.stats.refused_full,
                };
                *refused += 1;
                return Err(lack);
            }
        }
    }

    /// The shard of connections whose keys' hashes have this sum.
    pub(super) fn shard_of(&self, sum: u64) -> usize {
        // The high bits of the product depend on all of the sum.
        let mixed = sum.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((mixed * self.shards.len() as u64) >> 32) as usize
    }

    /// Removes the holders of the keys that have ended.
    fn vacate(&self, held: &mut Held, keys: &Keys, now: Timestamp) -> Result<(), InsertError> {
        for (hash, key) in keys.hashes.iter().zip([&keys.original, &keys.reply]) {
            if let Some(found) = self.find(*hash, key) {
                if !self.end(held, found.place, |state| state.deadline_ns() <= now.as_nanos()) {
                    return Err(InsertError::Invalid);
                }
                held.stats.expired += 1;
            }
        }
        Ok(())
    }

    /// Counts one entry more for `owner` and finds a place for it.
    fn reserve(&self, held: &mut Held, shard: usize, owner: Owner) -> Result<u32, InsertError> {
        let account = held.shares.account(owner, &self.accounts);
        if !account.reserve(self.config.owner_quota) {
            return Err(InsertError::Quota);
        }
        let place = self.vacant_place(shard);
        if place.is_none() {
            account.release();
        }
        place.ok_or(InsertError::Full)
    }

    /// A place of one's own: the one vacated last in this shard, or a new one, or one vacated in another shard.
    fn vacant_place(&self, shard: usize) -> Option<u32> {
        let vacated = |shard: usize| self.shards.get(shard)?.vacant.pop(|place| self.next.get(place));
        let new = || {
            let limit = self.config.max_entries;
            let next = |places| ((places as usize) < limit).then_some(places + 1);
            self.places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()
        };
        let elsewhere = || (0..self.shards.len()).find_map(vacated);
        vacated(shard).or_else(new).or_else(elsewhere)
    }

    /// Writes a connection into a place of one's own and lets others find it.
    fn settle_in(
        &self,
        held: &mut Held,
        place: u32,
        keys: &Keys,
        opening: &Opening,
        now: Timestamp,
    ) -> Result<ConnId, InsertError> {
        let shard = self.shards.get(keys.shard).ok_or(InsertError::Full)?;
        let owner = opening.owners.charged();
        let refuse = |held: &mut Held| {
            held.shares.account(owner, &self.accounts).release();
            if let Some(next) = self.next.get(place) {
                shard.vacant.push(place, next);
            }
            held.stats.refused_bucket += 1;
            InsertError::BucketFull
        };
        let (Some(cell), Some(owners)) = (self.cells.get(place), self.owners.get(place)) else {
            return Err(refuse(held));
        };
        // Keys entered before the name is published lead to nobody yet.
        let [first, second] = keys.hashes;
        if !self.index.insert(first, place, Dir::Original) {
            return Err(refuse(held));
        }
        if !self.index.insert(second, place, Dir::Reply) {
            self.index.remove(first, place, Dir::Original);
            return Err(refuse(held));
        }
        let life = Life::opened(opening.state);
        let created_ms = now.as_nanos() / MS;
        let state = self.patience.state(life.pack(), created_ms, now);
        let meta = Meta { created_ms, shard: keys.shard as u8, kind: keys.original.kind };
        let bytes = opening.bytes;
        let serial = cell.fill(&Filling { original: keys.original, reply: keys.reply, meta, state, bytes });
        owners.store(opening.owners.pack(), Ordering::Relaxed);
        let deadline = Timestamp::from_nanos(state.deadline_ns());
        held.wheel.schedule(&self.timer_links, place, deadline, now);
        held.shares.charge(&self.shelf_links, owner, life.shelf(), place);
        held.stats.inserted += 1;
        cell.publish(serial, short(opening.generation));
        shard.count_entry();
        Ok(ConnId { index: place, serial })
    }

    /// Ends the entry of this shard that `owner` misses least, if it can spare one.
    fn evict(&self, held: &mut Held, owner: Owner) -> bool {
        // One that is established since it was shelved, a moment ago, is put in its place and another one looked
        // for.
        for _ in 0..SWEEP {
            let Some(place) = held.shares.spare(owner) else { return false };
            let mut shelf = Shelf::Kept;
            if let Some(cell) = self.cells.get(place) {
                shelf = Life::unpack(cell.state().life()).shelf();
            }
            if shelf != Shelf::Kept
                && self.end(held, place, |state| Life::unpack(state.life()).shelf() != Shelf::Kept)
            {
                match shelf {
                    Shelf::Closed => held.stats.evicted_closed += 1,
                    Shelf::Tentative | Shelf::Kept => held.stats.evicted_unreplied += 1,
                }
                return true;
            }
            held.shares.reshelve(&self.shelf_links, owner, Shelf::Kept, place);
        }
        false
    }

    /// Ends an entry of another shard: of `owner`, or, where the whole table is full, of who has most to spare.
    fn evict_elsewhere(&self, home: usize, owner: Owner, lack: InsertError) -> bool {
        let evict_of = |owner: Owner| {
            let has_spare = self.accounts.find(owner).is_some_and(|account| account.spare() > 0);
            let count = self.shards.len();
            let mut others = (0..count).map(|step| (home + step) % count);
            has_spare
                && others.any(|shard| self.enter(shard).is_some_and(|mut held| self.evict(&mut held, owner)))
        };
        evict_of(owner) || lack == InsertError::Full && self.accounts.richest().is_some_and(evict_of)
    }

    /// The lock of a shard, with its bookkeeping up to date. There is one for every number that `shard_of` gives.
    pub(super) fn enter(&self, number: usize) -> Option<MutexGuard<'_, Held>> {
        let mut held = self.shards.get(number)?.lock();
        self.settle(number, &mut held);
        Some(held)
    }
}
