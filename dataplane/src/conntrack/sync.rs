//! The atomics that the table's lock-free parts are made of, in one place: `tests/conntrack_model.rs` compiles the
//! same files with loom's in their stead and runs every order in which threads may meet.

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
