//! The clients of a host in memory: what [`crate::traffic`]'s clients are over kernel sockets, as state machines
//! over smoltcp's. Each lives on one host, is advanced in every round, and knows when it wants to be next.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dataplane::time::Timestamp;
use sha2::{Digest, Sha256};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::icmp;
use smoltcp::socket::tcp::{self, State};
use smoltcp::socket::udp;
use smoltcp::wire::{
    Icmpv4Message, Icmpv4Packet, Icmpv4Repr, Icmpv6Message, Icmpv6Packet, Icmpv6Repr, IpAddress,
};

use super::host::Host;
use super::server::{Taken, send_pattern, take, tcp_socket, udp_socket};
use crate::traffic::Reach;
use crate::traffic::pattern::{Pattern, Sum};
use crate::traffic::servers::{GREETING, Request};

/// A lost datagram or echo is sent again after this long.
const RESEND: Duration = Duration::from_millis(250);
/// Received bytes that a TCP client keeps beside their digest.
const KEPT: usize = 64;

/// A TCP connection: a request, an upload of so many bytes of a pattern, and whatever comes back to the end.
pub(super) struct TcpClient {
    handle: SocketHandle,
    request: Vec<u8>,
    upload: Option<(Pattern, u64)>,
    sent: Sha256,
    received: Sha256,
    count: u64,
    kept: Vec<u8>,
    refused: bool,
    finished: bool,
}

impl TcpClient {
    /// Begins to connect from `host`. With an upload the sending side is closed after it.
    pub(super) fn connect(
        host: &mut Host,
        to: SocketAddr,
        request: Vec<u8>,
        upload: Option<(u64, u64)>,
    ) -> Self {
        let src_port = host.fresh_src_port();
        let mut socket = tcp_socket();
        let refused = socket.connect(host.interface.context(), to, src_port).is_err();
        Self {
            handle: host.sockets.add(socket),
            request,
            upload: upload.map(|(seed, length)| (Pattern::new(seed), length)),
            sent: Sha256::new(),
            received: Sha256::new(),
            count: 0,
            kept: Vec::new(),
            refused,
            finished: false,
        }
    }

    /// Bytes that came back so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether the server has said everything and closed.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the connection was refused or reset.
    pub(super) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The first bytes that came back.
    pub(super) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Digest of the upload so far.
    pub(super) fn sent_sum(&self) -> Sum {
        self.sent.clone().finalize().into()
    }

    /// Digest of what came back so far.
    pub(super) fn received_sum(&self) -> Sum {
        self.received.clone().finalize().into()
    }

    fn round(&mut self, host: &mut Host) {
        let socket = host.sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        if self.finished || self.refused {
            return;
        }
        if !self.request.is_empty() {
            let Ok(count) = socket.send_slice(&self.request) else {
                // Closed before anything was said: the answer to the SYN was a reset.
                self.refused = socket.state() == State::Closed;
                return;
            };
            self.request.drain(..count);
        }
        if let Some((pattern, left)) = self.upload.as_mut().filter(|_| self.request.is_empty()) {
            let sent = &mut self.sent;
            while send_pattern(socket, pattern, left, |bytes| sent.update(bytes)) {}
            if *left == 0 {
                self.upload = None;
                socket.close();
            }
        }
        loop {
            match take(socket, usize::MAX) {
                Taken::Some(bytes) => {
                    self.count = self.count.saturating_add(bytes.len() as u64);
                    self.received.update(&bytes);
                    let room = KEPT.saturating_sub(self.kept.len()).min(bytes.len());
                    self.kept.extend_from_slice(bytes.get(..room).unwrap_or_default());
                }
                Taken::End => {
                    self.finished = true;
                    socket.close();
                    return;
                }
                Taken::None => break,
            }
        }
        self.refused = socket.state() == State::Closed;
    }
}

/// A datagram that is sent until it comes back.
pub(super) struct UdpClient {
    handle: SocketHandle,
    to: SocketAddr,
    message: Vec<u8>,
    next: Timestamp,
    open: bool,
}

/// An echo request that is sent until the reply comes.
pub(super) struct PingClient {
    handle: SocketHandle,
    to: IpAddr,
    ident: u16,
    next: Timestamp,
    open: bool,
}

/// Any client.
pub(super) enum Client {
    Tcp(Box<TcpClient>),
    Udp(UdpClient),
    Ping(PingClient),
}

impl Client {
    /// Asks a TCP server for its greeting.
    pub(super) fn greet(host: &mut Host, to: SocketAddr) -> Self {
        Self::Tcp(Box::new(TcpClient::connect(host, to, vec![Request::Greet as u8], None)))
    }

    /// Asks a UDP server for `size` bytes back.
    pub(super) fn udp(host: &mut Host, to: SocketAddr, size: usize) -> Self {
        let mut socket = udp_socket();
        // Refused only for port 0.
        let _ = socket.bind(host.fresh_src_port());
        let mut message = vec![0; size];
        Pattern::new(size as u64).fill(&mut message);
        let handle = host.sockets.add(socket);
        Self::Udp(UdpClient { handle, to, message, next: Timestamp::ZERO, open: false })
    }

    /// Asks for an echo.
    pub(super) fn ping(host: &mut Host, to: IpAddr) -> Self {
        let ident = host.fresh_src_port();
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 1024]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        // Refused only for a socket that is bound already.
        let _ = socket.bind(icmp::Endpoint::Ident(ident));
        let handle = host.sockets.add(socket);
        Self::Ping(PingClient { handle, to, ident, next: Timestamp::ZERO, open: false })
    }

    /// Does what there is to do at `now`.
    pub(super) fn round(&mut self, host: &mut Host, now: Timestamp) {
        match self {
            Self::Tcp(client) => client.round(host),
            Self::Udp(client) => client.round(host, now),
            Self::Ping(client) => client.round(host, now),
        }
    }

    /// When it wants to say something again.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        match self {
            Self::Tcp(_) => None,
            Self::Udp(client) => (!client.open).then_some(client.next),
            Self::Ping(client) => (!client.open).then_some(client.next),
        }
    }

    /// What is known by now.
    pub(super) fn reach(&self) -> Reach {
        let open = match self {
            Self::Tcp(client) if client.refused => return Reach::Refused,
            Self::Tcp(client) => client.kept.starts_with(GREETING),
            Self::Udp(client) => client.open,
            Self::Ping(client) => client.open,
        };
        if open { Reach::Open } else { Reach::Silent }
    }

    /// Takes its socket off the host, without a word on the wire.
    pub(super) fn remove(self, host: &mut Host) {
        let handle = match self {
            Self::Tcp(client) => client.handle,
            Self::Udp(client) => client.handle,
            Self::Ping(client) => client.handle,
        };
        host.sockets.remove(handle);
    }
}

impl UdpClient {
    fn round(&mut self, host: &mut Host, now: Timestamp) {
        let socket = host.sockets.get_mut::<udp::Socket<'_>>(self.handle);
        while let Ok((payload, from)) = socket.recv() {
            self.open |= payload == self.message && from.endpoint == self.to.into();
        }
        if !self.open && now >= self.next {
            self.next = now.plus(RESEND);
            // Without room it is said the next time.
            let _ = socket.send_slice(&self.message, self.to);
        }
    }
}

/// Payload of an echo, as long as ping's.
const ECHO: &[u8] = &[0x57; 56];

impl PingClient {
    fn round(&mut self, host: &mut Host, now: Timestamp) {
        let checksums = smoltcp::phy::ChecksumCapabilities::default();
        let (src, sequence) = (host.plan.v6, 1);
        let socket = host.sockets.get_mut::<icmp::Socket<'_>>(self.handle);
        while let Ok((message, from)) = socket.recv() {
            let is_reply = match self.to {
                IpAddr::V4(_) => Icmpv4Packet::new_checked(message).is_ok_and(|packet| {
                    packet.msg_type() == Icmpv4Message::EchoReply && packet.data() == ECHO
                }),
                IpAddr::V6(_) => Icmpv6Packet::new_checked(message).is_ok_and(|packet| {
                    packet.msg_type() == Icmpv6Message::EchoReply && packet.payload() == ECHO
                }),
            };
            self.open |= is_reply && from == IpAddress::from(self.to);
        }
        if self.open || now < self.next {
            return;
        }
        self.next = now.plus(RESEND);
        match (self.to, src) {
            (IpAddr::V6(to), IpAddr::V6(src)) => {
                let request = Icmpv6Repr::EchoRequest { ident: self.ident, seq_no: sequence, data: ECHO };
                if let Ok(room) = socket.send(request.buffer_len(), to.into()) {
                    request.emit(&src, &to, &mut Icmpv6Packet::new_unchecked(room), &checksums);
                }
            }
            (to, _) => {
                let request = Icmpv4Repr::EchoRequest { ident: self.ident, seq_no: sequence, data: ECHO };
                if let Ok(room) = socket.send(request.buffer_len(), to.into()) {
                    request.emit(&mut Icmpv4Packet::new_unchecked(room), &checksums);
                }
            }
        }
    }
}
