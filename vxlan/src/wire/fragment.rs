//! What a fragment says of itself, and the rules both families share (RFC 791, RFC 8200 section 4.5).

use super::error::ParseError;

/// The most a reassembled packet may have.
const MAX_PACKET: usize = 65535;

/// A fragment's place in its datagram.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// The datagram's identification: 16 bits in IPv4, 32 in IPv6.
    pub id: u32,
    /// Where the fragment's bytes begin in the datagram's fragmentable part.
    pub offset: u32,
    /// Do more fragments follow?
    pub more: bool,
    /// How many bytes of the fragmentable part it holds. Overlap is judged by this and not by the transport
    /// header's offset: extension headers may stand between.
    pub length: u32,
}

impl Fragment {
    /// Checks what must hold for every fragment. `headers` are the bytes that stand before the fragmentable
    /// part in the reassembled packet, as far as they count for its length field.
    pub(super) fn checked(
        id: u32,
        offset: u16,
        more: bool,
        length: usize,
        headers: usize,
    ) -> Result<Self, ParseError> {
        let end = headers.saturating_add(usize::from(offset)).saturating_add(length);
        // An empty one covers nothing, a cut in mid-unit cannot be joined, one beyond the end is the ping of death.
        if length == 0 || (more && !length.is_multiple_of(8)) || end > MAX_PACKET {
            return Err(ParseError::LengthMismatch);
        }
        Ok(Self { id, offset: u32::from(offset), more, length: length as u32 })
    }

    /// Is it the one with the transport header?
    pub const fn is_first(&self) -> bool {
        self.offset == 0
    }
}
