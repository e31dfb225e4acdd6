//! The libFuzzer end of `weir_fuzz::pcapng`, where everything about it stands: `cargo +nightly fuzz run pcapng`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::pcapng::run(input));
