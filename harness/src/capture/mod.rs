//! Captures: pcap and pcapng files read in bounded windows, pcapng written, and captures made from a seed.
//!
//! ```text
//!  file or pipe ─► window (1 MiB) ─► pcap | pcapng ─► Packet { interface, time, bytes } ─► replay
//!                                     └─► CaptureError { file, byte, block }            replay ─► PcapngWriter
//! ```
//! Formats: the libpcap file format (draft-ietf-opsawg-pcap, both byte orders, micro- and nanoseconds) and pcapng
//! (draft-ietf-opsawg-pcapng: any number of sections and interfaces, either byte order, `if_tsresol`,
//! `if_tsoffset`; enhanced, simple and obsolete packet blocks; every other block is stepped over).
//!
//! # Bounds
//! Whatever the file: one window, and [`MAX_INTERFACES`] interfaces with names of at most [`MAX_NAME`] bytes. A
//! length field is believed only once the bytes are there. A fault ends the capture with its place; everything
//! before it has been delivered.

mod error;
mod interface;
mod pcap;
mod pcapng;
mod reader;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use error::{CaptureError, CaptureFault};
pub use interface::{Interface, LinkType, MAX_INTERFACES, MAX_NAME};
pub use reader::{CaptureReader, MAX_PACKET, Packet};
pub use writer::PcapngWriter;
