//! Raw IP sockets: whole transport packets of one protocol, for labs and tests (ping, SCTP by hand).
//!
//! Needs `CAP_NET_RAW`. The kernel writes the IP header, and the checksum of ICMPv6; what an IPv4 socket
//! receives begins with the IP header, what an IPv6 one receives does not.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::{FromRawFd, OwnedFd};

/// Opens a raw socket in the namespace of the calling thread.
///
/// It comes as a [`UdpSocket`] for its methods, which any datagram socket of these families has; the port
/// in its addresses means nothing and must be zero.
pub fn open(ipv6: bool, protocol: u8) -> io::Result<UdpSocket> {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: the call takes numbers only.
    let descriptor =
        unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, i32::from(protocol)) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is fresh, valid, and owned by nobody else.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(UdpSocket::from(descriptor))
}
