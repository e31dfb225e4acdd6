//! The atomics that the table's lock-free parts are made of, in one place: `tests/conntrack_model.rs` compiles the
//! same files with loom's in their stead and runs every order in which threads may meet.

/// Words of a source and a destination address. The models have one in their stead: how many words a key has
/// changes nothing in the protocol, and much in the number of orders.
pub(super) const ADDRESS_WORDS: usize = 4;

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
