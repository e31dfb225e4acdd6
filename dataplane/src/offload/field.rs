//! Big-endian header fields, read and written at offsets that a packet gave: `None` outside, never a panic.

use crate::buffer::Frame;

/// The two bytes at `at`.
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_be_bytes(*field))
}

/// The byte at `at`, to be changed.
pub(crate) fn byte_mut(bytes: &mut [u8], at: usize) -> Option<&mut u8> {
    bytes.get_mut(at)
}

/// Stores two bytes at `at`.
pub(crate) fn write_u16(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

/// Stores four bytes at `at`.
pub(crate) fn write_u32(bytes: &mut [u8], at: usize, value: u32) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = value.to_be_bytes();
    Some(())
}

/// Fills an empty frame with `parts`, one behind the other; `None` when they do not fit.
pub(crate) fn assemble(frame: &mut Frame, parts: &[&[u8]]) -> Option<()> {
    let mut len = 0;
    let mut room = frame.writable();
    for part in parts {
        let (to, rest) = room.split_at_mut_checked(part.len())?;
        to.copy_from_slice(part);
        room = rest;
        len += part.len();
    }
    frame.set_len(len);
    Some(())
}
