//! The libFuzzer end of `weir_fuzz::icmp_embedded`, where everything about it stands: `cargo +nightly fuzz run icmp_embedded`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::icmp_embedded::run(input));
