//! The connection table: which flows were allowed, by which generation of the policy, and how far they have come.
//!
//! Key: the five-tuple of either direction ([`Tuple`]), each its own key of the same entry, so that address
//! translation would only change the second one. Value: [`Conn`], 176 bytes; the index adds 32 to 64 (it is a
//! power of two) and the lists 20 for each entry the table may hold: 57 MiB for the default 262,144, reserved
//! at construction, of which all but the index is touched only as entries come into use.
//!
//! The packet path asks [`ConnTable::lookup`] first; a packet of no connection is judged by the policy and,
//! allowed, opens one ([`ConnTable::may_open`], [`ConnTable::insert`]); a packet of a connection goes through
//! [`ConnTable::update`], which knows whether it fits. What the verdict was is not kept: an entry exists
//! because it was allowed, by the generation it carries.
//!
//! ```text
//!   Tuple ─hash─► index: 2 buckets of 8 slots ─► slab of Conn ─┬─ timer wheel (by the time to look again)
//!                 (tag, entry, direction)                      └─ its owner's shelf (closed | tentative)
//! ```
//!
//! # Cost
//! A lookup reads at most two cache lines of the index, and an entry for each slot whose 32-bit tag agrees (one
//! in the usual case). A refresh stores a deadline; the timer wheel finds out when it next looks at the entry.
//! Nothing allocates after construction, but for the first connection of an owner not met before.
//!
//! # When full
//! Every entry is charged to one owner: the local pod that opened it, or the local pod it leads to where the
//! opener is elsewhere. A new connection of an owner at its quota, or in a full table, takes the place of what
//! that owner can spare: the oldest closed entry, else the oldest *tentative* one (TCP and SCTP before the
//! handshake is done, anything else before the first reply). In a full table an owner with nothing to spare
//! takes it from whoever holds the most of it. An established connection is never evicted; where nothing can
//! be spared the new one is refused, and the packet has to be dropped. So a flood costs the pod that sends it
//! (or is its target) its own half-open connections, and nobody an established one.
//!
//! # Hostile keys
//! The hash is keyed per table. Every key has two places and at most 16 slots are ever looked at; a key that
//! finds all of them taken is refused ([`InsertError::BucketFull`]), at half load practically never.
//!
//! # Time
//! Comes with every call, and [`ConnTable::expire`] is to be called with each batch: from then on nothing that
//! ended before is found any more, whether the budget sufficed to remove it or not.
//!
//! # Known weaknesses
//! TCP sequence numbers are not followed: whoever may send from an end of a connection (the guard sees to it
//! that nobody else may) can close it in the table, or keep it open. Of an SCTP packet only the first chunk is
//! looked at, and verification tags are not. Only an SCTP path that began with INIT is tracked (no multihoming).
//!
//! Not here: clocks, verdicts, ICMP errors (the pipeline looks up the packet they quote), locks. One worker owns
//! a table. Entries are linked by index, so sharing it needs no new layout.

mod entry;
mod index;
mod links;
mod names;
mod outcome;
mod sctp;
mod shared;
mod shares;
mod slab;
mod state;
mod table;
mod tcp;
mod timeouts;
mod timer_wheel;
mod tuple;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use entry::Conn;
pub use names::{ConnId, Dir, Owner};
pub use outcome::{ConntrackStats, InsertError, Invalid, Updated};
pub use shared::ConnTable;
pub use state::Signal;
pub use table::ConntrackConfig;
pub use timeouts::Timeouts;
pub use tuple::{Tuple, protocol};
