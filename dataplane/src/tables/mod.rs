//! What the workers look things up in: one immutable [`Generation`] at a time, and how it is published.
//!
//! The control side builds a generation from a compiled policy and the cluster's nodes and pods
//! ([`Generation::new`]) and hands it to [`Publisher::publish`]. A worker asks its [`Subscription`] before each
//! batch; the answer costs one atomic load when nothing changed. Nothing is changed in place, so a packet
//! sees one generation from its first stage to its last.

mod addresses;
mod generation;
mod own_node;
mod publish;

pub use generation::{Endpoint, EndpointIds, EndpointIndex, Generation, Party, gateway_address};
pub use own_node::{NextHops, OwnNode, Underlay};
pub use publish::{Publisher, Subscription};
