//! Who holds how much of the table, and what each could spare.
//!
//! One record an owner: how many entries are charged to it, and two *shelves*, lists by age of those that may
//! be evicted. Records come with an owner's first entry and go with its last; owners are endpoints attached
//! here, so no packet can make one. Every operation costs a hash lookup, but for [`Shares::richest`], which
//! looks at all owners.

use std::collections::HashMap;

use ahash::RandomState;

use super::links::{Links, List};
use super::names::Owner;
use super::state::Shelf;

struct Share {
    entries: usize,
    evictable: usize,
    closed: List,
    tentative: List,
}

impl Share {
    const EMPTY: Self = Self { entries: 0, evictable: 0, closed: List::EMPTY, tentative: List::EMPTY };

    fn list(&mut self, shelf: Shelf) -> Option<&mut List> {
        match shelf {
            Shelf::Closed => Some(&mut self.closed),
            Shelf::Tentative => Some(&mut self.tentative),
            Shelf::Kept => None,
        }
    }

    fn put(&mut self, links: &mut Links, shelf: Shelf, index: u32) {
        if let Some(list) = self.list(shelf) {
            links.push(list, index);
            self.evictable += 1;
        }
    }

    fn take(&mut self, links: &mut Links, shelf: Shelf, index: u32) {
        if let Some(list) = self.list(shelf) {
            links.unlink(list, index);
            self.evictable = self.evictable.saturating_sub(1);
        }
    }
}

/// The shares of all owners.
pub(super) struct Shares {
    by_owner: HashMap<Owner, Share, RandomState>,
    links: Links,
}

impl Shares {
    pub(super) fn new(capacity: usize, seed: RandomState) -> Self {
        Self { by_owner: HashMap::with_capacity_and_hasher(256, seed), links: Links::new(capacity) }
    }

    /// How many entries are charged to `owner`.
    pub(super) fn held(&self, owner: Owner) -> usize {
        self.by_owner.get(&owner).map_or(0, |share| share.entries)
    }

    /// Charges `owner` with the entry `index`.
    pub(super) fn charge(&mut self, owner: Owner, shelf: Shelf, index: u32) {
        let share = self.by_owner.entry(owner).or_insert(Share::EMPTY);
        share.entries += 1;
        share.put(&mut self.links, shelf, index);
    }

    /// Takes back [`Shares::charge`].
    pub(super) fn release(&mut self, owner: Owner, shelf: Shelf, index: u32) {
        let Some(share) = self.by_owner.get_mut(&owner) else { return };
        share.take(&mut self.links, shelf, index);
        share.entries = share.entries.saturating_sub(1);
        if share.entries == 0 {
            self.by_owner.remove(&owner);
        }
    }

    /// Moves the entry `index` to the end of another shelf.
    pub(super) fn reshelve(&mut self, owner: Owner, from: Shelf, to: Shelf, index: u32) {
        let Some(share) = self.by_owner.get_mut(&owner) else { return };
        share.take(&mut self.links, from, index);
        share.put(&mut self.links, to, index);
    }

    /// What `owner` misses least.
    pub(super) fn spare(&self, owner: Owner) -> Option<u32> {
        let share = self.by_owner.get(&owner)?;
        share.closed.first().or_else(|| share.tentative.first())
    }

    /// The owner with the most to spare; the one with the lowest number among equals.
    pub(super) fn richest(&self) -> Option<Owner> {
        let spare = self.by_owner.iter().filter(|(_, share)| share.evictable > 0);
        let richest = spare.max_by_key(|(owner, share)| (share.evictable, std::cmp::Reverse(**owner)));
        richest.map(|(owner, _)| *owner)
    }
}
