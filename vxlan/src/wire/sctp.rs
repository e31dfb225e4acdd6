//! The SCTP common header (RFC 9260 section 3.1) and the type of the first chunk.
//!
//! ```text
//! | source port (16) | destination port (16) | verification tag (32) | checksum (32) | chunks ... |
//! ```

use super::error::ParseError;

/// Size of the common header.
pub const HEADER_BYTES: usize = 12;

/// Size of a chunk's own header: type, flags, length.
const CHUNK_HEADER_BYTES: usize = 4;

/// An SCTP common header.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Sctp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Verification tag.
    pub vtag: u32,
    /// Type of the first chunk, where a chunk header is there and its length makes sense.
    pub chunk: Option<u8>,
}

/// The header of a packet.
///
/// # Errors
/// [`ParseError::Truncated`].
pub fn parse(packet: &[u8]) -> Result<Sctp, ParseError> {
    let Some((&[s0, s1, d0, d1, v0, v1, v2, v3, _, _, _, _], chunks)) =
        packet.split_first_chunk::<HEADER_BYTES>()
    else {
        return Err(ParseError::Truncated);
    };
    let chunk = chunks.first_chunk::<CHUNK_HEADER_BYTES>().and_then(|&[kind, _, high, low]| {
        let length = u16::from_be_bytes([high, low]);
        (usize::from(length) >= CHUNK_HEADER_BYTES).then_some(kind)
    });
    Ok(Sctp {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        vtag: u32::from_be_bytes([v0, v1, v2, v3]),
        chunk,
    })
}
