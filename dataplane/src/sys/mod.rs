//! What weir asks of the kernel, wrapped in small safe types: the home of system calls.
//!
//! Nothing here knows of policy or packets. Every call is made by the control side or at start-up, except
//! where a module says that a worker makes it.

pub mod bpf;
pub mod huge;
pub mod latency_qos;
pub mod lease;
mod mapping;
pub mod mmsg;
pub mod name_lock;
pub mod netlink;
pub mod netns;
pub mod packet_ring;
pub mod packet_socket;
pub mod peer;
pub mod process;
pub mod raw_ip;
pub mod scheduling;
pub mod socket;
pub mod steering;
pub mod tun;
pub mod tunnel_filter;
pub mod tunnel_tap;
pub mod tx_dropped;
pub mod udp_socket;
pub mod userns;
pub mod vnet;
pub mod xdp;
