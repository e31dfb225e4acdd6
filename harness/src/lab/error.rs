//! Why there is no lab, or no more: what is missing and what to do, whose weir failed, what the kernel said.

use std::fmt::Display;
use std::io;

use super::plan::Side;

/// Why there is no lab, or no more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// This machine or user cannot have one as things are.
    #[error("{what}: {reason}; {advice}")]
    Unmet {
        /// What is missing.
        what: &'static str,
        /// The kernel's reason.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// Somebody asked it to end.
    #[error("interrupted")]
    Interrupted,
    /// The state directory is not valid, or does not have what was asked for.
    #[error("{}", .0.join("\n"))]
    State(Vec<String>),
    /// A weir did not do what the lab needs.
    #[error("{node}: {text}")]
    Weir {
        /// Its node.
        node: &'static str,
        /// What, and the end of its log.
        text: String,
    },
    /// The kernel refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl LabError {
    pub(super) fn unmet(what: &'static str, reason: &dyn Display, advice: &'static str) -> Self {
        Self::Unmet { what, reason: reason.to_string(), advice }
    }
}

pub(super) fn no_weir(side: Side) -> LabError {
    LabError::State(vec![format!("{} runs no weir in this lab", side.name())])
}
