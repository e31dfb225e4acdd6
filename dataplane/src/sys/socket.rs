//! Sockets and their options: the calls the packet and UDP sockets have in common.
//!
//! Start-up only; nothing here is called per packet. Socket addresses are written and read as bytes
//! (see [`Address`](super::mmsg::Address)), so that no structure of libc crosses into safe code.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `SO_MEMINFO` of `asm-generic/socket.h`, which libc does not have everywhere.
const SO_MEMINFO: i32 = 55;

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

/// Lets others connect, so many at a time as long as nobody takes them in.
pub fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })
}

/// Connects to an address given as the bytes of its `sockaddr`.
pub fn connect(fd: BorrowedFd<'_>, address: &[u8]) -> io::Result<()> {
    let len = length(address)?;
    // SAFETY: `address` is `len` readable bytes for the length of the call; the kernel copies them.
    check(unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr().cast(), len) })
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

/// Has a TCP socket use a congestion control, by its name.
///
/// # Errors
/// `NotFound` where the kernel has none of that name, `PermissionDenied` where not everybody may use it.
pub fn set_congestion_control(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    set_bytes(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION, name.as_bytes())
}

/// Reads an option that gives an `int`.
pub fn value(fd: BorrowedFd<'_>, level: i32, option: i32) -> io::Result<i32> {
    let mut bytes = [0_u8; 4];
    value_bytes(fd, level, option, &mut bytes)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Reads an option that gives a plain structure, as its bytes; how many the kernel wrote.
pub fn value_bytes(fd: BorrowedFd<'_>, level: i32, option: i32, bytes: &mut [u8]) -> io::Result<usize> {
    let mut len = length(bytes)?;
    // SAFETY: `bytes` is `len` writable bytes, and `len` a writable local, for the length of the call.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, bytes.as_mut_ptr().cast(), &raw mut len)
    })?;
    Ok(bytes.len().min(len as usize))
}

/// How many messages the kernel has dropped so far because the receive buffer was full, modulo 2^32
/// (`SK_MEMINFO_DROPS`, Linux 4.12).
pub fn losses(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const WORD: usize = size_of::<u32>();
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize * WORD;
    let mut bytes = [0_u8; DROPS + WORD];
    if value_bytes(fd, libc::SOL_SOCKET, SO_MEMINFO, &mut bytes)? < bytes.len() {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    let count = bytes.last_chunk().copied().unwrap_or_default();
    Ok(u32::from_ne_bytes(count))
}

/// Makes the kernel discard everything that arrives at the socket (a one-instruction filter): for sockets
/// that only send, whose port would else collect what strangers send to it.
pub fn discard_arrivals(fd: BorrowedFd<'_>) -> io::Result<()> {
    filter_arrivals(fd, &[statement(RETURN_CONSTANT, 0)])
}

/// Lets the kernel hand over only what the program (classic BPF) returns bytes of, in place of an earlier program.
pub fn filter_arrivals(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    attach(fd, libc::SO_ATTACH_FILTER, program)
}

/// Has the sockets that share a port receive by the source port of what arrives: the one of number `port % count`, in
/// the order in which they were bound.
///
/// # Errors
/// The socket shares its port with nobody.
pub fn choose_by_source_port(fd: BorrowedFd<'_>, ipv6: bool, count: usize) -> io::Result<()> {
    const LOAD_HALF_WORD: u16 = 0x28;
    const MODULO: u16 = 0x94;
    const RETURN_RESULT: u16 = 0x16;
    /// `SKF_NET_OFF`: offsets from here on count from the IP header.
    const IP_HEADER: u32 = 0_u32.wrapping_sub(0x10_0000);
    let source_port = IP_HEADER.wrapping_add(if ipv6 { 40 } else { 20 });
    let count = u32::try_from(count.max(1)).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program =
        [statement(LOAD_HALF_WORD, source_port), statement(MODULO, count), statement(RETURN_RESULT, 0)];
    attach(fd, libc::SO_ATTACH_REUSEPORT_CBPF, &program)
}

const RETURN_CONSTANT: u16 = 0x06;

const fn statement(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Gives the socket a classic BPF program (`linux/filter.h`).
fn attach(fd: BorrowedFd<'_>, option: i32, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let filter = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    // SAFETY: `filter` and the instructions it points to live to the end of the call; the kernel copies
    // both and writes to neither.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const filter).cast(), len)
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
    fn what_a_full_buffer_loses_is_counted_though_nobody_receives() {
        let full = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        set(full.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 4096).unwrap();
        assert_eq!(losses(full.as_fd()).unwrap(), 0);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            sender.send_to(&[0; 1400], full.local_addr().unwrap()).unwrap();
        }
        let lost = losses(full.as_fd()).unwrap();
        full.set_nonblocking(true).unwrap();
        let got = std::iter::from_fn(|| full.recv(&mut [0; 2000]).ok()).count();
        assert!(lost > 0);
        assert_eq!(got + lost as usize, 20);
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
