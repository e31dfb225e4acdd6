//! The servers of a host in memory: the same ports and the same requests as those of
//! [`crate::traffic::servers`], as state machines on smoltcp sockets.

use sha2::{Digest, Sha256};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{self, State};
use smoltcp::socket::udp;

use crate::traffic::pattern::Pattern;
use crate::traffic::servers::{GREETING, Request, TCP_PORTS, UDP_PORTS};

/// Buffer of a TCP socket each way: the largest window without scaling.
pub(super) const TCP_BUFFER: usize = 65_535;
/// Bytes handled at a time.
const CHUNK: usize = 16 * 1024;
/// Seed and length of [`Request::Send`].
const SEND_HEADER: usize = 16;

/// A TCP socket.
pub(super) fn tcp_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; TCP_BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket
}

/// A UDP socket for datagrams that need no fragments.
pub(super) fn udp_socket() -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 32], vec![0; 32 * 1024]);
    udp::Socket::new(buffer(), buffer())
}

/// All servers of a host.
#[derive(Default)]
pub(super) struct Servers {
    listening: Vec<(u16, SocketHandle)>,
    connections: Vec<Connection>,
    udp: Vec<SocketHandle>,
}

struct Connection {
    handle: SocketHandle,
    stage: Stage,
}

enum Stage {
    /// The first byte has not come yet.
    Request,
    /// Count and digest what comes, to be told at the end.
    Count { count: u64, digest: Option<Sha256> },
    /// Seed and length come.
    SendHeader(Vec<u8>),
    /// Send the pattern.
    Send { pattern: Pattern, left: u64 },
    /// Send back what comes.
    Echo,
    /// Say this, then close.
    Answer(Vec<u8>),
    /// Nothing more to say.
    Closed,
}

impl Servers {
    /// Sockets on all ports.
    pub(super) fn start(sockets: &mut SocketSet<'static>) -> Self {
        let mut servers = Self::default();
        for port in TCP_PORTS {
            servers.listen(port, sockets);
        }
        for port in UDP_PORTS {
            let mut socket = udp_socket();
            // Refused only for port 0 and for a socket that is open already.
            let _ = socket.bind(port);
            servers.udp.push(sockets.add(socket));
        }
        servers
    }

    fn listen(&mut self, port: u16, sockets: &mut SocketSet<'static>) {
        let mut socket = tcp_socket();
        // As with UDP above.
        let _ = socket.listen(port);
        self.listening.push((port, sockets.add(socket)));
    }

    /// Accepts, serves, and lets go of what has ended.
    pub(super) fn round(&mut self, sockets: &mut SocketSet<'static>) {
        for position in 0..self.listening.len() {
            let Some(&(port, handle)) = self.listening.get(position) else { break };
            if sockets.get::<tcp::Socket<'_>>(handle).state() != State::Listen {
                self.listening.swap_remove(position);
                self.connections.push(Connection { handle, stage: Stage::Request });
                self.listen(port, sockets);
            }
        }
        self.connections.retain_mut(|connection| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(connection.handle);
            connection.serve(socket);
            let over = socket.state() == State::Closed;
            if over {
                sockets.remove(connection.handle);
            }
            !over
        });
        for handle in &self.udp {
            echo(sockets.get_mut::<udp::Socket<'_>>(*handle));
        }
    }
}

fn echo(socket: &mut udp::Socket<'_>) {
    while socket.can_send() {
        let Ok((payload, from)) = socket.recv() else { return };
        let payload = payload.to_vec();
        // A datagram for which there is no room is lost, as on any host.
        let _ = socket.send_slice(&payload, from.endpoint);
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut tcp::Socket<'_>) {
        while self.advance(socket) {}
    }

    /// Does one thing; `false` when there is nothing to do for now.
    fn advance(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        match &mut self.stage {
            Stage::Request => {
                let mut byte = [0];
                match socket.recv_slice(&mut byte) {
                    Ok(1) => self.stage = Stage::of(byte),
                    Err(tcp::RecvError::Finished) => self.stage = Stage::Answer(Vec::new()),
                    _ => return false,
                }
                true
            }
            Stage::Count { count, digest } => match take(socket, CHUNK) {
                Taken::Some(bytes) => {
                    *count = count.saturating_add(bytes.len() as u64);
                    if let Some(digest) = digest {
                        digest.update(&bytes);
                    }
                    true
                }
                Taken::End => {
                    let mut answer = count.to_be_bytes().to_vec();
                    if let Some(digest) = digest.take() {
                        answer.extend_from_slice(&digest.finalize());
                    }
                    self.stage = Stage::Answer(answer);
                    true
                }
                Taken::None => false,
            },
            Stage::SendHeader(header) => match take(socket, SEND_HEADER.saturating_sub(header.len())) {
                Taken::Some(bytes) => {
                    header.extend_from_slice(&bytes);
                    if let Ok(header) = <[u8; SEND_HEADER]>::try_from(header.as_slice()) {
                        let (seed, left) =
                            ((u128::from_be_bytes(header) >> 64) as u64, u128::from_be_bytes(header) as u64);
                        self.stage = Stage::Send { pattern: Pattern::new(seed), left };
                    }
                    true
                }
                Taken::End => {
                    self.stage = Stage::Answer(Vec::new());
                    true
                }
                Taken::None => false,
            },
            Stage::Send { left: 0, .. } => {
                self.stage = Stage::Answer(Vec::new());
                true
            }
            Stage::Send { pattern, left } => send_pattern(socket, pattern, left, |_| {}),
            Stage::Echo => {
                let room = socket.send_capacity().saturating_sub(socket.send_queue());
                if room == 0 {
                    return false;
                }
                match take(socket, room) {
                    Taken::Some(bytes) => socket.send_slice(&bytes).is_ok(),
                    Taken::End => {
                        self.stage = Stage::Answer(Vec::new());
                        true
                    }
                    Taken::None => false,
                }
            }
            Stage::Answer(bytes) => match socket.send_slice(bytes) {
                Ok(sent) if sent < bytes.len() => {
                    bytes.drain(..sent);
                    false
                }
                _ => {
                    socket.close();
                    self.stage = Stage::Closed;
                    true
                }
            },
            Stage::Closed => false,
        }
    }
}

impl Stage {
    fn of(request: [u8; 1]) -> Self {
        let [request] = request;
        if request == Request::Greet as u8 {
            Self::Answer(GREETING.to_vec())
        } else if request == Request::Sum as u8 {
            Self::Count { count: 0, digest: Some(Sha256::new()) }
        } else if request == Request::Discard as u8 {
            Self::Count { count: 0, digest: None }
        } else if request == Request::Send as u8 {
            Self::SendHeader(Vec::new())
        } else if request == Request::Echo as u8 {
            Self::Echo
        } else {
            Self::Answer(Vec::new())
        }
    }
}

/// What a socket had to read.
pub(super) enum Taken {
    /// These bytes.
    Some(Vec<u8>),
    /// The other end has closed, and everything has been read.
    End,
    /// Nothing for now.
    None,
}

/// Reads what has come, `limit` bytes at the most.
pub(super) fn take(socket: &mut tcp::Socket<'_>, limit: usize) -> Taken {
    let mut buffer = vec![0; limit.min(CHUNK)];
    match socket.recv_slice(&mut buffer) {
        Ok(0) | Err(tcp::RecvError::InvalidState) => Taken::None,
        Ok(count) => {
            buffer.truncate(count);
            Taken::Some(buffer)
        }
        Err(tcp::RecvError::Finished) => Taken::End,
    }
}

/// Sends as much of the next `left` bytes of the pattern as there is room for; `false` when there is none.
pub(super) fn send_pattern(
    socket: &mut tcp::Socket<'_>,
    pattern: &mut Pattern,
    left: &mut u64,
    mut sent: impl FnMut(&[u8]),
) -> bool {
    // Whole words only, of which the pattern consists: cut elsewhere it would go on differently.
    const WORD: usize = 8;
    let room = socket.send_capacity().saturating_sub(socket.send_queue()).min(CHUNK);
    let wanted = usize::try_from(*left).unwrap_or(CHUNK);
    let size = if wanted <= room { wanted } else { room - room % WORD };
    if size == 0 || !socket.can_send() {
        return false;
    }
    let mut chunk = vec![0; size];
    pattern.fill(&mut chunk);
    sent(&chunk);
    *left = left.saturating_sub(size as u64);
    socket.send_slice(&chunk).is_ok_and(|count| count == size)
}
