//! Wire formats, one module for each header, and [`headers`], which walks a whole frame.
//!
//! The modules read byte slices as they came from the network and write into slices they are given. None
//! keeps, allocates or panics. Sizes are checked by taking arrays off the front of a slice, so that there is no
//! offset arithmetic to get wrong.

pub mod headers;

pub mod icmp;
pub mod sctp;
pub mod tcp;
pub mod udp;

pub mod ipv4;
pub mod ipv6;
mod ipv6_chain;

pub mod ethernet;
pub mod vxlan;

pub mod checksum;
mod error;
mod fragment;
mod ttl;

pub use error::ParseError;
pub use fragment::Fragment;
pub use ttl::Ttl;

#[cfg(test)]
pub(crate) mod samples;
