//! The libFuzzer end of `weir_fuzz::outer_decap`, where everything about it stands: `cargo +nightly fuzz run outer_decap`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::outer_decap::run(input));
