//! The state directory read once, for commands that answer from it and end.

use std::path::Path;
use std::thread;
use std::time::Duration;

use policy_compiler::{Diagnostic, OnInvalid};

use super::source::{Changes, DirectorySource, ScanError};

/// Pause between two looks at a directory that somebody is writing to.
const PAUSE: Duration = Duration::from_millis(20);

/// Everything a directory holds, as one set of upserts. Waits up to two seconds for a directory in motion.
///
/// # Errors
/// Everything that is wrong with the directory; with [`OnInvalid::Isolate`] only what nothing can be made of.
pub fn read_once(directory: &Path, on_invalid: OnInvalid) -> Result<Changes, Vec<Diagnostic>> {
    let mut source = DirectorySource::open(directory);
    loop {
        match source.scan(on_invalid) {
            Ok(changes) => return Ok(changes),
            Err(ScanError::Invalid(diagnostics)) => return Err(diagnostics),
            // The source itself loses patience.
            Err(ScanError::Unsettled { .. }) => thread::sleep(PAUSE),
        }
    }
}
