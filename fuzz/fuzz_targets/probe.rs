//! The libFuzzer end of `weir_fuzz::probe`, where everything about it stands: `cargo +nightly fuzz run probe`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::probe::run(input));
