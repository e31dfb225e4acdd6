//! The connection table as all workers hold it: finding connections and taking in their packets, without a lock.
//!
//! How connections are opened, and room made for them, is in `room`; how they end in `ending`. What a packet means
//! to its connection is decided in `state`; what the table does when full, and what it costs, is in the text of
//! [`crate::conntrack`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ahash::RandomState;

use crate::time::Timestamp;

use super::accounts::Accounts;
use super::cell::{Cell, Change, Key};
use super::ending::PURGED;
use super::entry::{Conn, MS, Owners};
use super::index::Index;
use super::life::{Effect, Life, Patience, receive};
use super::links::Links;
use super::names::{ConnId, Dir, Owner};
use super::outcome::{ConntrackStats, Invalid, Updated};
use super::places::Places;
use super::shard::Shard;
use super::state::{Shelf, Signal};
use super::timeouts::Timeouts;
use super::tuple::Tuple;
use super::word::Word;

/// Largest table that can be asked for; links and index have room for numbers of 27 and 30 bits.
const MAX_ENTRIES: usize = 1 << 24;
/// Entries for which one more shard is made, and the most shards there are: a bit for each in a word.
const ENTRIES_PER_SHARD: usize = 4096;
pub(super) const MAX_SHARDS: usize = 64;

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

/// What every packet reads and hardly any writes, on a line of its own.
#[repr(align(128))]
pub(super) struct Tide {
    /// The latest time that anyone told.
    now: AtomicU64,
    /// The tick that all wheels have been emptied up to.
    pub(super) swept: AtomicU64,
    /// A bit for each shard whose bookkeeping is behind.
    pub(super) restless: AtomicU64,
}

/// What is counted without a lock.
#[repr(align(128))]
pub(super) struct Tallies {
    pub(super) invalid: AtomicU64,
    pub(super) reopened: AtomicU64,
}

/// The connection table.
pub struct ConnTable {
    pub(super) cells: Places<Cell>,
    pub(super) owners: Places<AtomicU64>,
    pub(super) timer_links: Links,
    pub(super) shelf_links: Links,
    /// Links of the stacks of places.
    pub(super) next: Places<AtomicU32>,
    pub(super) index: Index,
    pub(super) seed: RandomState,
    pub(super) shards: Box<[Shard]>,
    pub(super) accounts: Accounts,
    pub(super) config: ConntrackConfig,
    pub(super) patience: Patience,
    /// Places that were ever used.
    pub(super) places: AtomicU32,
    /// The search for connections of pods that are gone: the generation it is for above, below the place it has come to.
    pub(super) purge: AtomicU64,
    pub(super) tide: Tide,
    pub(super) tallies: Tallies,
}

/// A connection as a lookup sees it.
pub(super) struct Found {
    pub(super) place: u32,
    pub(super) dir: Dir,
    pub(super) serial: u32,
    pub(super) state: Word,
}

impl Found {
    /// Its name, unless it has ended.
    #[inline]
    pub(super) fn at(self, now: u64) -> Option<(ConnId, Dir)> {
        let id = ConnId { index: self.place, serial: self.serial };
        (self.state.deadline_ns() > now).then_some((id, self.dir))
    }
}

impl ConnTable {
    /// An empty table. Its hash is keyed by `seed`, which is to be random in production.
    pub fn new(config: ConntrackConfig, seed: RandomState) -> Self {
        let limit = config.max_entries.clamp(1, MAX_ENTRIES);
        let shards = (limit / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
        Self {
            cells: Places::new(limit),
            owners: Places::new(limit),
            timer_links: Links::new(limit),
            shelf_links: Links::new(limit),
            next: Places::new(limit),
            index: Index::new(limit),
            shards: (0..shards).map(|_| Shard::new(seed.clone())).collect(),
            accounts: Accounts::new(seed.clone()),
            seed,
            patience: Patience::of(&config.timeouts),
            config: ConntrackConfig { max_entries: limit, ..config },
            places: AtomicU32::new(0),
            purge: AtomicU64::new(PURGED as u64),
            tide: Tide { now: AtomicU64::new(0), swept: AtomicU64::new(0), restless: AtomicU64::new(0) },
            tallies: Tallies { invalid: AtomicU64::new(0), reopened: AtomicU64::new(0) },
        }
    }

    /// An empty table, its hash keyed at random.
    pub fn keyed_at_random(config: ConntrackConfig) -> Self {
        Self::new(config, RandomState::new())
    }

    /// The connection a packet with this tuple belongs to, and which way it goes.
    pub fn lookup(&self, tuple: &Tuple) -> Option<(ConnId, Dir)> {
        self.find(self.hash(tuple), &tuple.key())?.at(self.now())
    }

    /// The connection of that name, if it is still there: a copy, for showing and judging it.
    pub fn get(&self, id: ConnId) -> Option<Conn> {
        self.conn_at(id.index).filter(|(found, _)| *found == id).map(|(_, conn)| conn)
    }

    /// The generation of the policy that allowed the connection of that name last, if it is still there. Numbers
    /// from 2^32 on are not kept: connections of such generations are judged with every packet.
    #[inline]
    pub fn generation(&self, id: ConnId) -> Option<u64> {
        self.cells.get(id.index)?.generation(id.serial).map(u64::from)
    }

    /// Remembers that the policy of `generation` allows the connection of that name, if it is still there.
    pub fn mark_judged(&self, id: ConnId, generation: u64) {
        if let Some(cell) = self.cells.get(id.index) {
            cell.mark_judged(id.serial, short(generation));
        }
    }

    /// True when such a packet may open a connection, if the policy allows it: a TCP SYN alone, an SCTP INIT,
    /// an echo request, any UDP datagram, any packet of an untracked protocol.
    pub const fn may_open(signal: Signal) -> bool {
        signal.may_open()
    }

    /// Takes a packet into its connection: state, timeout, counters. One entry is read, whose name may have been
    /// kept since an earlier packet: a connection that ended meanwhile, or had ended by `now`, takes none.
    #[inline]
    pub fn update(
        &self,
        id: ConnId,
        dir: Dir,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
    ) -> Result<Updated, Invalid> {
        let latest = self.tell(now);
        let updated = self.cells.get(id.index).and_then(|cell| {
            let meta = cell.meta();
            let change = cell.advance(id.serial, |word| {
                if word.deadline_ns() <= now.as_nanos() {
                    return None;
                }
                let (bits, effect) = receive(word.life(), dir, signal)?;
                let new = match effect {
                    Effect::Pass => word.with_life(bits),
                    Effect::Refresh => word.with(self.patience.state(bits, meta.created_ms, latest)),
                    Effect::Reopen => word.with(self.patience.state(bits, latest.as_nanos() / MS, latest)),
                };
                // What stands on another shelf, or ends sooner, has to be hung up elsewhere.
                let moves = bits != word.life()
                    && (shelf(bits) != shelf(word.life()) || new.deadline_ns() < word.deadline_ns());
                Some((if moves { new.moved() } else { new }, effect))
            })?;
            Some((cell, meta.shard, change))
        });
        let Some((cell, shard, Change { old, new, answer })) = updated else {
            self.tallies.invalid.fetch_add(1, Ordering::Relaxed);
            return Err(Invalid);
        };
        if new.is_moved() && !old.is_moved() {
            self.note_moved(id.index, shard);
        }
        let reopened = answer == Effect::Reopen;
        if reopened {
            cell.begin_again(latest.as_nanos() / MS);
            self.tallies.reopened.fetch_add(1, Ordering::Relaxed);
        }
        cell.count(dir, bytes);
        Ok(Updated { reopened })
    }

    /// Entries taken, those that ended and were not removed yet included.
    pub fn len(&self) -> usize {
        self.shards.iter().map(Shard::entries).sum()
    }

    /// True when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size it was made with.
    pub fn capacity(&self) -> usize {
        self.config.max_entries
    }

    /// Entries charged to `owner`.
    pub fn held_by(&self, owner: Owner) -> usize {
        self.accounts.find(owner).map_or(0, |account| account.entries())
    }

    /// All connections, in no order. For showing them: not for the packet path. What comes or goes meanwhile may be
    /// among them or not.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, Conn)> {
        let places = self.places.load(Ordering::Relaxed);
        let conns = (0..places).filter_map(|place| self.conn_at(place));
        conns.filter(|(_, conn)| conn.deadline.as_nanos() > self.now())
    }

    /// What happened so far.
    pub fn stats(&self) -> ConntrackStats {
        let mut sum = ConntrackStats {
            invalid: self.tallies.invalid.load(Ordering::Relaxed),
            reopened: self.tallies.reopened.load(Ordering::Relaxed),
            ..ConntrackStats::default()
        };
        for shard in &self.shards {
            sum.add(&shard.lock().stats);
        }
        sum
    }

    /// Memory in use: entries as far as they were ever needed, index, lists and wheels.
    pub fn memory_bytes(&self) -> usize {
        let shard = |shard: &Shard| {
            let held = shard.lock();
            size_of::<Shard>() + held.wheel.memory_bytes() + held.shares.memory_bytes()
        };
        let used = self.places.load(Ordering::Relaxed) as usize;
        let links = self.timer_links.memory_bytes(used) + self.shelf_links.memory_bytes(used);
        let places =
            self.cells.memory_bytes(used) + self.owners.memory_bytes(used) + self.next.memory_bytes(used);
        places + links + self.index.memory_bytes() + self.shards.iter().map(shard).sum::<usize>()
    }

    #[inline]
    pub(super) fn hash(&self, tuple: &Tuple) -> u64 {
        self.seed.hash_one(tuple)
    }

    /// The entry with the key, whether it has ended or not.
    #[inline]
    pub(super) fn find(&self, hash: u64, key: &Key) -> Option<Found> {
        self.index.find(hash, |place, dir| {
            let (serial, state) = self.cells.get(place)?.find(key, dir)?;
            Some(Found { place, dir, serial, state })
        })
    }

    /// The connection at a place.
    pub(super) fn conn_at(&self, place: u32) -> Option<(ConnId, Conn)> {
        let cell = self.cells.get(place)?;
        let snapshot = cell.snapshot()?;
        let owners = self.owners_at(place);
        let id = ConnId { index: place, serial: snapshot.serial };
        cell.still(id.serial).then(|| (id, Conn::of(&snapshot, owners)))
    }

    pub(super) fn owners_at(&self, place: u32) -> Owners {
        let word = self.owners.get(place).map(|word| word.load(Ordering::Relaxed));
        Owners::unpack(word.unwrap_or(u64::MAX))
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.tide.now.load(Ordering::Relaxed)
    }

    /// Takes note of the time; returns the latest that anyone told.
    #[inline]
    pub(super) fn tell(&self, now: Timestamp) -> Timestamp {
        let (told, known) = (now.as_nanos(), self.now());
        if told <= known {
            return Timestamp::from_nanos(known);
        }
        Timestamp::from_nanos(self.tide.now.fetch_max(told, Ordering::Relaxed).max(told))
    }
}

fn shelf(bits: u16) -> Shelf {
    Life::unpack(bits).shelf()
}

/// A generation as entries keep it. The greatest stands for all that do not fit, and is equal to none of them.
pub(super) fn short(generation: u64) -> u32 {
    u32::try_from(generation).unwrap_or(u32::MAX)
}
