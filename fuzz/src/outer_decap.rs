//! Frames of a raw underlay through decapsulation to the inner headers: no panic, ranges within the frame.
//!
//! The checksum of UDP is not verified, else the fuzzer would stop there.

use vxlan::decap::{UdpChecksum, parse_outer, parse_outer_with};
use vxlan::wire::{headers, vxlan as vxlan_header};

/// One input.
pub fn run(frame: &[u8]) {
    let trusted = parse_outer_with(frame, UdpChecksum::Trust);
    if let Ok(verified) = parse_outer(frame) {
        assert_eq!(trusted.as_ref(), Ok(&verified));
    }
    let Ok(outer) = trusted else { return };
    let payload = frame.get(outer.payload).expect("the payload lies within the frame");
    let Ok((_, inner)) = vxlan_header::parse(payload) else { return };
    let _ = headers::parse(inner, false);
}
