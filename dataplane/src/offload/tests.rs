//! Held against smoltcp and a plain reassembly.
