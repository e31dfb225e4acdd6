//! The cluster's state: from a directory of manifests to compiled policies.
//!
//! ```text
//!  directory ─► Watcher ─ "something changed" ─► StateFollower::refresh
//!                                                   │ DirectorySource::scan   which objects came, changed, went
//!                                                   │ Compiler::compile       (policy-compiler)
//!                                                   ▼
//!                                                Compiled ─► the next generation
//! ```
//!
//! All of it runs on the control thread, off the packet path. Whatever goes wrong with the directory (invalid
//! objects, half-written files, nothing there at all) leaves the generation in force as it is: a scan
//! that finds an error changes nothing and says what it found. A directory that is empty or gone is an error,
//! never an empty cluster. Cost: only files that changed are read; a scan without a change is one `stat` per
//! file.

mod follow;
mod listing;
mod manifest;
mod once;
mod source;
mod watcher;

#[cfg(test)]
mod tests;

pub use follow::{Refresh, StateFollower};
pub use manifest::MAX_FILE_BYTES;
pub use once::read_once;
pub use source::{Changes, DirectorySource, ScanError};
pub use watcher::Watcher;
