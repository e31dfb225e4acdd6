//! The connection table: which flows were allowed, by which generation of the policy, and how far they have come.
//!
//! One table for all workers: the two directions of a connection may come in on two of them. Key: the five-tuple of
//! either direction ([`Tuple`]), each its own key of the same entry, so that address translation would only change
//! the second one. Value: [`Conn`] when shown; in the table two cache lines of packed words (`cell`).
//!
//! The packet path asks [`ConnTable::lookup`] first, or [`ConnTable::lookup_batch`]; a packet of no connection is
//! judged by the policy and, allowed, opens one ([`ConnTable::may_open`], [`ConnTable::insert`]); a packet of a
//! connection goes through [`ConnTable::update`], which knows whether it fits. A [`ConnId`] may be kept as long as
//! one likes: `update` and [`ConnTable::generation`] read the one entry it names and check that it is still that
//! connection's. What the verdict was is not kept: an entry exists because it was allowed, by the generation it
//! carries.
//!
//! ```text
//!   Tuple ─hash─► index: 2 buckets of 8 slots ─► cell (128 bytes) ─┬─ timer wheel of its shard (when to look again)
//!                 (tag, place, direction)                          └─ its owner's shelf in its shard (closed | tentative)
//! ```
//!
//! # Memory
//! 188 bytes for each entry: 128 its cell, 32 its two keys' slots in the index, 28 owners and links of lists. A wheel of
//! 8 KiB comes with every shard, one for 4,096 entries and 64 at the most: 190 bytes for each of 262,144 entries, 189
//! for each of 1,048,576 (`weir bench conntrack` measures it). All but the wheels is address space until entries come
//! into use, and real memory in huge pages from then on, where the kernel gives any (`sys::huge`).
//!
//! # Threads
//! Any worker calls anything. A packet of an existing connection takes no lock, allocates nothing and waits for nobody:
//! it reads the index and the cell, changes the state by compare-exchange, and adds to counters. What it leaves to do,
//! because the connection now stands on another shelf or ends sooner, it puts on a stack (`stack`) that the next holder
//! of the shard's lock works off. Opening, ending, evicting and expiring take the lock of one shard (`shard`), never
//! of two at a time. How readers are kept from seeing half of an entry, or another connection's, is in `cell`, with
//! what can be lost: at most additions to counters.
//!
//! # Cost
//! A lookup reads at most two cache lines of the index, and a cell for each slot whose 32-bit tag agrees (one in the
//! usual case). A packet whose connection is known by name reads and writes one line of the cell. The deadline counts in 50 ms, so a busy connection writes its state 20 times a second, and its counters
//! with each packet. Nothing is allocated after construction, but for a chunk of entries that come into use, and
//! for the first connection of an owner in a shard.
//!
//! # When full
//! Every entry is charged to one owner: the local pod that opened it, or the local pod it leads to where the
//! opener is elsewhere. A new connection of an owner at its quota, or in a full table, takes the place of what
//! that owner can spare: the oldest closed entry, else the oldest *tentative* one (TCP and SCTP before the
//! handshake is done, anything else before the first reply). In a full table an owner with nothing to spare
//! takes it from whoever holds the most of it. An established connection is never evicted; where nothing can
//! be spared the new one is refused, and the packet has to be dropped. So a flood costs the pod that sends it
//! (or is its target) its own half-open connections, and nobody an established one. Quotas and the number of entries
//! are exact over the whole table. *Oldest* is so within a shard: what the new connection's shard can spare goes
//! before what others can, and changes of one batch count as one moment.
//!
//! # Hostile keys
//! The hash is keyed per table. Every key has two places and at most 16 slots are ever looked at; a key that
//! finds all of them taken is refused ([`InsertError::BucketFull`]), at half load practically never. Which shard a
//! connection belongs to depends on the same key.
//!
//! # Time
//! Comes with every call, and [`ConnTable::expire`] is to be called with each batch: from then on nothing that
//! ended before is found any more, whether the budget sufficed to remove it or not. The latest time that any worker
//! told counts for all.
//!
//! # Known weaknesses
//! TCP sequence numbers are not followed: whoever may send from an end of a connection (the guard sees to it
//! that nobody else may) can close it in the table, or keep it open. Of an SCTP packet only the first chunk is
//! looked at, and verification tags are not. Only an SCTP path that began with INIT is tracked (no multihoming).
//! A worker that is descheduled while it holds a shard's lock keeps others from opening connections in that shard
//! (a 64th of them), though not from carrying on those that are open.
//!
//! Not here: clocks, verdicts, ICMP errors (the pipeline looks up the packet they quote).

mod account;
mod accounts;
mod batch;
mod cell;
mod ending;
mod entry;
mod index;
mod known;
mod life;
mod links;
mod names;
mod outcome;
mod places;
mod room;
mod sctp;
mod shard;
mod shares;
mod stack;
mod state;
mod sync;
mod table;
mod tcp;
mod timeouts;
mod timer_wheel;
mod tuple;
mod witness;
mod word;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod threads;

pub use entry::Conn;
pub use names::{ConnId, Dir, Owner};
pub use outcome::{ConntrackStats, InsertError, Invalid, Updated};
pub use state::Signal;
pub use table::{ConnTable, ConntrackConfig};
pub use timeouts::Timeouts;
pub use tuple::{Tuple, protocol};
pub use witness::Witness;
