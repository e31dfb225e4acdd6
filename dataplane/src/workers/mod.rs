//! Workers: the threads packets are handled on.
//!
//! A worker owns its ports, its pipeline and its packet memory, and shares with the rest of the process only
//! counters, the published generation and a command channel that it looks into between batches:
//!
//! ```text
//!   loop:  commands? ─► new generation? ─► for each port: recv ─► pipeline ─► send ─► (nothing came: sleep in mio)
//! ```
//! It sleeps only after every port has been drained, so edge-triggered readiness loses nothing. Ports are added and
//! removed between two batches; the packets of other ports do not notice.

mod handle;
mod worker;

pub use handle::{AttachError, PortGone, WorkerHandle};
pub use worker::WorkerConfig;
