//! Reports: what a measurement found, as plain data, and the directory it is left in.
//!
//! ```text
//!  lab bench, replay, bench ─► Run ─► directory: result.json   everything, schema `weir-run/1`
//!                               │                *.csv         series, ratios, curves, books, one row a figure
//!                               │                latency/      histograms, as HdrHistogram's own tools read them
//!                               │                report.html   one file, plots as SVG, nothing loaded from elsewhere
//!                               └► compare: two runs side by side, by their spread
//! ```
//! A [`Run`] knows nothing of how it was measured: named [`Series`] of one figure per round, [`Ratio`]s of two series
//! taken round by round, [`Curve`]s over the offered load, [`Latency`] histograms, and [`Book`]s that account for
//! every packet offered. `docs/results.md` describes the schema.

// Figures for people: counts far below 2^52, and never negative where a count is made of them.
#![allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]

mod book;
pub mod compare;
pub mod directory;
mod environment;
mod hlog;
mod html;
mod latency;
mod run;
mod spread;
mod unit;

pub use book::Book;
pub(crate) use book::whether;
pub use compare::{Change, Comparison, compare};
pub use environment::Environment;
pub use html::escaped;
pub(crate) use latency::LONGEST_NS;
pub use latency::Latency;
pub use run::{Better, Curve, Figure, Point, Ratio, Run, SCHEMA, Series};
pub use spread::Spread;
use unit::scale;
pub use unit::{human, quantity};
