//! The libFuzzer end of `weir_fuzz::vxlan_header`, where everything about it stands: `cargo +nightly fuzz run vxlan_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::vxlan_header::run(input));
