//! The libFuzzer end of `weir_fuzz::manifest`, where everything about it stands: `cargo +nightly fuzz run manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::manifest::run(input));
