//! The flow cache: for each flow of late, what the stages would do with its next packet.
//!
//! Key: addresses, protocol, L4 ports, and the packet's [`Context`]: port, MACs and on the underlay the peer. Value: the
//! name of its connection and its [`Decision`]. Nothing else is remembered: no verdict (the connection's own
//! generation is asked for with every packet, in the connection table) and no counter.
//!
//! ```text
//!   key ─hash─► set of 4 (tag, place) ─► entry: key, connection, epoch ─┬─► context  (shared by the flows of a pod)
//!                                                                       └─► decision (shared by what goes one way)
//! ```
//! 64 bytes an entry and 8 in the sets; memory is touched as flows come. As many entries as the connection table has
//! keys, two million at the most; in a full set one of the four gives way.
//!
//! # When it is wrong
//! Never: everything in it belongs to an *epoch*, which ends with each generation and with each change of a port
//! ([`FlowCache::forget`]); an entry of another epoch is none. A connection that has ended, or was judged by another
//! generation, is found out by the table when the packet is put to it. A place may be another flow's as soon as something
//! has been remembered since it was [verified](FlowCache::verified): then it has to be verified again.
//!
//! # Hostile keys
//! The hash is keyed per worker. A flow enters with its second packet, so that a flood of new ones pushes nobody out.
//! A miss costs the look at one set.

use std::collections::HashMap;
use std::net::IpAddr;

use ahash::RandomState;
use vxlan::mtu::Family;

use super::bindings::PortId;
use super::forward::Hop;
use super::glance::{FlowKey, Glance, Macs};
use super::refusals::Refusals;
use crate::conntrack::{ConnId, Dir};
use crate::sys::huge::{self, HugeSlice};
use crate::tables::Party;

const WAYS: usize = 4;
const VACANT: u64 = 0;
const LEAST_ENTRIES: usize = 1024;
const MOST_ENTRIES: usize = 1 << 21;
/// Most contexts and decisions of one epoch: more pods and nodes than that have flows that go the long way.
const MOST_SHARED: usize = 1 << 14;

/// Where a packet came from, beside what its IP header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Context {
    pub(super) from: PortId,
    pub(super) macs: Macs,
    /// The other VTEP's address, on packets from the underlay.
    pub(super) peer: Option<IpAddr>,
}

/// What selects a [`Decision`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) party: Party,
    pub(super) family: Family,
    pub(super) routed: bool,
}

/// What happens to a flow's packets.
#[derive(Debug, Clone)]
pub(super) struct Decision {
    pub(super) hop: Hop,
    /// The TTL goes down by one.
    pub(super) routed: bool,
}

/// A flow.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Entry {
    key: FlowKey,
    pub(super) connection: ConnId,
    epoch: u32,
    context: u16,
    decision: u16,
    /// Outer source port of what goes into the tunnel.
    pub(super) source_port: u16,
    pub(super) dir: Dir,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// What is to be remembered of a flow.
pub(super) struct Flow {
    pub(super) key: FlowKey,
    pub(super) context: Context,
    pub(super) destination: Destination,
    pub(super) connection: ConnId,
    pub(super) dir: Dir,
    pub(super) source_port: u16,
}

/// The cache.
pub(super) struct FlowCache {
    sets: HugeSlice<[u64; WAYS]>,
    mask: usize,
    entries: Vec<Entry>,
    limit: usize,
    contexts: Vec<Context>,
    context_numbers: HashMap<Context, u16, RandomState>,
    decisions: Vec<Decision>,
    decision_numbers: HashMap<Destination, u16, RandomState>,
    pub(super) refusals: Refusals,
    epoch: u32,
    next_way: usize,
    seed: RandomState,
}

impl FlowCache {
    /// An empty one, for a connection table of `connections` entries.
    pub(super) fn new(connections: usize) -> Self {
        Self::holding(connections.saturating_mul(2).clamp(LEAST_ENTRIES, MOST_ENTRIES).next_power_of_two())
    }

    /// An empty one for `limit` flows: a power of two, no less than the ways of a set.
    pub(super) fn holding(limit: usize) -> Self {
        let sets = limit / WAYS;
        let entries = Vec::with_capacity(limit);
        huge::advise(&entries);
        Self {
            // Zeros are vacant.
            sets: HugeSlice::new(sets),
            mask: sets - 1,
            entries,
            limit,
            contexts: Vec::new(),
            context_numbers: HashMap::default(),
            decisions: Vec::new(),
            decision_numbers: HashMap::default(),
            refusals: Refusals::new(),
            epoch: 0,
            next_way: 0,
            seed: RandomState::new(),
        }
    }

    /// Begins a new epoch: what was remembered counts no more.
    pub(super) fn forget(&mut self) {
        self.contexts.clear();
        self.context_numbers.clear();
        self.decisions.clear();
        self.decision_numbers.clear();
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            // An entry that slept through all epochs would be believed again.
            self.sets.fill([VACANT; WAYS]);
            self.entries.clear();
            self.refusals = Refusals::new();
        }
    }

    /// What all that counts belongs to.
    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The hash of a key, for [`FlowCache::candidate`].
    pub(super) fn hash(&self, key: &FlowKey) -> u64 {
        key.hash(&self.seed)
    }

    /// Has the set of a hash brought into the cache, for [`FlowCache::candidate`].
    #[inline]
    pub(super) fn bring_set(&self, hash: u64) {
        self.sets.prefetch(hash as usize & self.mask);
    }

    /// Has an entry brought into the cache, for [`FlowCache::verified`].
    #[inline]
    pub(super) fn bring_entry(&self, place: u32) {
        if let Some(entry) = self.entries.get(place as usize) {
            huge::prefetch(entry);
        }
    }

    /// The entry whose tag agrees; to be verified. Reads the set alone.
    #[inline]
    pub(super) fn candidate(&self, hash: u64) -> Option<u32> {
        let set = self.sets.get(hash as usize & self.mask)?;
        let tag = tag(hash);
        let way = set.iter().find(|word| **word >> 32 == tag)?;
        (*way as u32).checked_sub(1)
    }

    /// The entry at `place`, if it is that flow's and of this epoch.
    #[inline]
    pub(super) fn verified(&self, place: u32, glance: &Glance, from: PortId, peer: Option<IpAddr>) -> bool {
        let Some(entry) = self.entries.get(place as usize) else { return false };
        if entry.epoch != self.epoch || !entry.key.is(&glance.key) {
            return false;
        }
        self.contexts.get(usize::from(entry.context)).is_some_and(|context| {
            context.from == from && context.macs == glance.macs && context.peer == peer
        })
    }

    /// The connection of the flow at `place`.
    #[inline]
    pub(super) fn connection(&self, place: u32) -> Option<ConnId> {
        self.entries.get(place as usize).map(|entry| entry.connection)
    }

    /// The entry at `place` and what happens to its packets, if it is of this epoch.
    #[inline]
    pub(super) fn at(&self, place: u32) -> Option<(&Entry, &Decision)> {
        let entry = self.entries.get(place as usize).filter(|entry| entry.epoch == self.epoch)?;
        Some((entry, self.decisions.get(usize::from(entry.decision))?))
    }

    /// Remembers a flow, whose decision `hop` leads to where it is new.
    pub(super) fn remember(&mut self, flow: &Flow, hop: &Hop) {
        let Some(context) =
            number(&mut self.contexts, &mut self.context_numbers, flow.context, || flow.context)
        else {
            return;
        };
        let decide = || Decision { hop: hop.clone(), routed: flow.destination.routed };
        let Some(decision) =
            number(&mut self.decisions, &mut self.decision_numbers, flow.destination, decide)
        else {
            return;
        };
        let entry = Entry {
            key: flow.key,
            connection: flow.connection,
            epoch: self.epoch,
            context,
            decision,
            source_port: flow.source_port,
            dir: flow.dir,
        };
        let hash = self.hash(&flow.key);
        if let Some(place) = self.place(hash)
            && let Some(slot) = self.entries.get_mut(place as usize)
        {
            *slot = entry;
        } else if self.entries.len() < self.limit {
            let place = self.entries.len() as u32;
            self.entries.push(entry);
            self.enter(hash, place);
        }
    }

    /// The place that this hash has or is to take over; `None` where a way is vacant.
    fn place(&mut self, hash: u64) -> Option<u32> {
        if let Some(place) = self.candidate(hash) {
            return Some(place);
        }
        let (entries, epoch) = (&self.entries, self.epoch);
        let set = self.sets.get_mut(hash as usize & self.mask)?;
        if set.contains(&VACANT) {
            return None;
        }
        let place_of = |word: u64| (word as u32).checked_sub(1);
        let is_old = |word: u64| {
            place_of(word)
                .and_then(|place| entries.get(place as usize))
                .is_some_and(|entry| entry.epoch != epoch)
        };
        self.next_way = (self.next_way + 1) % WAYS;
        let way = set.iter().position(|word| is_old(*word)).unwrap_or(self.next_way);
        let word = set.get_mut(way)?;
        let place = place_of(*word)?;
        *word = tag(hash) << 32 | u64::from(place + 1);
        Some(place)
    }

    fn enter(&mut self, hash: u64, place: u32) {
        let set = self.sets.get_mut(hash as usize & self.mask);
        if let Some(word) = set.and_then(|set| set.iter_mut().find(|word| **word == VACANT)) {
            *word = tag(hash) << 32 | u64::from(place + 1);
        }
    }
}

/// The half of the hash that does not choose the set.
const fn tag(hash: u64) -> u64 {
    hash >> 32
}

/// The number of `key`, which `make` gives a value if it is new; `None` when there are too many.
fn number<K: Copy + Eq + std::hash::Hash, V>(
    values: &mut Vec<V>,
    numbers: &mut HashMap<K, u16, RandomState>,
    key: K,
    make: impl FnOnce() -> V,
) -> Option<u16> {
    if let Some(known) = numbers.get(&key) {
        return Some(*known);
    }
    if values.len() >= MOST_SHARED {
        return None;
    }
    let number = u16::try_from(values.len()).ok()?;
    values.push(make());
    numbers.insert(key, number);
    Some(number)
}
