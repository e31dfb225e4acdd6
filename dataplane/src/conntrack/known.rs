//! Packets whose connection is known by name, from an earlier packet of their flow: no lookup, one entry.

use crate::time::Timestamp;

use super::life::{Effect, receive};
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
        let latest = self.tell(now);
        // Those of `Cell::advance`, in its order.
        let state = cell.state();
        let judged = cell.generation(id.serial).map(u64::from) == Some(generation);
        let ended = state.deadline_ns() <= latest.as_nanos() || !state.is_of(id.serial);
        if !judged || ended {
            return None;
        }
        // Nearly all change nothing but the deadline, and that only every 50 ms.
        if let Some((bits, Effect::Refresh)) = receive(state.life(), dir, signal)
            && bits == state.life()
            && state.with(self.patience.state(bits, cell.meta().created_ms, latest)) == state
        {
            cell.count(dir, bytes);
            return Some(true);
        }
        Some(self.update(id, dir, signal, bytes, now).is_ok())
    }

    /// Has the entries of connections brought into the cache, for packets that come to them soon.
    #[inline]
    pub fn bring(&self, ids: impl Iterator<Item = ConnId>) {
        for id in ids {
            self.cells.bring(id.index);
        }
    }
}
