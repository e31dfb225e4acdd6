//! Ports against the real kernel, in namespaces of the test's own.
//!
//! Namespaces go with the test, also when it fails. Without the right to make them a test says what it lacks
//! and passes; under `CI=true` that is a failure.

mod af_packet;
mod af_xdp;
mod raw;
mod scratch;
mod tap;
mod udp;
