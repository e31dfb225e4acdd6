//! One connection as it is shown: a copy of what its entry held at one moment.

use crate::time::Timestamp;

use super::cell::Snapshot;
use super::life::Life;
use super::names::{Dir, Owner};
use super::state::State;
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
    pub(super) life: Life,
    pub(super) created: Timestamp,
    pub(super) deadline: Timestamp,
    pub(super) packets: [u64; 2],
    pub(super) bytes: [u64; 2],
}

/// Both ends' owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owners {
    pub(super) source: Owner,
    pub(super) dest: Owner,
}

impl Owners {
    /// The owner to be charged: the end that opens, if it is here, else the end it opens to.
    pub(super) fn charged(self) -> Owner {
        if self.source == Owner::NONE { self.dest } else { self.source }
    }

    pub(super) const fn pack(self) -> u64 {
        (self.source.0 as u64) << 32 | self.dest.0 as u64
    }

    pub(super) const fn unpack(word: u64) -> Self {
        Self { source: Owner((word >> 32) as u32), dest: Owner(word as u32) }
    }
}

/// What opens a connection.
pub(super) struct Opening {
    pub(super) original: Tuple,
    pub(super) owners: Owners,
    pub(super) generation: u64,
    pub(super) state: State,
    pub(super) bytes: u32,
}

/// Nanoseconds of a millisecond.
pub(super) const MS: u64 = 1_000_000;

impl Conn {
    pub(super) fn of(snapshot: &Snapshot, owners: Owners) -> Self {
        Self {
            original: Tuple::from_key(&snapshot.original),
            reply: Tuple::from_key(&snapshot.reply),
            generation: u64::from(snapshot.generation),
            source_owner: owners.source,
            dest_owner: owners.dest,
            life: Life::unpack(snapshot.state.life()),
            created: Timestamp::from_nanos(snapshot.meta.created_ms.saturating_mul(MS)),
            deadline: Timestamp::from_nanos(snapshot.state.deadline_ns()),
            packets: snapshot.packets,
            bytes: snapshot.bytes,
        }
    }

    /// The tuple of its replies.
    pub fn reply(&self) -> &Tuple {
        &self.reply
    }

    /// True once a packet came back.
    pub fn replied(&self) -> bool {
        self.life.replied
    }

    /// True once it is not given up for a new one: handshake done, or answered where there is none.
    pub fn assured(&self) -> bool {
        self.life.assured
    }

    /// When it was opened, or reopened, to the millisecond.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When it ends unless another packet comes, rounded up to 50 ms.
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
        self.life.name()
    }
}
