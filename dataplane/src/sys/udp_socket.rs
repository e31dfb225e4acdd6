//! UDP sockets for a tunnel: one that receives on the well-known port, many that send from ports of their own.
//!
//! The receiving socket owns its (address, port): it is bound without `SO_REUSEADDR` and `SO_REUSEPORT`, so a
//! second weir, or a kernel vxlan device there already, makes the bind fail instead of sharing the traffic
//! out. Where several sockets are to share a port (`shared`, one for each worker), [`is_free`] is asked first, which binds
//! alone for a moment: it fails beside any other holder, whether that shares or not. The sending sockets discard in the kernel whatever arrives at them. No privilege is needed; with
//! `CAP_NET_ADMIN` the buffers exceed the system's limit. No unsafe code here: the calls are in [`super::socket`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::mmsg::{Address, Message};
use super::socket;

const RECEIVE_BYTES: i32 = 16 << 20;
const SEND_BYTES: i32 = 4 << 20;

/// An unconnected UDP socket.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    local: SocketAddr,
}

impl UdpSocket {
    /// A socket that receives at `local`, alone or `shared` with others that say so, with destination address, traffic class and losses reported.
    ///
    /// # Errors
    /// `AddrInUse` where another socket or a tunnel device holds the port.
    pub fn receiver(local: SocketAddr, shared: bool) -> io::Result<Self> {
        let socket = Self::unbound(local)?;
        socket.share(shared)?;
        socket.set(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        socket::receive_buffer(socket.fd.as_fd(), RECEIVE_BYTES)?;
        // Datagrams that came as a train may be handed over as one. A kernel that cannot hands them over one by one.
        match socket.set(libc::SOL_UDP, libc::UDP_GRO, 1) {
            Err(error) if error.raw_os_error() != Some(libc::ENOPROTOOPT) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if local.is_ipv4() {
            socket.set(libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            socket.set(libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        } else {
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
            // RFC 6935: a tunnel endpoint may take datagrams without checksum.
            socket.set(libc::SOL_UDP, libc::UDP_NO_CHECK6_RX, 1)?;
        }
        socket.bind()?;
        Ok(socket)
    }

    /// A socket that sends from `local` and receives nothing. The don't-fragment bit stays clear, as flannel
    /// has it; `checksum` says whether the outer UDP checksum is computed.
    pub fn sender(local: SocketAddr, checksum: bool, shared: bool) -> io::Result<Self> {
        let socket = Self::unbound(local)?;
        socket.share(shared)?;
        socket::discard_arrivals(socket.fd.as_fd())?;
        socket::send_buffer(socket.fd.as_fd(), SEND_BYTES)?;
        if local.is_ipv4() {
            socket.set(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
        } else {
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT)?;
        }
        if !checksum {
            if local.is_ipv4() {
                socket.set(libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
            } else {
                socket.set(libc::SOL_UDP, libc::UDP_NO_CHECK6_TX, 1)?;
            }
        }
        socket.bind()?;
        Ok(socket)
    }

    /// Has the sockets that share this one's port receive by the source port of what arrives: socket `port % count`, in
    /// the order in which they were bound. The choice holds for all of them.
    ///
    /// # Errors
    /// The socket is not shared.
    pub fn choose_by_source_port(&self, count: usize) -> io::Result<()> {
        socket::choose_by_source_port(self.fd.as_fd(), self.local.is_ipv6(), count)
    }

    /// A socket that holds `local` against others, and keeps the kernel from answering there, but receives nothing: for a
    /// port whose datagrams come by another way.
    ///
    /// # Errors
    /// As with [`UdpSocket::receiver`].
    pub fn holder(local: SocketAddr) -> io::Result<Self> {
        let socket = Self::unbound(local)?;
        // Else the kernel would cut trains into their datagrams before it discards them. A kernel that cannot does not.
        let _ = socket.set(libc::SOL_UDP, libc::UDP_GRO, 1);
        socket::discard_arrivals(socket.fd.as_fd())?;
        socket.bind()?;
        Ok(socket)
    }

    /// Where it is bound.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    fn unbound(local: SocketAddr) -> io::Result<Self> {
        let domain = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let fd = socket::open(domain, libc::SOCK_DGRAM, libc::IPPROTO_UDP)?;
        let socket = Self { fd, local };
        if local.is_ipv6() {
            socket.set(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        Ok(socket)
    }

    /// Lets other sockets of this user bind to the same port, if they ask for it too.
    fn share(&self, shared: bool) -> io::Result<()> {
        if shared { self.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1) } else { Ok(()) }
    }

    fn bind(&self) -> io::Result<()> {
        socket::bind(self.fd.as_fd(), Address::new(self.local).bytes())
    }

    fn set(&self, level: i32, option: i32, value: i32) -> io::Result<()> {
        socket::set(self.fd.as_fd(), level, option, value)
    }
}

/// Fails where any socket or tunnel device holds the port, one that would share it too.
pub fn is_free(local: SocketAddr) -> io::Result<()> {
    UdpSocket::unbound(local)?.bind()
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Level and kind of the control message that sets the traffic class towards `peer`.
pub fn class_option(peer: IpAddr) -> (i32, i32) {
    match peer {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TOS),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    }
}

/// What the control messages of a received datagram say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Destination address of the datagram.
    pub local: Option<IpAddr>,
    /// TOS or traffic class byte.
    pub tos: u8,
    /// Length of each of the datagrams that were handed over as one, but for the last; none where one is one.
    pub segment: Option<usize>,
    /// Datagrams lost so far because the receive buffer was full, modulo 2^32; none until the first is lost.
    pub losses: Option<u32>,
}

impl Arrival {
    /// Reads the control messages.
    pub fn of(message: &Message<'_>) -> Self {
        let mut arrival = Self::default();
        for control in message.control.clone() {
            match (control.level, control.kind) {
                // struct in_pktinfo: interface, own address for a reply, destination in the header.
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let bytes = control.data.get(8..).and_then(<[u8]>::first_chunk::<4>);
                    arrival.local = bytes.map(|bytes| IpAddr::V4(Ipv4Addr::from(*bytes)));
                }
                // struct in6_pktinfo: destination, interface.
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let bytes = control.data.first_chunk::<16>();
                    arrival.local = bytes.map(|bytes| IpAddr::V6(Ipv6Addr::from(*bytes)));
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => arrival.tos = control.data.first().copied().unwrap_or(0),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => arrival.tos = control.int().unwrap_or(0) as u8,
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    arrival.segment = control.int().filter(|size| *size > 0).map(|size| size as usize);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => arrival.losses = control.int(),
                _ => {}
            }
        }
        arrival
    }
}
