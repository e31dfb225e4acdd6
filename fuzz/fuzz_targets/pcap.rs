//! The libFuzzer end of `weir_fuzz::pcap`, where everything about it stands: `cargo +nightly fuzz run pcap`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir_fuzz::pcap::run(input));
