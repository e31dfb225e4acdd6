//! The accounts of all owners.
//!
//! Shards keep a reference to each account they need, so this table is asked only when an owner opens its first
//! connection in a shard, when the table is full, and for showing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ahash::RandomState;

use super::account::Account;
use super::names::Owner;

type ByOwner = HashMap<Owner, Arc<Account>, RandomState>;

/// See the module's text.
pub(super) struct Accounts {
    by_owner: Mutex<ByOwner>,
}

impl Accounts {
    pub(super) fn new(seed: RandomState) -> Self {
        Self { by_owner: Mutex::new(HashMap::with_hasher(seed)) }
    }

    /// The account of `owner`, opened if it has none.
    pub(super) fn open(&self, owner: Owner) -> Arc<Account> {
        Arc::clone(self.lock().entry(owner).or_insert_with(|| Arc::new(Account::new())))
    }

    /// The account of `owner`.
    pub(super) fn find(&self, owner: Owner) -> Option<Arc<Account>> {
        self.lock().get(&owner).map(Arc::clone)
    }

    /// The owner with the most to spare; the one with the lowest number among equals. Looks at all owners.
    pub(super) fn richest(&self) -> Option<Owner> {
        let by_owner = self.lock();
        let spare = by_owner.iter().map(|(owner, account)| (account.spare(), *owner));
        let richest = spare
            .filter(|(spare, _)| *spare > 0)
            .max_by_key(|(spare, owner)| (*spare, std::cmp::Reverse(*owner)));
        richest.map(|(_, owner)| owner)
    }

    /// Closes the accounts that no shard refers to.
    pub(super) fn prune(&self) {
        self.lock().retain(|_, account| Arc::strong_count(account) > 1);
    }

    fn lock(&self) -> MutexGuard<'_, ByOwner> {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
