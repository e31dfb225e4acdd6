//! The libFuzzer end of `weir_fuzz::ruleset_text`, where everything about it stands: `cargo +nightly fuzz run ruleset_text`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::ruleset_text::run(input));
