//! weir's packet path: ports, pipeline, connection tracking, workers and the control socket.
//!
//! ```text
//!  local port ─► parse ───────────────────► guard ─► conntrack ─► policy ─► forward ─┬─► local port
//!                                             ▲                                      └─► encap ─► underlay
//!  underlay ───► decap ─► parse ──────────────┘          (neighbours are configured: no learning, no flooding)
//!                  every stage may end a packet: DropReason, counter
//! ```
//!
//! Two kinds of threads meet here. A **worker** owns its ports, its pipeline and its packet memory, and runs
//! to completion: receive a batch, pass it through the stages, send. The **control** side compiles the
//! cluster state into a [`tables::Generation`] and publishes it; a worker picks it up between two batches
//! and never waits for it.
//!
//! The pipeline reads no clock and makes no system call: each batch carries its [`time::Timestamp`].

pub mod buffer;
pub mod drop_reason;
pub mod ports;
pub mod sys;
pub mod time;

pub mod conntrack;
pub mod fragments;
pub mod offload;
pub mod respond;

pub mod pipeline;
pub mod tables;
pub mod telemetry;
pub mod workers;

pub mod config;
pub mod control;
pub mod state;

pub mod doctor;
pub mod node;
