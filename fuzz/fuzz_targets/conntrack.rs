//! The libFuzzer end of `weir_fuzz::conntrack`, where everything about it stands: `cargo +nightly fuzz run conntrack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::conntrack::run(input));
