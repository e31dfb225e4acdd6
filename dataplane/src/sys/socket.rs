//! Sockets and their options: the calls the packet and UDP sockets have in common.
//!
//! Start-up only; nothing here is called per packet. Socket addresses are written and read as bytes
//! (see [`Address`](super::mmsg::Address)), so that no structure of libc crosses into safe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A new socket, non-blocking and closed on exec.
pub fn open(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(domain, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds to an address given as the bytes of its `sockaddr`.
pub fn bind(fd: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    let len = length(address)?;
    // SAFETY: `address` is `len` readable bytes for the length of the call; the kernel copies them.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr().cast(), len) })
}

/// The address the socket is bound to, as the bytes of its `sockaddr`; how many the kernel wrote.
pub fn name(fd: BorrowedFd<'_>, address: &mut [u8]) -> io::Result<usize> {
    let mut len = length(address)?;
    // SAFETY: `address` is `len` writable bytes, and `len` a writable local, for the length of the call.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), address.as_mut_ptr().cast(), &raw mut len) })?;
    Ok(address.len().min(len as usize))
}

/// Sets an option that takes an `int`.
pub fn set(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_bytes(fd, level, option, &value.to_ne_bytes())
}

/// Sets an option that takes a plain structure, given as its bytes. Not for structures that hold pointers.
pub fn set_bytes(fd: BorrowedFd<'_>, level: i32, option: i32, value: &[u8]) -> io::Result<()> {
    let len = length(value)?;
    // SAFETY: `value` is `len` readable bytes for the length of the call; the kernel copies them.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value.as_ptr().cast(), len) })
}

/// Reads an option that gives an `int`.
pub fn value(fd: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<i32> {
    let mut bytes = [0_u8; 4];
    value_bytes(fd, level, option, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Reads an option that gives a plain structure, into its bytes; how many the kernel wrote.
pub fn value_bytes(fd: BorrowedFd<'_>, level: i32, option: i32, bytes: &mut [u8]) -> io::Result<usize> {
    let mut len = length(bytes)?;
    // SAFETY: `bytes` is `len` writable bytes, and `len` a writable local, for the length of the call.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, bytes.as_mut_ptr().cast(), &raw mut len)
    })?;
    Ok(bytes.len().min(len as usize))
}

/// Reads an option that gives a plain structure, as its bytes; how many the kernel wrote.
pub fn read_bytes(fd: BorrowedFd<'_>, level: i32, option: i32, value: &mut [u8]) -> io::Result<usize> {
    let mut len = length(value)?;
    // SAFETY: `value` is `len` writable bytes, and `len` a writable local, for the length of the call.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, value.as_mut_ptr().cast(), &raw mut len)
    })?;
    Ok(value.len().min(len as usize))
}

/// Makes the kernel discard everything that arrives at the socket (a one-instruction filter): for sockets
/// that only send, whose port would else collect what strangers send to it.
pub fn discard_arrivals(fd: BorrowedFd<'_>) -> io::Result<()> {
    const RETURN_CONSTANT: u16 = 0x06;
    filter_arrivals(fd, &[libc::sock_filter { code: RETURN_CONSTANT, jt: 0, jf: 0, k: 0 }])
}

/// Lets the kernel hand over only what the program (classic BPF) returns bytes of, in place of an earlier program.
pub fn filter_arrivals(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: `filter` and the instructions it points to, as many as it says, live to the end of the call; the kernel
    // copies both and writes to neither.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const filter).cast(),
            len,
        )
    })
}

/// Lets a socket that [discards arrivals](discard_arrivals) receive from now on.
pub fn accept_arrivals(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0)
}

/// Asks for a receive buffer of `bytes`, beyond the system's limit where `CAP_NET_ADMIN` allows, else up to it.
/// Returns what the kernel granted (it doubles what it is asked for, for its own bookkeeping).
pub fn receive_buffer(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<i32> {
    set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))?;
    value(fd, libc::SOL_SOCKET, libc::SO_RCVBUF)
}

/// The same for the send buffer.
pub fn send_buffer(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<i32> {
    set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes)
        .or_else(|_| set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes))?;
    value(fd, libc::SOL_SOCKET, libc::SO_SNDBUF)
}

fn length(bytes: &[u8]) -> io::Result<libc::socklen_t> {
    libc::socklen_t::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn an_option_reads_back_as_set() {
        let socket = open(libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap();
        set(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TTL, 9).unwrap();
        assert_eq!(value(socket.as_fd(), libc::IPPROTO_IP, libc::IP_TTL).unwrap(), 9);
    }

    #[test]
    fn a_buffer_beyond_the_limit_falls_back_to_the_limit() {
        let socket = open(libc::AF_INET, libc::SOCK_DGRAM, 0).unwrap();
        assert!(receive_buffer(socket.as_fd(), 1 << 24).unwrap() > 0);
        assert!(send_buffer(socket.as_fd(), 1 << 24).unwrap() > 0);
    }

    #[test]
    fn a_socket_that_discards_arrivals_receives_nothing() {
        let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        discard_arrivals(deaf.as_fd()).unwrap();
        deaf.set_nonblocking(true).unwrap();
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", deaf.local_addr().unwrap()).unwrap();
        assert_eq!(deaf.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
