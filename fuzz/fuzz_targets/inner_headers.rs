//! The libFuzzer end of `weir_fuzz::inner_headers`, where everything about it stands: `cargo +nightly fuzz run inner_headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::inner_headers::run(input));
