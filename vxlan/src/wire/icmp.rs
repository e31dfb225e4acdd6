//! The headers of ICMP (RFC 792) and ICMPv6 (RFC 4443): type, code, checksum and four bytes by type.
//!
//! Every message of either that is in use has these eight bytes. For echo the third word is identifier and
//! sequence number; connection tracking takes the identifier for a port.

use super::error::ParseError;

/// Size of the part all messages have.
pub const HEADER_BYTES: usize = 8;

/// ICMP echo reply.
pub const V4_ECHO_REPLY: u8 = 0;
/// ICMP echo request.
pub const V4_ECHO_REQUEST: u8 = 8;
/// ICMPv6 echo request.
pub const V6_ECHO_REQUEST: u8 = 128;
/// ICMPv6 echo reply.
pub const V6_ECHO_REPLY: u8 = 129;

/// An ICMP or ICMPv6 header.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct Icmp {
    /// Message type.
    pub icmp_type: u8,
    /// Message code.
    pub code: u8,
    /// Identifier of an echo message, zero in any other.
    pub id: u16,
}

/// The header of an ICMP message.
///
/// # Errors
/// [`ParseError::Truncated`].
pub fn parse_v4(message: &[u8]) -> Result<Icmp, ParseError> {
    parse(message, [V4_ECHO_REQUEST, V4_ECHO_REPLY])
}

/// The header of an ICMPv6 message.
///
/// # Errors
/// [`ParseError::Truncated`].
pub fn parse_v6(message: &[u8]) -> Result<Icmp, ParseError> {
    parse(message, [V6_ECHO_REQUEST, V6_ECHO_REPLY])
}

fn parse(message: &[u8], echo: [u8; 2]) -> Result<Icmp, ParseError> {
    let Some(&[icmp_type, code, _, _, high, low, _, _]) = message.first_chunk::<HEADER_BYTES>() else {
        return Err(ParseError::Truncated);
    };
    let id = if echo.contains(&icmp_type) { u16::from_be_bytes([high, low]) } else { 0 };
    Ok(Icmp { icmp_type, code, id })
}
