//! Many datagrams per system call: `recvmmsg(2)` and `sendmmsg(2)` over frames.
//!
//! [`Incoming`] receives into frames of the pool and afterwards answers what came with each of them: length,
//! sender, control messages. [`Outgoing`] sends frames with a prefix (the vnet header), a destination and a
//! traffic class each; [`Trains`] sends frames of one size to one destination as one message that the kernel cuts
//! (`UDP_SEGMENT`). Both hold the arrays that the kernel reads and writes, made once; a call allocates
//! nothing. Up to [`MESSAGES`] datagrams per call.
//!
//! Addresses and control messages are read as plain bytes: that part is safe code.

mod address;
mod control;
mod incoming;
mod outgoing;
mod trains;

pub use address::Address;
pub use control::{ControlMessage, ControlMessages};
pub use incoming::{Incoming, Message};
pub use outgoing::{Datagram, Outgoing};
pub use trains::{TRAIN_BYTES, TRAIN_FRAMES, Train, Trains};

/// Most datagrams of one call.
pub const MESSAGES: usize = crate::buffer::BATCH_FRAMES;

/// Room for the control messages of one datagram: the most that is asked for is packet info, traffic class,
/// the loss counter and the segment size, 112 bytes.
const CONTROL_BYTES: usize = 128;
