//! VXLAN (RFC 7348) and the wire formats around it: bytes and tunnels, nothing else.
//!
//! ```text
//!  frame from a pod ─► wire::headers ─► (policy, elsewhere) ─► fdb ─► encap ─► underlay
//!  underlay ─► decap ─► wire::vxlan ─► wire::headers ─► (policy, elsewhere) ─► pod
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`mac`], [`vni`] | identifiers that cannot hold a wrong value |
//! | [`vtep`], [`fdb`] | which node is behind which underlay address, MAC and pod CIDR: configured, never learned |
//! | [`encap`], [`decap`] | the outer headers where weir itself builds and reads them (raw underlays) |
//! | [`entropy`], [`mtu`], [`ecn`] | the outer source port, what fits into the tunnel, congestion marks (RFC 6040) |
//! | [`wire`] | one module for each header, and [`wire::headers`], which walks them all |
//!
//! No I/O, no clock, no threads, no unsafe code. What is parsed is hostile: no function here panics, whatever
//! bytes it is given, and none on a packet's path allocates.
//!
//! Out of scope: multicast underlays and address learning (RFC 7348 section 4.2). The neighbours are known.
//!
//! ```
//! use vxlan::{Vni, wire::vxlan as header};
//!
//! let mut datagram = header::emit(Vni::FLANNEL).to_vec();
//! datagram.extend_from_slice(b"an Ethernet frame");
//!
//! let (parsed, inner) = header::parse(&datagram)?;
//! assert_eq!(parsed.vni, Vni::FLANNEL);
//! assert_eq!(inner, b"an Ethernet frame");
//! # Ok::<(), header::VxlanError>(())
//! ```

#![forbid(unsafe_code)]

pub mod decap;
pub mod encap;
pub mod fdb;
pub mod vtep;

pub mod ecn;
pub mod entropy;
pub mod mtu;
pub mod wire;

pub mod mac;
pub mod vni;

pub use fdb::{Fdb, FdbError, VtepId};
pub use mac::{Mac, MacError};
pub use mtu::Family;
pub use vni::{Vni, VniError};
pub use vtep::{TunnelPath, Vtep};
