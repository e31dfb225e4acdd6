//! The pipeline alone: how many packets a second one core passes through it, between memory and memory.
//!
//! ```text
//!  Frames (template and flow number) ─refill─► batch of 64 ─► Pipeline::process ─► Outputs ─► pool
//!            not timed                                └────── timed ──────┘        not timed
//! ```
//! [`Node`] is a node of a small cluster: two pods here, one behind a VTEP, and as many policies as asked for that
//! select them, the one that allows the traffic last. [`traffic`] writes the frames, [`drops`] those that end under
//! a given reason, where need be on a node that lacks something ([`Lack`]), and what passes beside them; [`timed`] and its
//! like time them. What is timed is the whole pipeline: parse, decap, guard, connection tracking, policy, forward, encap.
//! Not timed: the copy of a frame's bytes into its buffer, as the kernel's or the NIC's copy would be, which leaves the
//! headers in the cache; and taking the frames out of the outputs.
//!
//! Figures of memory are no figures of ports: a port costs system calls. They say what is left for them.

pub mod drops;
mod lack;
mod measure;
mod node;
pub mod traffic;

pub use lack::Lack;
pub use measure::{Figure, Measured, StageTime, kin, new_connections, open_flows, refused, timed};
pub use node::{Node, Shape, Underlay};
pub use traffic::{Direction, Size};
