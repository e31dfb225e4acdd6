//! The control socket: how `weir status`, `weir show`, `weir attach` and `weir detach` speak to a running daemon.
//!
//! A Unix stream socket; a client sends one line of JSON ([`Request`]), gets one line of JSON ([`Response`])
//! and the connection ends. No packet passes here: the server runs on threads of its own and reaches the
//! dataplane through [`Handler`] only.
//!
//! Who may speak is checked twice: the socket's mode is 0600 (in a directory of mode 0700 where weir makes it),
//! and the kernel is asked for the peer's uid (SO_PEERCRED), which has to be weir's own or root. Bounds: 1 MiB
//! and 5 s until a request has arrived, 8 clients at a time; what goes beyond is refused with a reason, and harms
//! no other. A client waits a minute for its answer.

mod client;
mod counted;
mod protocol;
mod server;
mod stages;
mod status;

#[cfg(test)]
mod tests;

pub use client::{ClientError, call};
pub use counted::{denials, drops, stages};
pub use protocol::{DetachTarget, Reply, Request, Response};
pub use server::{Handler, Server, ServerError};
pub use stages::{LONGEST_LEASE, StageCounts, StageReport, StageRow, Stages, WorkerCounts, WorkerReport};
pub use status::{
    AttachmentState, Connections, Denial, FlowCacheStatus, GatewayStatus, PacketCounts, PeerStatus,
    PodStatus, PortStatus, StateStatus, StateSummary, Status, UnderlayStatus, WorkerStatus,
};

use std::time::Duration;

/// The longest request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 1 << 20;
/// The longest a request may take to arrive, and its response to be taken.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// The longest a client waits for the response. What was asked for takes its time: an interface goes when the kernel's
/// grace periods are over, on a host that is busy seconds later, and a large state wants to be compiled.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// Clients served at a time.
pub const MAX_CLIENTS: usize = 8;
