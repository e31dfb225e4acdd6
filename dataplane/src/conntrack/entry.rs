//! One connection as the table holds it.

use crate::time::Timestamp;

use super::names::{Dir, Owner};
use super::state::{Shelf, Signal, State, Step};
use super::timeouts::Timeouts;
use super::tuple::Tuple;

/// A tracked connection.
#[derive(Debug, Clone)]
pub struct Conn {
    /// The tuple of the packet that opened it.
    pub original: Tuple,
    /// The tuple of its replies.
    pub(super) reply: Tuple,
    /// The generation of the policy that allowed it last.
    pub generation: u64,
    /// The endpoint that opened it.
    pub source_owner: Owner,
    /// The endpoint it leads to.
    pub dest_owner: Owner,
    /// Whose share of the table it takes up.
    pub(super) charged: Owner,
    pub(super) state: State,
    replied: bool,
    assured: bool,
    /// Where its owner keeps it.
    pub(super) shelf: Shelf,
    /// False for a vacant place.
    pub(super) live: bool,
    pub(super) serial: u32,
    created: Timestamp,
    /// When it ends, unless a packet comes.
    pub(super) deadline: Timestamp,
    /// The tick at which the timer wheel looks at it; not later than the deadline's.
    pub(super) wake: u64,
    packets: [u64; 2],
    bytes: [u64; 2],
    /// The places of its two keys in the index.
    pub(super) slots: [u32; 2],
}

const _: () = assert!(size_of::<Conn>() <= 192);

/// What opens a connection.
pub(super) struct Opening {
    pub(super) original: Tuple,
    pub(super) source_owner: Owner,
    pub(super) dest_owner: Owner,
    pub(super) generation: u64,
    pub(super) state: State,
    pub(super) bytes: u32,
}

impl Opening {
    /// The owner to be charged: the end that opens, if it is here, else the end it opens to.
    pub(super) fn charged(&self) -> Owner {
        if self.source_owner == Owner::NONE { self.dest_owner } else { self.source_owner }
    }
}

impl Conn {
    pub(super) fn new(opening: &Opening, now: Timestamp, timeouts: &Timeouts) -> Self {
        let mut conn = Self {
            original: opening.original,
            reply: opening.original.reversed(),
            generation: opening.generation,
            source_owner: opening.source_owner,
            dest_owner: opening.dest_owner,
            charged: opening.charged(),
            state: opening.state,
            replied: false,
            assured: false,
            shelf: Shelf::Tentative,
            live: true,
            serial: 0,
            created: now,
            deadline: now,
            wake: 0,
            packets: [0; 2],
            bytes: [0; 2],
            slots: [0; 2],
        };
        conn.count(Dir::Original, opening.bytes);
        conn.refresh(now, timeouts);
        conn
    }

    /// Takes in a packet. `None` when it does not fit, and nothing has changed then; otherwise whether it
    /// began a new connection.
    pub(super) fn receive(
        &mut self,
        dir: Dir,
        signal: Signal,
        bytes: u32,
        now: Timestamp,
        timeouts: &Timeouts,
    ) -> Option<bool> {
        let reopened = match self.state.step(dir, signal) {
            Step::Invalid => return None,
            Step::Ignore => {
                self.replied |= dir == Dir::Reply && signal != Signal::Continuation;
                false
            }
            Step::Move(state) => {
                self.state = state;
                self.replied |= dir == Dir::Reply;
                self.assured |= state.assures(self.replied);
                self.refresh(now, timeouts);
                false
            }
            Step::Reopen => {
                self.state = self.state.reopened();
                self.replied = false;
                self.assured = false;
                self.created = now;
                self.packets = [0; 2];
                self.bytes = [0; 2];
                self.refresh(now, timeouts);
                true
            }
        };
        self.count(dir, bytes);
        Some(reopened)
    }

    fn refresh(&mut self, now: Timestamp, timeouts: &Timeouts) {
        let age = now.since(self.created);
        self.deadline = now.plus(self.state.timeout(self.replied, age, timeouts));
    }

    fn count(&mut self, dir: Dir, bytes: u32) {
        let (Some(packets), Some(total)) =
            (self.packets.get_mut(dir.index()), self.bytes.get_mut(dir.index()))
        else {
            return;
        };
        *packets = packets.saturating_add(1);
        *total = total.saturating_add(u64::from(bytes));
    }

    /// The shelf it belongs on now.
    pub(super) fn wanted_shelf(&self) -> Shelf {
        self.state.shelf(self.assured)
    }

    /// The tuple of its replies.
    pub fn reply(&self) -> &Tuple {
        &self.reply
    }

    /// True once a packet came back.
    pub fn replied(&self) -> bool {
        self.replied
    }

    /// True once it is not given up for a new one: handshake done, or answered where there is none.
    pub fn assured(&self) -> bool {
        self.assured
    }

    /// When it was opened, or reopened.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When it ends unless another packet comes.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Packets that fitted, in one direction.
    pub fn packets(&self, dir: Dir) -> u64 {
        self.packets.get(dir.index()).copied().unwrap_or_default()
    }

    /// Bytes of those packets, as the caller counts them.
    pub fn bytes(&self, dir: Dir) -> u64 {
        self.bytes.get(dir.index()).copied().unwrap_or_default()
    }

    /// The state by netfilter's name; `UNREPLIED` or `ASSURED` where the protocol has no states.
    pub fn state_name(&self) -> &'static str {
        let stateless = if self.replied { "ASSURED" } else { "UNREPLIED" };
        self.state.name().unwrap_or(stateless)
    }
}
