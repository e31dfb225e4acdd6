//! One weir per VXLAN port: a lock file held for the life of the process.
//!
//! The kernel's own refusal to bind UDP 8472 twice does not help between two weirs of one user once a release
//! uses `SO_REUSEPORT` for its queues; the lock does, and names the process that holds it. It is advisory
//! (`flock`): it goes with the process, however that ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The lock, as long as this lives.
#[derive(Debug)]
pub(super) struct InstanceLock(#[allow(dead_code, reason = "held, not read")] File);

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "another weir (pid {holder}) is running with UDP port {port}: {path} is locked; stop it first, or give this one another underlay.port and lock directory"
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// UDP port.
        port: u16,
        /// Who holds it, as the file says.
        holder: String,
    },
    /// The file cannot be made.
    #[error(
        "cannot use the lock file {path}: {error}; set `lock` (or control.socket) to a directory weir may write to"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

impl InstanceLock {
    /// Takes the lock for `port` in `directory`, which is made where it does not exist.
    pub(super) fn take(directory: &Path, port: u16) -> Result<Self, LockError> {
        let path = directory.join(format!("weir-{port}.lock"));
        Self::open(directory, &path, port).map_err(|error| match error {
            OpenError::Held(holder) => LockError::Held { path: path.clone(), port, holder },
            OpenError::Io(error) => LockError::Io { path: path.clone(), error },
        })
    }

    fn open(directory: &Path, path: &Path, _port: u16) -> Result<Self, OpenError> {
        if !directory.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // A holder that has not written its pid yet is still a holder.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim();
                return Err(OpenError::Held(if holder.is_empty() { "unknown" } else { holder }.to_owned()));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

enum OpenError {
    Held(String),
    Io(io::Error),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_on_one_port_is_refused_naming_the_holder() {
        let directory = tempfile::tempdir().expect("directory");
        let held = InstanceLock::take(directory.path(), 8472).expect("first");
        let refused = InstanceLock::take(directory.path(), 8472).expect_err("second");
        assert!(refused.to_string().contains(&format!("pid {}", std::process::id())), "{refused}");
        assert!(InstanceLock::take(directory.path(), 4789).is_ok());
        drop(held);
        assert!(InstanceLock::take(directory.path(), 8472).is_ok());
    }
}
