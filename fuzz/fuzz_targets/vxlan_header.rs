//! The VXLAN header: no panic, and what is accepted is written back the same but for reserved bits.
//!
//! `cargo +nightly fuzz run vxlan_header`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vxlan::wire::vxlan::{HEADER_BYTES, emit, parse};

fuzz_target!(|datagram: &[u8]| {
    let Ok((header, inner)) = parse(datagram) else { return };
    assert_eq!(inner.len() + HEADER_BYTES, datagram.len());
    assert_eq!(emit(header.vni) == datagram[..HEADER_BYTES], !header.reserved_set);
});
