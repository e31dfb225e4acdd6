//! Who holds how much of a shard, and what each could spare.
//!
//! One record an owner: how many entries are charged to it here, and two *shelves*, lists by age of those that may
//! be evicted. What an owner holds of the whole table is its [`Account`]. Records come with an owner's first entry
//! and go when its endpoint has gone; owners are endpoints attached here, so no packet can make one. Every operation
//! costs a hash lookup.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use super::account::Account;
use super::accounts::Accounts;
use super::links::{Links, List};
use super::names::Owner;
use super::state::Shelf;

struct Share {
    account: Arc<Account>,
    entries: usize,
    closed: List,
    tentative: List,
}

/// Numbers of shelves in the links.
const fn number(shelf: Shelf) -> u64 {
    match shelf {
        Shelf::Kept => 0,
        Shelf::Closed => 1,
        Shelf::Tentative => 2,
    }
}

impl Share {
    fn list(&mut self, shelf: u64) -> Option<&mut List> {
        match shelf {
            1 => Some(&mut self.closed),
            2 => Some(&mut self.tentative),
            _ => None,
        }
    }

    fn put(&mut self, links: &Links, shelf: Shelf, place: u32) {
        let number = number(shelf);
        match self.list(number) {
            Some(list) => {
                links.push(list, number, place);
                self.account.shelved();
            }
            None => links.leave_out(place, number),
        }
    }

    fn take(&mut self, links: &Links, place: u32) {
        if let Some(list) = links.list_of(place).and_then(|number| self.list(number)) {
            links.unlink(list, place);
            self.account.unshelved();
        }
    }
}

/// The shares of all owners in one shard.
pub(super) struct Shares {
    by_owner: HashMap<Owner, Share, RandomState>,
}

impl Shares {
    pub(super) fn new(seed: RandomState) -> Self {
        Self { by_owner: HashMap::with_hasher(seed) }
    }

    /// The account of `owner`.
    pub(super) fn account(&mut self, owner: Owner, accounts: &Accounts) -> &Account {
        let share = self.by_owner.entry(owner).or_insert_with(|| Share {
            account: accounts.open(owner),
            entries: 0,
            closed: List::EMPTY,
            tentative: List::EMPTY,
        });
        &share.account
    }

    /// Charges `owner` with the entry at `place`, which its account has already been counted for.
    pub(super) fn charge(&mut self, links: &Links, owner: Owner, shelf: Shelf, place: u32) {
        let Some(share) = self.by_owner.get_mut(&owner) else { return };
        share.entries += 1;
        share.put(links, shelf, place);
    }

    /// Takes back [`Shares::charge`], and the count of the account.
    pub(super) fn release(&mut self, links: &Links, owner: Owner, place: u32) {
        let Some(share) = self.by_owner.get_mut(&owner) else { return };
        share.take(links, place);
        share.entries = share.entries.saturating_sub(1);
        share.account.release();
    }

    /// Moves the entry at `place` to the end of another shelf, unless it stands on that one.
    pub(super) fn reshelve(&mut self, links: &Links, owner: Owner, shelf: Shelf, place: u32) {
        if links.list_of(place) == Some(number(shelf)) {
            return;
        }
        let Some(share) = self.by_owner.get_mut(&owner) else { return };
        share.take(links, place);
        share.put(links, shelf, place);
    }

    /// What `owner` misses least.
    pub(super) fn spare(&self, owner: Owner) -> Option<u32> {
        let share = self.by_owner.get(&owner)?;
        share.closed.first().or_else(|| share.tentative.first())
    }

    /// Forgets the owners that hold nothing here.
    pub(super) fn prune(&mut self) {
        self.by_owner.retain(|_, share| share.entries > 0);
    }

    /// Bytes in use, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.by_owner.capacity() * (size_of::<(Owner, Share)>() + 1)
    }
}
