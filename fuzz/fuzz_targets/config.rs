//! The libFuzzer end of `weir_fuzz::config`, where everything about it stands: `cargo +nightly fuzz run config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::config::run(input));
