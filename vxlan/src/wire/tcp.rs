//! The TCP header (RFC 9293 section 3.1), as far as policy and connection tracking read it.
//!
//! ```text
//! | source port (16) | destination port (16) | sequence (32) | acknowledgment (32) |
//! | data offset (4) | reserved (4) | flags (8) | window (16) | checksum (16) | urgent (16) | options |
//! ```
//!
//! The whole header, options included, must lie within the segment. The checksum is not looked at: it may be
//! left to an offload, and the receiving pod verifies it.

use super::error::ParseError;

/// Size of the header without options.
pub const MIN_HEADER_BYTES: usize = 20;

/// No more data from the sender.
pub const FIN: u8 = 0x01;
/// Synchronise sequence numbers.
pub const SYN: u8 = 0x02;
/// Reset the connection.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgment field counts.
pub const ACK: u8 = 0x10;
/// The urgent pointer counts.
pub const URG: u8 = 0x20;

/// A TCP header.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// The eight control bits, CWR to FIN.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Bytes of the header with its options: 20 to 60.
    pub header_len: u8,
}

/// The header of a segment.
///
/// # Errors
/// [`ParseError::BadHeader`] for a data offset below 5, [`ParseError::Truncated`] where the header does not
/// lie within the segment.
pub fn parse(segment: &[u8]) -> Result<Tcp, ParseError> {
    let Some(&[s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, _, _, _, _, _, _]) =
        segment.first_chunk::<MIN_HEADER_BYTES>()
    else {
        return Err(ParseError::Truncated);
    };
    let header_len = (offset >> 4) * 4;
    if usize::from(header_len) < MIN_HEADER_BYTES {
        return Err(ParseError::BadHeader);
    }
    if usize::from(header_len) > segment.len() {
        return Err(ParseError::Truncated);
    }
    Ok(Tcp {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        flags,
        seq: u32::from_be_bytes([q0, q1, q2, q3]),
        ack: u32::from_be_bytes([a0, a1, a2, a3]),
        header_len,
    })
}
