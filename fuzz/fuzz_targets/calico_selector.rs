//! The libFuzzer end of `weir_fuzz::calico_selector`, where everything about it stands: `cargo +nightly fuzz run calico_selector`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::calico_selector::run(input));
