//! The libFuzzer end of `weir_fuzz::fragments`, where everything about it stands: `cargo +nightly fuzz run fragments`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::fragments::run(input));
