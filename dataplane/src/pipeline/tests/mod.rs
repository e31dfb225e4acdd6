//! The pipeline as a whole, from frames in to frames and counters out.
//!
//! `cluster` is who is who, `world` the node in it, `packets` and `outer` write and read packets. The rest is one test
//! for each behaviour: what has to pass, what a router owes, and every attack that the pipeline has to end. The
//! books are held after every batch: received = forwarded + answered + drops + held, and no frame is lost.

mod cluster;
mod outer;
mod packets;
mod world;

mod attacks_inner;
mod attacks_outer;
mod attacks_pod;
mod attacks_state;
mod books;
mod change;
mod crowded;
mod endings;
mod forwarding;
mod fragmented;
mod glance;
mod hostile_bytes;
mod icmp_related;
mod logged;
mod model;
mod neighbours;
mod offloads;
mod owed_errors;
mod refusals;
mod short_way;
