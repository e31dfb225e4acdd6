//! What weir says itself: answers to ARP and neighbour discovery, and the ICMP errors that a router owes.
//!
//! ```text
//!  pod ─► ARP, NS ─► arp, ndp ─┬─► Reply: back out of the same port, rewritten in place
//!                              ├─► Learned: the pod's MAC, asked for by arp_request, ns_request
//!                              └─► Drop: neighbour protocols are never forwarded
//!  forward ─► TTL 0, too big ──► icmp_error ─► back towards the source, within a RateLimiter
//!  ICMP error passing through ─► embedded ─► conntrack looks for the connection it is about
//! ```
//! The answer to a frame is never larger or more frequent than the frame, except an ICMP error, which is
//! bounded by 576 or 1,280 bytes and a rate. Requests come from pods and are hostile: all parsing here is by
//! fixed patterns, and only a sender bound to the wire is answered.

mod arp;
mod embedded;
mod icmp_error;
mod ndp;
mod packet;
mod rate_limit;
mod rogue;

#[cfg(test)]
mod tests;

pub use arp::{ArpOutcome, arp, arp_refusal, arp_request};
pub use embedded::{EmbeddedTuple, embedded};
pub use icmp_error::{IcmpError, icmp_error, is_icmp_error};
pub use ndp::{NdpOutcome, is_ndp, ndp, ndp_refusal, ns_request};
pub use rate_limit::RateLimiter;
pub use rogue::{is_dhcp, is_rogue_control};
