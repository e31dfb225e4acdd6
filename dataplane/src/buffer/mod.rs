//! Packet memory: frames with headroom, the pool they come from, and batches of them.
//!
//! A frame is taken from its worker's [`Pool`], filled by a port, moved (never copied) through the stages,
//! and goes back to the pool when it has been sent or dropped. Nothing here allocates once the pool is made.

mod frame;
mod pool;

pub use frame::{Checksum, Frame, Gso, GsoKind, HEADROOM, MAX_FRAME, Outer};
pub use pool::Pool;

/// Most frames a worker takes from a port at a time.
pub const BATCH_FRAMES: usize = 64;

/// Frames in the order they arrived. Capacity is kept over its life: clearing it does not free.
pub type Batch = Vec<Frame>;
