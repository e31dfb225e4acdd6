//! Sample frames.
