//! The libFuzzer end of `weir_fuzz::cilium`, where everything about it stands: `cargo +nightly fuzz run cilium`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::cilium::run(input));
