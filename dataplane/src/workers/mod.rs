//! Workers: the threads packets are handled on.
//!
//! There are as many as the configuration says, by default one for each processor. Each owns a queue of every port, a
//! pipeline and its packet memory, and shares with the others the connections, the fragments under way, the published
//! generation, and nothing else:
//!
//! ```text
//!   loop:  commands? ─► new generation? ─► for each port with something: recv ─► pipeline ─► send ─► wait
//! ```
//! The kernel says by epoll which ports have something, so that ports that are quiet cost nothing. A worker sleeps only
//! after every port that was ready has been drained, so edge-triggered readiness loses nothing. Ports are added and
//! removed between two batches, on all workers or on none; the packets of other ports do not notice.
//!
//! # Order
//! Frames that come by one queue leave in their order: one worker handles them, one batch at a time. Which queue a frame
//! comes by is the kernel's choice, by flow: see the port kinds. Where both directions of a connection come by different
//! workers they meet in the connection table.

mod group;
mod placement;
mod slots;
mod wakefulness;
mod watch;
mod worker;

pub use group::{AttachError, AttachedPort, PortGone, WorkerView, Workers, WorkersConfig};
pub use placement::Placement;
