//! Rings of packet sockets: memory that is shared with the kernel, to receive and to send by (packet(7),
//! `Documentation/networking/packet_mmap.rst`).
//!
//! ```text
//!  interface ─► the kernel fills a block, hands it over ─► ReceiveRing (TPACKET_V3) ─► copied into frames
//!  frames ─► copied into slots ─► TransmitRing (TPACKET_V2) ─► one system call: the kernel sends what is filled
//! ```
//! `ports::raw` sends by one unless told not to, and receives by one if told to; decision 0028 has what each was measured to
//! cost.
//!
//! # Unsafe code
//! `sys::mapping` has the invariants of the memory, each ring those of its own. `cargo bench -p dataplane --bench underlay`
//! measures both rings beside system calls.

mod receive;
mod transmit;

pub use receive::{ReceiveRing, Slot, losses};
pub use transmit::TransmitRing;
