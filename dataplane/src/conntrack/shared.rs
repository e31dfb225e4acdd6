//! The table as all workers hold it: one, behind an `Arc`, every call by shared reference.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use crate::time::Timestamp;

use super::entry::Conn;
use super::names::{ConnId, Dir, Owner};
use super::outcome::{ConntrackStats, InsertError, Invalid, Updated};
use super::state::Signal;
use super::table::{ConntrackConfig, Table};
use super::tuple::Tuple;

/// The connection table.
pub struct ConnTable {
    table: Mutex<Table>,
}

impl ConnTable {
    /// An empty table. Its hash is keyed by `seed`, which is to be random in production.
    pub fn new(config: ConntrackConfig, seed: RandomState) -> Self {
        Self { table: Mutex::new(Table::new(config, seed)) }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection a packet with this tuple belongs to, and which way it goes.
    pub fn lookup(&self, tuple: &Tuple) -> Option<(ConnId, Dir)> {
        self.table().lookup(tuple)
    }

    /// [`ConnTable::lookup`] for a batch, as many as `tuples` and `found` have in common: the waits for memory
    /// overlap.
    pub fn lookup_batch(&self, tuples: &[Tuple], found: &mut [Option<(ConnId, Dir)>]) {
        for (tuple, found) in tuples.iter().zip(found) {
            *found = self.lookup(tuple);
        }
    }

    /// What is known of the connection of that name, if it is still there: a copy, for showing and judging it.
    pub fn get(&self, id: ConnId) -> Option<Conn> {
        self.table().get(id).cloned()
    }

    /// The generation of the policy that allowed the connection of that name last, if it is still there.
    pub fn generation(&self, id: ConnId) -> Option<u64> {
        self.table().get(id).map(|conn| conn.generation)
    }

    /// Remembers that the policy of `generation` allows the connection of that name, if it is still there.
    pub fn mark_judged(&self, id: ConnId, generation: u64) {
        if let Some(conn) = self.table().get_mut(id) {
            conn.generation = generation;
        }
    }

    /// True when such a packet may open a connection, if the policy allows it: a TCP SYN alone, an SCTP INIT,
    /// an echo request, any UDP datagram, any packet of an untracked protocol.
    pub const fn may_open(signal: Signal) -> bool {
        signal.may_open()
    }

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
        self.table().insert(tuple, source_owner, dest_owner, generation, signal, bytes, now)
    }

    /// Takes a packet into its connection: state, timeout, counters.
    pub fn update(
        &self,
        id: ConnId,
        dir: Dir,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
    ) -> Result<Updated, Invalid> {
        self.table().update(id, dir, signal, bytes, now)
    }

    /// Removes a connection, if it is still there.
    pub fn remove(&self, id: ConnId) {
        self.table().remove(id);
    }

    /// Says what time it is: whatever has ended by then is found no more. Removes entries that ended, looking
    /// at `budget` entries at the most; returns how many it removed. To be called with each batch.
    pub fn expire(&self, now: Timestamp, budget: usize) -> usize {
        self.table().expire(now, budget)
    }

    /// Entries taken, those that ended and were not removed yet included.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// True when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size it was made with.
    pub fn capacity(&self) -> usize {
        self.table().capacity()
    }

    /// Entries charged to `owner`.
    pub fn held_by(&self, owner: Owner) -> usize {
        self.table().held_by(owner)
    }

    /// All connections, in no order. For showing them: not for the packet path.
    pub fn iter(&self) -> impl Iterator<Item = (ConnId, Conn)> {
        self.table().iter().map(|(id, conn)| (id, conn.clone())).collect::<Vec<_>>().into_iter()
    }

    /// What happened so far.
    pub fn stats(&self) -> ConntrackStats {
        self.table().stats()
    }

    /// Looks at `budget` places from `from` on and removes the connections that `is_over` says yes to. Returns
    /// where to go on, `None` once the end is reached. For what ends many connections at once and is no packet
    /// and no timeout: a little of it at a time, so that packets need not wait.
    pub fn purge(&self, from: u32, budget: u32, is_over: impl Fn(&Conn) -> bool) -> Option<u32> {
        self.table().purge(from, budget, is_over)
    }

    /// Removes every connection from or to `owner`; returns how many. Reads the whole table: for an endpoint
    /// that goes away.
    pub fn remove_owner(&self, owner: Owner) -> usize {
        self.table().remove_owner(owner)
    }
}
