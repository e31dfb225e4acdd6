//! Who is at the other end of a Unix socket.

#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// The uid of the process that connected, as the kernel noted it then (SO_PEERCRED, unix(7)).
///
/// # Errors
/// The kernel does not say.
pub fn uid(stream: &UnixStream) -> io::Result<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `stream` is borrowed; the kernel writes at most `length` bytes,
    // which is the size of `credentials`, any bit pattern of which is valid.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(credentials.uid) } else { Err(io::Error::last_os_error()) }
}

/// The effective uid of this process.
pub fn own_uid() -> u32 {
    // SAFETY: has no preconditions and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::{own_uid, uid};
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_peer_of_an_own_socket_pair_is_oneself() {
        let (left, _right) = UnixStream::pair().unwrap();
        assert_eq!(uid(&left).unwrap(), own_uid());
    }
}
