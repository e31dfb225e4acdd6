//! That a connection is not there: found out once, and true until one is opened in its shard.
//!
//! Each shard counts what is opened in it. Who remembers the count from before a lookup that found nothing knows, as
//! long as the count is the same, that a lookup now would find nothing. One word is read, which is written only when
//! a connection opens. The count is raised after the connection is published and before the opener goes on: a worker
//! that a packet of the new connection can have reached sees both.

use super::table::ConnTable;
use super::tuple::Tuple;

/// See the module's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    opened: u64,
    shard: u8,
}

impl ConnTable {
    /// A witness that there is no connection with this tuple; `None` where there is one.
    pub fn witness(&self, tuple: &Tuple) -> Option<Witness> {
        let hash = self.hash(tuple);
        let shard = self.shard_of(hash.wrapping_add(self.hash(&tuple.reversed())));
        let opened = self.shards.get(shard)?.opened();
        let is_there = self.find(hash, &tuple.key()).is_some();
        (!is_there).then_some(Witness { opened, shard: shard as u8 })
    }

    /// True while nothing has been opened since that could be what was not there.
    #[inline]
    pub fn is_still_absent(&self, witness: Witness) -> bool {
        self.shards.get(usize::from(witness.shard)).is_some_and(|shard| shard.opened() == witness.opened)
    }
}
