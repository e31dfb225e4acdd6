//! Load: frames from a seed, sent through any port at a rate, and counted when they come back.
//!
//! ```text
//!  Shape ─► Generator ─ templates, patched ─► Frame ─► Tokens: is it due? ─► Port::send ─► device
//!                                                                                             │
//!                      lost, duplicated, reordered, late ◄─ Tally ◄─ Stamp in the payload ◄───┘
//! ```
//! A [`Shape`] says what is sent; equal shapes and seeds give equal frames. Templates are built once; for each frame
//! a few fields are patched and its checksums follow by RFC 1624: nothing is allocated and nothing summed anew.
//! [`Tokens`] decide when: what is late beyond a bound is left out, never sent in one burst. What is reported as sent
//! is what the port took, never what was put in a queue of ours. Each datagram carries a [`Stamp`]: which stream,
//! the how many-th, when.
//!
//! Datagrams tell what a device does to frames; [`exchange`] has TCP speak through it.
//!
//! Frame sizes count the FCS, as RFC 2544 does, and inside a tunnel they are those of the inner frame. The least that
//! carries a stamp is 64 bytes with IPv4 and 78 with IPv6; smaller ones are raised to that.

// Frames of a run are far fewer than 2^52, and rates are never negative.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

pub mod exchange;
mod generator;
pub mod interface;
mod popularity;
mod report;
mod send;
mod shape;
mod stamp;
mod tally;
mod template;
mod tokens;
mod wire;

#[cfg(test)]
mod tests;

pub use generator::{Generator, Written};
pub use popularity::Popularity;
pub use report::{Arrived, LoadReport};
pub use send::{Clock, Offered, Rate, RateError, send};
pub use shape::{Ends, Kind, Macs, Shape, ShapeError, Sizes, SizesError};
pub use stamp::{Mark, Stamp};
pub use tally::{Counts, Tally};
pub use tokens::Tokens;
pub use wire::{Order, Passed, Wire};
