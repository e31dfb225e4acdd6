//! The connection table itself: finding, opening, refreshing, ending and evicting entries.
//!
//! Ties together the slab (entries), the index (keys), the timer wheel (ends) and the shares (quotas). What a
//! packet means to its connection is decided in `state`; what the table does when full, and what it costs, is
//! in the text of [`crate::conntrack`].

use ahash::RandomState;

use crate::time::Timestamp;

use super::entry::{Conn, Opening};
use super::index::Index;
use super::names::{ConnId, Dir, Owner};
use super::outcome::{ConntrackStats, InsertError, Invalid, Updated};
use super::shares::Shares;
use super::slab::Slab;
use super::state::{Shelf, Signal, State};
use super::timeouts::Timeouts;
use super::timer_wheel::{TimerWheel, tick_of};
use super::tuple::Tuple;

/// Largest table that can be asked for; the index has room for numbers of 30 bits.
const MAX_ENTRIES: usize = 1 << 24;

/// Ends looked for before an entry is evicted or refused.
const SWEEP: usize = 16;

/// Size and patience of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConntrackConfig {
    /// Most entries at a time, 1 to 16,777,216 (clamped). Default 262,144, as netfilter's on a large host.
    pub max_entries: usize,
    /// Most entries charged to one owner. Default a quarter of `max_entries`.
    pub owner_quota: usize,
    /// Idle times after which entries end.
    pub timeouts: Timeouts,
}

impl ConntrackConfig {
    /// The defaults for a table of `max_entries`.
    pub fn with_max_entries(max_entries: usize) -> Self {
        Self { max_entries, owner_quota: (max_entries / 4).max(1), timeouts: Timeouts::default() }
    }
}

impl Default for ConntrackConfig {
    fn default() -> Self {
        Self::with_max_entries(262_144)
    }
}

/// The connection table.
pub(super) struct Table {
    slab: Slab,
    index: Index,
    wheel: TimerWheel,
    shares: Shares,
    config: ConntrackConfig,
    stats: ConntrackStats,
    now: Timestamp,
}

impl Table {
    /// An empty table. Its hash is keyed by `seed`, which is to be random in production.
    pub(super) fn new(config: ConntrackConfig, seed: RandomState) -> Self {
        let limit = config.max_entries.clamp(1, MAX_ENTRIES);
        Self {
            slab: Slab::new(limit),
            index: Index::new(limit, seed.clone()),
            wheel: TimerWheel::new(limit),
            shares: Shares::new(limit, seed),
            config: ConntrackConfig { max_entries: limit, ..config },
            stats: ConntrackStats::default(),
            now: Timestamp::ZERO,
        }
    }

    /// The connection a packet with this tuple belongs to, and which way it goes.
    pub(super) fn lookup(&self, tuple: &Tuple) -> Option<(ConnId, Dir)> {
        let (index, dir) = self.find(tuple)?;
        let conn = self.slab.at(index).filter(|conn| conn.deadline > self.now)?;
        Some((ConnId { index, serial: conn.serial }, dir))
    }

    /// The connection of that name, if it is still there.
    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slab.get(id)
    }

    /// The connection of that name, if it is still there, to mark it judged.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slab.get_mut(id)
    }

    /// Opens the connection of a packet that the policy of `generation` allows. May evict an entry that is
    /// over or was never established, of this owner first.
    #[expect(clippy::too_many_arguments, reason = "one call site; each says something else of the packet")]
    pub(super) fn insert(
        &mut self,
        tuple: Tuple,
        source_owner: Owner,
        dest_owner: Owner,
        generation: u64,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
    ) -> Result<ConnId, InsertError> {
        self.now = self.now.max(now);
        let result = match State::open(&tuple, signal) {
            Some(state) => {
                self.open(&Opening { original: tuple, source_owner, dest_owner, generation, state, bytes })
            }
            None => Err(InsertError::Invalid),
        };
        let counter = match result {
            Ok(_) => &mut self.stats.inserted,
            Err(InsertError::Invalid) => &mut self.stats.invalid,
            Err(InsertError::Full) => &mut self.stats.refused_full,
            Err(InsertError::Quota) => &mut self.stats.refused_quota,
            Err(InsertError::BucketFull) => &mut self.stats.refused_bucket,
        };
        *counter += 1;
        result
    }

    /// Takes a packet into its connection: state, timeout, counters.
    pub(super) fn update(
        &mut self,
        id: ConnId,
        dir: Dir,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
    ) -> Result<Updated, Invalid> {
        self.now = self.now.max(now);
        let now = self.now;
        let conn = self.slab.get_mut(id);
        let received = conn.and_then(|conn| {
            let reopened = conn.receive(dir, signal, bytes, now, &self.config.timeouts)?;
            Some((reopened, conn))
        });
        let Some((reopened, conn)) = received else {
            self.stats.invalid += 1;
            return Err(Invalid);
        };
        // A later deadline is left for the wheel to find; only one that came nearer has to be moved.
        if tick_of(conn.deadline) < conn.wake {
            self.wheel.cancel(id.index, conn.wake);
            conn.wake = self.wheel.schedule(id.index, conn.deadline, now);
        }
        let wanted = conn.wanted_shelf();
        if wanted != conn.shelf {
            self.shares.reshelve(conn.charged, conn.shelf, wanted, id.index);
            conn.shelf = wanted;
        }
        self.stats.reopened += u64::from(reopened);
        Ok(Updated { reopened })
    }

    /// Removes a connection, if it is still there.
    pub(super) fn remove(&mut self, id: ConnId) {
        if self.slab.get(id).is_some() {
            self.unhook(id.index);
            self.stats.removed += 1;
        }
    }

    /// Says what time it is: whatever has ended by then is found no more. Removes entries that ended, looking
    /// at `budget` entries at the most; returns how many it removed. To be called with each batch.
    pub(super) fn expire(&mut self, now: Timestamp, budget: usize) -> usize {
        self.now = self.now.max(now);
        let mut ended = 0;
        for _ in 0..budget {
            let Some(index) = self.wheel.pop_due(self.now) else { break };
            let Some(conn) = self.slab.at_mut(index) else { continue };
            conn.wake = self.wheel.schedule(index, conn.deadline, self.now);
            if conn.deadline <= self.now {
                self.unhook(index);
                ended += 1;
            }
        }
        self.stats.expired += ended as u64;
        ended
    }

    /// Entries taken, those that ended and were not removed yet included.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The size it was made with.
    pub(super) fn capacity(&self) -> usize {
        self.config.max_entries
    }

    /// Entries charged to `owner`.
    pub(super) fn held_by(&self, owner: Owner) -> usize {
        self.shares.held(owner)
    }

    /// All connections, in no order. For showing them: not for the packet path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slab.iter().filter(|(_, conn)| conn.deadline > self.now)
    }

    /// What happened so far.
    pub(super) fn stats(&self) -> ConntrackStats {
        self.stats
    }

    /// Looks at `budget` places from `from` on and removes the connections that `is_over` says yes to. Returns
    /// where to go on, `None` once the end is reached. For what ends many connections at once and is no packet
    /// and no timeout: a little of it at a time, so that packets need not wait.
    pub(super) fn purge(&mut self, from: u32, budget: u32, is_over: impl Fn(&Conn) -> bool) -> Option<u32> {
        let places = self.slab.places();
        let end = from.saturating_add(budget).min(places);
        for index in from..end {
            if self.slab.at(index).is_some_and(&is_over) {
                self.unhook(index);
                self.stats.removed += 1;
            }
        }
        (end < places).then_some(end)
    }

    /// Removes every connection from or to `owner`; returns how many. Reads the whole table: for an endpoint
    /// that goes away.
    pub(super) fn remove_owner(&mut self, owner: Owner) -> usize {
        let mut removed = 0;
        for index in 0..self.slab.places() {
            let is_theirs = |conn: &Conn| conn.source_owner == owner || conn.dest_owner == owner;
            if self.slab.at(index).is_some_and(is_theirs) {
                self.unhook(index);
                removed += 1;
            }
        }
        self.stats.removed += removed as u64;
        removed
    }

    fn open(&mut self, opening: &Opening) -> Result<ConnId, InsertError> {
        let reply = opening.original.reversed();
        // A packet from an endpoint's port to the same port of itself would be its own reply.
        if reply == opening.original {
            return Err(InsertError::Invalid);
        }
        for key in [&opening.original, &reply] {
            self.vacate(key)?;
        }
        self.make_room(opening.charged())?;

        let place = self.slab.next_place().ok_or(InsertError::Full)?;
        let first = self.index.insert(&opening.original, place, Dir::Original);
        let first = first.ok_or(InsertError::BucketFull)?;
        let Some(second) = self.index.insert(&reply, place, Dir::Reply) else {
            self.index.remove(first);
            return Err(InsertError::BucketFull);
        };
        let mut conn = Conn::new(opening, self.now, &self.config.timeouts);
        conn.slots = [first, second];
        conn.wake = self.wheel.schedule(place, conn.deadline, self.now);
        self.shares.charge(conn.charged, conn.shelf, place);
        self.slab.insert(conn).ok_or(InsertError::Full)
    }

    /// Removes the holder of `key` if it has ended.
    fn vacate(&mut self, key: &Tuple) -> Result<(), InsertError> {
        let Some((index, _)) = self.find(key) else { return Ok(()) };
        if self.slab.at(index).is_some_and(|conn| conn.deadline > self.now) {
            return Err(InsertError::Invalid);
        }
        self.unhook(index);
        self.stats.expired += 1;
        Ok(())
    }

    /// Sees to it that `owner` may have one more entry, and that there is one.
    fn make_room(&mut self, owner: Owner) -> Result<(), InsertError> {
        if self.over_quota(owner) || self.is_full() {
            self.expire(self.now, SWEEP);
        }
        if self.over_quota(owner) {
            let spare = self.shares.spare(owner).ok_or(InsertError::Quota)?;
            self.evict(spare);
        }
        if self.is_full() {
            let spare = self.shares.spare(owner);
            let spare = spare.or_else(|| self.shares.spare(self.shares.richest()?));
            self.evict(spare.ok_or(InsertError::Full)?);
        }
        Ok(())
    }

    fn over_quota(&self, owner: Owner) -> bool {
        self.shares.held(owner) >= self.config.owner_quota
    }

    fn is_full(&self) -> bool {
        self.slab.len() >= self.config.max_entries
    }

    fn evict(&mut self, index: u32) {
        match self.slab.at(index).map(|conn| conn.shelf) {
            Some(Shelf::Closed) => self.stats.evicted_closed += 1,
            Some(Shelf::Tentative | Shelf::Kept) => self.stats.evicted_unreplied += 1,
            None => {}
        }
        self.unhook(index);
    }

    fn find(&self, tuple: &Tuple) -> Option<(u32, Dir)> {
        self.index.find(tuple, |index, dir| {
            self.slab.at(index).is_some_and(|conn| match dir {
                Dir::Original => conn.original == *tuple,
                Dir::Reply => conn.reply == *tuple,
            })
        })
    }

    /// Takes an entry out of everything that knows it.
    fn unhook(&mut self, index: u32) {
        let Some(conn) = self.slab.at(index) else { return };
        for slot in conn.slots {
            self.index.remove(slot);
        }
        self.wheel.cancel(index, conn.wake);
        self.shares.release(conn.charged, conn.shelf, index);
        self.slab.remove(index);
    }
}
