//! Network namespaces: opened, made, removed, and entered for the length of a closure.
//!
//! A namespace is held by a descriptor, so it lives on though its name is removed. Names are those of
//! `ip netns`: a file under `/run/netns` with the namespace mounted over it, so that both tools see the
//! same ones. `setns(2)` moves one thread only; [`Netns::run`] therefore makes a thread for each call and
//! lets it end in the foreign namespace, and the caller's thread never moves.
//!
//! Needs `CAP_SYS_ADMIN` in the user namespace that owns the network namespace, and in one's own. Within a
//! user namespace with its own mount namespace `/run` must be writable (a private tmpfs).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::ptr;

/// Where named namespaces live, as `ip netns` has it.
pub const NETNS_DIRECTORY: &str = "/run/netns";

/// `_IO(0xb7, 3)` of `linux/nsfs.h`: which kind of namespace a descriptor stands for.
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// A network namespace, held open.
#[derive(Debug)]
pub struct Netns(OwnedFd);

impl Netns {
    /// Opens the namespace at `path`: a name under `/run/netns` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a network namespace (a name whose mount is gone).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path).map_err(|error| at(path, "cannot open network namespace", &error))?;
        // SAFETY: the descriptor is open for as long as `file` lives, and the request takes no argument.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        if kind != libc::CLONE_NEWNET {
            let reason = io::Error::from(io::ErrorKind::InvalidInput);
            return Err(at(path, "is not a network namespace", &reason));
        }
        Ok(Self(OwnedFd::from(file)))
    }

    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Runs a closure in a namespace that is made for it and goes with it.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub fn run_in_new<T: Send>(f: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // SAFETY: the call takes a number only; it moves this thread, which ends with the closure.
                if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(f())
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The namespace called `name`, `/run/netns/NAME`.
    pub fn named(name: &str) -> io::Result<Self> {
        Self::open(&path_of(name)?)
    }

    /// Makes a namespace called `name`, as `ip netns add` does. Its loopback is down.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken; `PermissionDenied` without `CAP_SYS_ADMIN`, or where
    /// `/run` is not writable.
    pub fn create(name: &str) -> io::Result<Self> {
        let path = path_of(name)?;
        prepare_directory()?;
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o444)
            .open(&path)
            .map_err(|error| at(&path, "cannot make", &error))?;
        let made = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || unshare_onto(&path))?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that makes a namespace died")))
        });
        match made.and_then(|()| Self::open(&path)) {
            Ok(netns) => Ok(netns),
            Err(error) => {
                // The empty file would stand in the way of the next attempt.
                let _ = Self::delete(name);
                Err(at(&path, "cannot make network namespace", &error))
            }
        }
    }

    /// Removes the name; the namespace itself ends with its last process and descriptor.
    pub fn delete(name: &str) -> io::Result<()> {
        let path = path_of(name)?;
        let target = c_path(&path)?;
        // Errors are of no interest: the file may never have been mounted over, and `unlink` says the rest.
        // SAFETY: `target` is a NUL-terminated string that outlives the call.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        fs::remove_file(&path).map_err(|error| at(&path, "cannot remove", &error))
    }

    /// The names under `/run/netns`, sorted; none where the directory is missing.
    pub fn names() -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(NETNS_DIRECTORY) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> =
            entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Runs `f` in this namespace, on a thread of its own. Sockets it returns stay in the namespace.
    ///
    /// # Errors
    /// The thread cannot be made or may not enter the namespace; `f` has then not run.
    ///
    /// # Panics
    /// With what `f` panics with.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> io::Result<T> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, || self.enter().map(|()| f()))?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread into this namespace for good. Sound for a thread that does nothing else; for
    /// the length of a call there is [`Netns::run`].
    pub fn enter(&self) -> io::Result<()> {
        // SAFETY: the descriptor is owned by `self`; only the calling thread changes its namespace.
        let result = unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// The descriptor, as netlink wants it.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The inode of the namespace: equal for two descriptors exactly if they are the same namespace.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(File::from(self.0.try_clone()?).metadata()?.ino())
    }
}

/// Sets a sysctl of the calling thread's network namespace; `path` is below `/proc/sys`, like
/// `net/ipv4/ip_forward`.
pub fn sysctl_set(path: &str, value: &str) -> io::Result<()> {
    let file = Path::new("/proc/sys").join(path);
    fs::write(&file, value).map_err(|error| at(&file, "cannot write", &error))
}

/// Reads a sysctl of the calling thread's network namespace, without the line end.
pub fn sysctl(path: &str) -> io::Result<String> {
    let file = Path::new("/proc/sys").join(path);
    let text = fs::read_to_string(&file).map_err(|error| at(&file, "cannot read", &error))?;
    Ok(text.trim_end().to_owned())
}

/// A name is one component of a path and no more, so that `../x` never leaves the directory.
fn path_of(name: &str) -> io::Result<PathBuf> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} cannot name a network namespace: expected one path component"),
        ));
    }
    Ok(Path::new(NETNS_DIRECTORY).join(name))
}

/// Makes `/run/netns` a mount point with shared propagation: a name removed here is then free in every
/// other mount namespace too, instead of being pinned by a copy of the mount.
fn prepare_directory() -> io::Result<()> {
    let directory = Path::new(NETNS_DIRECTORY);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|error| at(directory, "cannot make", &error))?;
    // Two that each mount it would leave names below the upper mount that nobody can remove. `ip netns` takes this
    // lock too.
    let turn = File::open(directory).map_err(|error| at(directory, "cannot open", &error))?;
    turn.lock().map_err(|error| at(directory, "cannot lock", &error))?;
    let target = c_path(directory)?;
    let share = || mount(c"", &target, c"none", libc::MS_SHARED | libc::MS_REC);
    let shared = match share() {
        // Not a mount point yet: it becomes one by being mounted over itself.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            mount(&target, &target, c"none", libc::MS_BIND | libc::MS_REC).and_then(|()| share())
        }
        other => other,
    };
    shared.map_err(|error| at(directory, "cannot share the mount", &error))
}

/// Gives the calling thread a fresh network namespace and mounts it over `path`.
fn unshare_onto(path: &Path) -> io::Result<()> {
    // SAFETY: no pointers; only the calling thread, made for this, changes its namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount(c"/proc/thread-self/ns/net", &c_path(path)?, c"none", libc::MS_BIND)
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: three NUL-terminated strings that outlive the call, and no data for the file system.
    let result = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, ptr::null()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

fn at(path: &Path, what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_the_directory_is_refused() {
        for name in ["", ".", "..", "../x", "a/b", "a\0b"] {
            let error = Netns::create(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn a_file_that_is_no_namespace_is_refused() {
        let error = Netns::open(Path::new("/proc/self/status")).unwrap_err();
        assert!(error.to_string().contains("is not a network namespace"), "{error}");
    }

    #[test]
    fn a_namespace_of_another_kind_is_refused() {
        assert!(Netns::open(Path::new("/proc/self/ns/uts")).is_err());
    }

    #[test]
    fn the_current_namespace_opens_without_privilege() {
        let one = Netns::current().unwrap();
        let other = Netns::open(Path::new("/proc/self/ns/net")).unwrap();
        assert_eq!(one.inode().unwrap(), other.inode().unwrap());
    }
}
