//! The libFuzzer end of `weir_fuzz::policy_equivalence`, where everything about it stands: `cargo +nightly fuzz run policy_equivalence`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::policy_equivalence::run(input));
