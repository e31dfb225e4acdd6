//! System calls, wrapped: the home of unsafe code.

pub mod lease;
pub mod peer;
