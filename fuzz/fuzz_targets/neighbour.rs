//! The libFuzzer end of `weir_fuzz::neighbour`, where everything about it stands: `cargo +nightly fuzz run neighbour`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::neighbour::run(input));
