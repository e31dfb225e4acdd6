//! The libFuzzer end of `weir_fuzz::vnet_header`, where everything about it stands: `cargo +nightly fuzz run vnet_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::vnet_header::run(input));
