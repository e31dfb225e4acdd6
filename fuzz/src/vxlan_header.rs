//! The VXLAN header: no panic, and what is accepted is written back the same but for reserved bits.

use vxlan::wire::vxlan::{HEADER_BYTES, emit, parse};

/// One input.
pub fn run(datagram: &[u8]) {
    let Ok((header, inner)) = parse(datagram) else { return };
    assert_eq!(inner.len() + HEADER_BYTES, datagram.len());
    assert_eq!(emit(header.vni) == datagram[..HEADER_BYTES], !header.reserved_set);
}
