//! Whether somebody has a file open for writing (fcntl(2), "Leases").
//!
//! The kernel grants a read lease only on a file that nobody has open for writing: asking for one and giving it
//! back at once answers the question. Where leases are not to be had (a foreign file without CAP_LEASE, a
//! file system without them) there is no answer.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What asking for a lease told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Somebody has the file open for writing.
    Some,
    /// Nobody has.
    None,
    /// The file system or our rights do not let us know.
    Unknown,
}

/// Whether somebody has `file`, which is open for reading only, open for writing.
pub fn writers(file: &File) -> Writers {
    let fd = file.as_raw_fd();
    // Whoever opens the file for writing while the lease lives makes the kernel signal us, by default with
    // SIGIO, which kills. SIGURG is ignored unless somebody handles it.
    // SAFETY: F_SETSIG takes an int and touches no memory of ours; the descriptor is open while `file` is borrowed.
    if unsafe { libc::fcntl(fd, F_SETSIG, libc::SIGURG) } != 0 {
        return Writers::Unknown;
    }
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours; the descriptor is open as above.
    if unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) } != 0 {
        return match io::Error::last_os_error().raw_os_error() {
            Some(libc::EAGAIN) => Writers::Some,
            _ => Writers::Unknown,
        };
    }
    // SAFETY: as above. Closing the descriptor gives the lease back too, should this fail.
    unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) };
    Writers::None
}

/// Linux's number on every architecture; libc has it for a few only.
const F_SETSIG: libc::c_int = 10;

#[cfg(test)]
mod tests {
    use super::{Writers, writers};
    use std::fs::{File, OpenOptions};

    #[test]
    fn a_writer_is_seen_while_it_has_the_file_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert_ne!(writers(&reader), Writers::None);
        drop(writer);
        assert_ne!(writers(&reader), Writers::Some);
        // The lease is given back: opening for writing does not wait for us.
        drop(OpenOptions::new().append(true).open(&path).unwrap());
    }
}
