//! weir's own configuration: what Kubernetes does not know about this node.
//!
//! Everything about the cluster (pods, peers, policies) comes from Kubernetes objects, see [`crate::state`];
//! this file holds the node's name, its interfaces, limits, and where the state comes from.
//!
//! ```text
//!  node.yaml ──serde──► raw ──check──► Config ──► run, config check
//!                        │
//!                        └──schemars──► weir config schema
//! ```
//!
//! `raw` mirrors the file, refuses unknown keys and remembers the line and column of every value. The check
//! turns it into [`Config`], which cannot hold a wrong value, and reports every wrong value at once. Nothing
//! else sees `raw`. What a key means is written once, at its field in `raw`: the JSON Schema carries
//! those texts. A file is at most 1 MiB; aliases and nesting are bounded by the YAML reader.

mod addresses;
mod attachment;
mod byte_size;
mod check;
mod checked;
mod defaults;
mod error;
mod explain;
mod locate;
mod located;
mod names;
mod raw;
mod schema;
mod workers;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use attachment::{Attachment, AttachmentKind, AttachmentProblem, AttachmentRequest, PodRef, PodRefError};
pub use checked::{
    Config, Conntrack, Control, Gateway, Limits, Log, LogFormat, LogLevel, OnInvalid, Scheduling,
    Segmentation, State, Underlay, UnderlayKind, Vtep,
};
pub use error::{ConfigError, Problem};
pub use schema::schema;
pub use workers::WorkerCount;

/// The path of the control socket where the configuration names none.
pub const DEFAULT_SOCKET: &str = defaults::SOCKET;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

impl Config {
    /// Reads and checks the file at `path`. Relative paths in the file are relative to its directory.
    ///
    /// # Errors
    /// Every problem found, each with file, line, column and key; [`ConfigError::Read`] where the file
    /// cannot be read at all.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read = |source| ConfigError::Read { path: path.to_owned(), source };
        let size = std::fs::metadata(path).map_err(read)?.len();
        if size > MAX_FILE_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned(), size, limit: MAX_FILE_BYTES });
        }
        // A pipe or a device does not say how much it holds.
        let mut text = String::new();
        let file = File::open(path).map_err(read)?;
        let size = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(read)? as u64;
        if size > MAX_FILE_BYTES {
            return Err(ConfigError::TooLarge { path: path.to_owned(), size, limit: MAX_FILE_BYTES });
        }
        Self::parse(&text, path)
    }

    /// Checks `text` as if it stood in the file at `path`; reads nothing.
    ///
    /// # Errors
    /// Every problem found, each with file, line, column and key.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: raw::RawConfig =
            serde_saphyr::from_str(text).map_err(|error| explain::explain(&error, text, path))?;
        check::check(raw, path)
    }
}
