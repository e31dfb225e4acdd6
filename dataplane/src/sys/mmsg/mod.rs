//! Many datagrams per system call: `recvmmsg(2)` and `sendmmsg(2)` over frames.
//!
//! [`Incoming`] receives into frames of the pool and afterwards answers what came with each of them: length,
//! sender, control messages. [`Outgoing`] sends frames with a prefix (the vnet header), a destination and a
//! traffic class each. Both hold the arrays that the kernel reads and writes, made once; a call allocates
//! nothing. Up to [`MESSAGES`] datagrams per call.
//!
//! Addresses and control messages are read as plain bytes: that part is safe code.

mod address;
mod control;
mod incoming;
mod outgoing;

pub use address::Address;
pub use control::{ControlMessage, ControlMessages};
pub use incoming::{Incoming, Message};
pub use outgoing::{Datagram, Outgoing};

/// Most datagrams of one call.
pub const MESSAGES: usize = crate::buffer::BATCH_FRAMES;

/// Room for the control messages of one datagram: the most that is asked for is packet info, traffic class
/// and the loss counter, 88 bytes.
const CONTROL_BYTES: usize = 128;
