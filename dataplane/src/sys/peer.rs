//! Who is at the other end of a Unix socket.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The uid of the process that connected, as the kernel noted it then (SO_PEERCRED, unix(7)).
///
/// # Errors
/// The kernel does not say.
pub fn uid(stream: &UnixStream) -> io::Result<u32> {
    credentials(stream.as_fd()).map(|credentials| credentials.uid)
}

/// The process that listens where a socket has connected to, as the kernel noted it when it began to; none where our
/// namespace of processes does not have it.
///
/// # Errors
/// The kernel does not say.
pub fn pid(socket: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let pid = credentials(socket)?.pid;
    Ok(u32::try_from(pid).ok().filter(|pid| *pid != 0))
}

fn credentials(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket` is borrowed; the kernel writes at most `length` bytes,
    // which is the size of `credentials`, any bit pattern of which is valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(credentials) } else { Err(io::Error::last_os_error()) }
}

/// The effective uid of this process.
pub fn own_uid() -> u32 {
    // SAFETY: has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::{own_uid, pid, uid};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_an_own_socket_pair_is_oneself() {
        let (left, _right) = UnixStream::pair().unwrap();
        assert_eq!(uid(&left).unwrap(), own_uid());
        assert_eq!(pid(left.as_fd()).unwrap(), Some(std::process::id()));
    }
}
