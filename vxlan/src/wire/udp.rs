//! The UDP header (RFC 768): source port, destination port, length, checksum, 16 bits each.
//!
//! The length may be less than the IP payload (the rest is not the application's; RFC 9868 puts options
//! there), never more.

use super::error::ParseError;

/// Size of the header.
pub const HEADER_BYTES: usize = 8;

/// A UDP header.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Bytes of header and payload.
    pub length: u16,
    /// The checksum field; zero means that there is none.
    pub checksum: u16,
}

impl Udp {
    /// The header's bytes.
    pub const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [s0, s1] = self.src_port.to_be_bytes();
        let [d0, d1] = self.dst_port.to_be_bytes();
        let [l0, l1] = self.length.to_be_bytes();
        let [c0, c1] = self.checksum.to_be_bytes();
        [s0, s1, d0, d1, l0, l1, c0, c1]
    }
}

/// The header of a datagram, its length not yet held against anything.
///
/// # Errors
/// [`ParseError::Truncated`] where there are not even eight bytes.
pub fn parse(datagram: &[u8]) -> Result<Udp, ParseError> {
    let Some(&[s0, s1, d0, d1, l0, l1, c0, c1]) = datagram.first_chunk() else {
        return Err(ParseError::Truncated);
    };
    Ok(Udp {
        src_port: u16::from_be_bytes([s0, s1]),
        dst_port: u16::from_be_bytes([d0, d1]),
        length: u16::from_be_bytes([l0, l1]),
        checksum: u16::from_be_bytes([c0, c1]),
    })
}

/// Holds the length field against `available`, the bytes that IP brought (`None` for a first fragment, whose
/// datagram goes on elsewhere).
///
/// # Errors
/// [`ParseError::LengthMismatch`]; zero, "a jumbogram's" (RFC 2675), is one too.
pub fn check_length(header: &Udp, available: Option<usize>) -> Result<(), ParseError> {
    let length = usize::from(header.length);
    let within = available.is_none_or(|available| length <= available);
    if length >= HEADER_BYTES && within { Ok(()) } else { Err(ParseError::LengthMismatch) }
}
