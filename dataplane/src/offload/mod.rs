//! Checksum and segmentation offload in software: what a port cannot take, or did not say.
//!
//! ```text
//!  port rx ─► parse ─► accept_metadata (TAP, AF_PACKET: the vnet header is the sender's claim)
//!                      detect_partial, detect_gso (out of the tunnel: the kernel has no way to say)
//!             ...
//!  forward ─► port without the capability: segment, complete_checksum
//!             port with a smaller MTU, DF clear: fragment_ipv4
//!             port with the capability: Open puts TCP segments and UDP datagrams of a flow together again
//! ```
//! Pure functions over frames and their parsed headers: no I/O, no clock. Cost: one pass over the bytes that
//! are summed or copied. Every offset comes from a packet or its sender, so each is checked before use, and
//! one packet yields a bounded number of frames ([`MAX_TCP_SEGMENTS`], [`MAX_UDP_SEGMENTS`]).

mod checksum;
mod classify;
mod coalesce;
mod crc32c;
pub(crate) mod field;
mod fragment;
mod segment;

#[cfg(test)]
mod tests;

pub use checksum::complete_checksum;
pub use classify::{accept_metadata, detect_gso, detect_partial};
pub use coalesce::{Joint, Open};
pub use fragment::{FragmentError, fragment_ipv4};
pub use segment::{MAX_TCP_SEGMENTS, MAX_UDP_SEGMENTS, SegmentError, segment};
