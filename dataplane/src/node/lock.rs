//! One weir per VXLAN port: two locks, held for the life of the process, which go with it, however it ends.
//!
//! The kernel's own refusal to bind UDP 8472 twice does not help between two weirs of one user, whose queues share the port
//! (`SO_REUSEPORT`), when both find it free in the same instant. [`NamespaceLock`] does: the kernel gives it to one process
//! of a network namespace, in one step, and says which has it. [`InstanceLock`] is a file (`flock`, advisory) beside the
//! control socket: it keeps weirs of several network namespaces from sharing a directory.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sys::name_lock::{NameError, NameLock};
use crate::sys::process;

/// How long somebody who has just locked the file may take to write down who it is.
const PATIENCE: Duration = Duration::from_millis(100);

/// The lock of a network namespace, as long as this lives.
#[derive(Debug)]
pub(super) struct NamespaceLock(#[allow(dead_code, reason = "held, not read")] NameLock);

/// The lock file, as long as this lives.
#[derive(Debug)]
pub(super) struct InstanceLock(#[allow(dead_code, reason = "held, not read")] File);

/// Why the lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has the network namespace's.
    #[error(
        "another weir ({}) is running with UDP port {port} in this network namespace; stop it first, or give this one \
         another underlay.port",
        named(.holder.as_ref(), .name)
    )]
    Shared {
        /// UDP port.
        port: u16,
        /// The name of the lock.
        name: String,
        /// Who holds it, where the kernel says.
        holder: Option<u32>,
    },
    /// There are no such locks.
    #[error(
        "cannot make sure that no other weir runs in this network namespace: {0}; it takes a Unix socket"
    )]
    Namespace(io::Error),
    /// Another process has the file.
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

fn named(holder: Option<&u32>, name: &str) -> String {
    let pid = |pid: &u32| format!("pid {pid}");
    holder.map_or_else(|| format!("`ss -xlp src @{name}` shows which"), pid)
}

impl NamespaceLock {
    /// Takes the lock for `port` in the network namespace of the calling thread.
    pub(super) fn take(port: u16) -> Result<Self, LockError> {
        let name = format!("weir-vxlan-{port}");
        match NameLock::take(&name) {
            Ok(lock) => Ok(Self(lock)),
            Err(NameError::Held(holder)) => Err(LockError::Shared { port, name, holder }),
            Err(NameError::Io(error)) => Err(LockError::Namespace(error)),
        }
    }
}

impl InstanceLock {
    /// Takes the lock for `port` in `directory`, which is made where it does not exist.
    pub(super) fn take(directory: &Path, port: u16) -> Result<Self, LockError> {
        let path = directory.join(format!("weir-{port}.lock"));
        Self::open(directory, &path).map_err(|error| match error {
            OpenError::Held(holder) => LockError::Held { path: path.clone(), port, holder },
            OpenError::Io(error) => LockError::Io { path: path.clone(), error },
        })
    }

    fn open(directory: &Path, path: &Path) -> Result<Self, OpenError> {
        if !directory.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::Held(holder(&mut file)));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }
}

/// Who has locked the file, as it says. At first it may say nothing yet, or who held the lock before.
fn holder(file: &mut File) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let pid: Option<u32> = read.ok().and_then(|_| text.trim().parse().ok());
        match pid.filter(|pid| process::is_alive(*pid)) {
            Some(pid) => return pid.to_string(),
            // Of another namespace of processes, perhaps.
            None if Instant::now() >= until => {
                return pid.map_or("unknown".to_owned(), |pid| pid.to_string());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
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

    #[test]
    fn a_second_lock_of_a_namespace_is_refused_naming_the_holder_or_how_to_find_it() {
        // No port that a weir of this machine would have, nor another run of this test.
        let port = 1 + (std::process::id() % 1023) as u16;
        let held = NamespaceLock::take(port).expect("first");
        let refused = NamespaceLock::take(port).expect_err("second");
        let text = refused.to_string();
        assert!(
            text.contains(&format!("(pid {})", std::process::id())) && text.contains("namespace"),
            "{text}"
        );
        drop(held);
        assert!(NamespaceLock::take(port).is_ok());
        let unknown = LockError::Shared { port: 8472, name: "weir-vxlan-8472".to_owned(), holder: None };
        assert!(unknown.to_string().contains("`ss -xlp src @weir-vxlan-8472` shows which"), "{unknown}");
    }

    #[test]
    fn a_holder_that_is_gone_is_not_believed_at_once() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("weir-8472.lock");
        std::fs::write(&path, "4194305\n").expect("written");
        let mut file = File::options().read(true).write(true).open(&path).expect("opened");
        let begin = Instant::now();
        assert_eq!(holder(&mut file), "4194305");
        assert!(begin.elapsed() >= PATIENCE);
    }
}
