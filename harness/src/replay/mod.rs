//! Replay: a capture through the whole pipeline of a node, and what became of every packet.
//!
//! ```text
//!  capture ─► place ─► fit ─────► pace ─► pipeline on memory ─► endings ─► books: tally, flows, talkers, latency
//!  (loop N)   which    link type,  timed,  (the very one that        │      └─► record, expect, against
//!             port     MACs, snap  xN, pps  `weir run` runs)          └─► --out, --dropped, --to
//!                      length      or max
//! ```
//! A packet enters at the port that its addresses imply: a pod of this node sends from that pod's port, VXLAN to this
//! node comes in at the underlay, everything else that concerns a pod comes from the node (`place.rs`). What was captured
//! elsewhere, or cut by a snap length, is made into what that port would have seen (`fit.rs`). The pipeline's clock is
//! the capture's, in steps of a millisecond: at any speed timeouts come out the same.
//!
//! # The sum
//! `read = left out + entered` and `entered = forwarded + answered + dropped + held`, to the packet; the second line
//! is held against the pipeline's own counters too, and the report says whether both are so.
//!
//! # Bounds
//! Whatever the size of the capture: one window of it (1 MiB), [`MAX_FLOWS`] flows (some 40 MiB; packets of further
//! ones are counted, not told apart), a connection table as configured (57 MiB by default), a frame pool of which only
//! the pages in use count, and [`MAX_PENDING`] packets whose verdict is awaited by a comparison. Twice the tables where
//! two states are compared.

mod books;
mod clock;
mod compare;
mod engine;
mod fit;
mod flows;
mod headers;
mod map;
mod node;
mod outputs;
mod pace;
mod passes;
mod place;
mod record;
mod replica;
mod report;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod wire;

pub use clock::STEP_NS;
pub use engine::{Options, run};
pub use flows::{FlowLine, MAX_FLOWS};
pub use map::{MapError, MapRule};
pub use node::NodeState;
pub use pace::{Speed, SpeedError};
pub use passes::{Input, Progress};
pub use place::LeftOut;
pub use record::MAX_PENDING;
pub use report::{Capture, Report};
pub use text::Text;
pub use wire::{WireReport, send};

use std::io;
use std::path::PathBuf;

use policy_compiler::Diagnostic;

use crate::capture::CaptureError;

/// Why a replay could not begin, or not write what it should. A fault in the capture is not among these: what came
/// before it is reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The state is refused.
    #[error("{}", lines(.0))]
    State(Vec<Diagnostic>),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] dataplane::config::ConfigError),
    /// The state does not say what the node is.
    #[error(transparent)]
    Identity(#[from] dataplane::node::IdentityError),
    /// Nodes contradict one another.
    #[error(transparent)]
    Nodes(#[from] vxlan::fdb::FdbError),
    /// The capture cannot be begun.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A file or interface cannot be opened or written.
    #[error("{what}: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        error: io::Error,
    },
    /// A rule of `--map` names a pod that the node does not have.
    #[error("--map: {pod} is no pod of node {node}: expected one of {known}")]
    NoSuchPod {
        /// Named.
        pod: String,
        /// The node.
        node: String,
        /// Its pods.
        known: String,
    },
    /// An output would overwrite an input, or another output.
    #[error("{0}: named twice: each input and output needs a file of its own")]
    SameFile(PathBuf),
    /// A line of the expected verdicts cannot be read.
    #[error("{file}:{line}: {message}: expected a line that --record wrote")]
    Expected {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// A pipe cannot be read twice.
    #[error("standard input cannot be read again: --loop needs a file")]
    LoopOverPipe,
}

impl ReplayError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { what: what.into(), error }
    }
}

fn lines(problems: &[Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
