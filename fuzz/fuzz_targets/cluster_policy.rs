//! The libFuzzer end of `weir_fuzz::cluster_policy`, where everything about it stands: `cargo +nightly fuzz run cluster_policy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::cluster_policy::run(input));
