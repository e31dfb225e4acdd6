//! weir's labs: nodes and pods in network namespaces, real traffic between them, and what came of it.
//!
//! ```text
//!  plan ─► topology, pods, node_weir | node_kernel ─► traffic: probes ─► matrix ─► report
//!            └── every namespace, link and process has an owner that removes it when dropped ──┘
//! ```
//!
//! [`lab`] builds and tears down; [`traffic`] moves bytes and says what arrived. Neither knows how weir
//! works inside: a node running weir is a process with a configuration file and a control socket.
//! [`manifest`] writes the objects of clusters down; [`generate`] makes clusters and captures of any size from a seed,
//! for benches and tests. [`capture`] reads and
//! writes pcap and pcapng, in bounded windows; [`replay`] passes them through a node's pipeline. [`load`] makes frames
//! from a seed, sends them at a rate and counts what came back. [`measure`] finds what a device forwards without loss,
//! by RFC 2544 among other ways; [`report`] holds what was measured and writes it down.

pub mod bench;
pub mod capture;
mod card;
pub mod generate;
pub mod lab;
pub mod load;
pub mod manifest;
pub mod measure;
pub mod replay;
pub mod report;
pub mod traffic;
