//! The libFuzzer end of `weir_fuzz::calico`, where everything about it stands: `cargo +nightly fuzz run calico`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::calico::run(input));
