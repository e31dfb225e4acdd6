//! Packets whose connection is known by name, from an earlier packet of their flow: no lookup, one entry.

use std::hint::black_box;

use crate::time::Timestamp;

use super::names::{ConnId, Dir};
use super::state::Signal;
use super::table::ConnTable;

impl ConnTable {
    /// [`ConnTable::update`] of a connection that is still there, has not ended and was allowed last by `generation`.
    /// Says whether the packet fits; `None`, and no change, where the connection has to be looked up and judged.
    #[inline]
    pub fn proceed(
        &self,
        id: ConnId,
        dir: Dir,
        generation: u64,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
    ) -> Option<bool> {
        let cell = self.cells.get(id.index)?;
        let judged = cell.generation(id.serial).map(u64::from) == Some(generation);
        let state = cell.state();
        let ended = state.deadline_ns() <= self.now().max(now.as_nanos()) || !state.is_of(id.serial);
        if !judged || ended {
            return None;
        }
        Some(self.update(id, dir, signal, bytes, now).is_ok())
    }

    /// Has the entries of connections brought into the cache, for packets that come to them soon.
    #[inline]
    pub fn bring(&self, ids: impl Iterator<Item = ConnId>) {
        let entries = ids.filter_map(|id| self.cells.get(id.index));
        black_box(entries.fold(0, |brought, cell| brought ^ cell.touch()));
    }
}
