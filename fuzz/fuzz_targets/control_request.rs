//! The libFuzzer end of `weir_fuzz::control_request`, where everything about it stands: `cargo +nightly fuzz run control_request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::control_request::run(input));
