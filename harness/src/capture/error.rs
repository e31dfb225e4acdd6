//! What is wrong with a capture, and where: the file, the byte, the block.

use std::io;

/// A fault in a capture. Everything before it has been delivered; nothing after it is: a stream whose lengths
/// cannot be believed has no next packet.
#[derive(Debug, thiserror::Error)]
#[error("{file}: byte {offset}, block {block}: {kind}")]
pub struct CaptureError {
    /// The file, as it was named.
    pub file: String,
    /// Where the faulty block begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its number, from 1; the file header of a pcap is block 0.
    pub block: u64,
    /// What is wrong.
    pub kind: CaptureFault,
}

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureFault {
    /// There is nothing in it.
    #[error("the file is empty: expected a pcap or pcapng capture")]
    Empty,
    /// Neither format.
    #[error("not a capture (it begins with {0}): expected pcap or pcapng")]
    UnknownFormat(String),
    /// A capture in a wrapper.
    #[error(
        "the capture is compressed with {tool}: unpack it first, for instance `{tool} -dc FILE | weir replay -`"
    )]
    Compressed {
        /// What unpacks it.
        tool: &'static str,
    },
    /// A version of the format whose layout is not known.
    #[error("version {major}.{minor} of the format: expected {expected}")]
    Version {
        /// Found.
        major: u16,
        /// Found.
        minor: u16,
        /// What is read.
        expected: &'static str,
    },
    /// The file ends inside the block.
    #[error("the file ends in the middle: {missing} of {wanted} bytes are missing")]
    Truncated {
        /// Bytes the block or header should have.
        wanted: u64,
        /// Bytes of it that are not there.
        missing: u64,
    },
    /// The file is shorter than it was when it was opened.
    #[error("the file shrank while it was read: it had {had} bytes, now it ends after {has}")]
    Shrank {
        /// Its size when opened.
        had: u64,
        /// Where it ended.
        has: u64,
    },
    /// A length field that no block can have.
    #[error("{field} is {found}: expected {expected}")]
    Length {
        /// The field.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What would be accepted.
        expected: String,
    },
    /// The length at the end of a block is not the one at its beginning.
    #[error("the block's two lengths differ: {first} at its beginning, {last} at its end")]
    LengthsDiffer {
        /// At the beginning.
        first: u32,
        /// At the end.
        last: u32,
    },
    /// A section header whose byte order cannot be told.
    #[error("byte-order magic is {0:#010x}: expected 0x1a2b3c4d in either order")]
    ByteOrder(u32),
    /// A packet of an interface that was not described.
    #[error("packet of interface {found}, but the section describes {known} so far")]
    Interface {
        /// The interface named.
        found: u32,
        /// How many there are.
        known: usize,
    },
    /// More interfaces than are kept.
    #[error("more than {0} interfaces")]
    TooManyInterfaces(usize),
    /// Reading failed.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
}
