//! The libFuzzer end of `weir_fuzz::general_rules`, where everything about it stands: `cargo +nightly fuzz run general_rules`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::general_rules::run(input));
