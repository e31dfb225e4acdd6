//! The server: so many bytes heard, so many said; goodbye when the client says it.
//!
//! Sockets are a fixed number and listen again once closed. There are twice as many as connections and a few more: a
//! connection whose last acknowledgement is under way still has one.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, State};

use super::Exchange;
use super::end::socket;

/// Sockets beyond two for each connection.
const SPARE: usize = 8;
/// Bytes said at a time.
pub(super) const CHUNK: [u8; 4096] = [0x57; 4096];

/// All sockets of the server.
pub(super) struct Servers {
    port: u16,
    request: usize,
    response: usize,
    all: Vec<Server>,
}

struct Server {
    handle: SocketHandle,
    /// Bytes heard of the request under way.
    heard: usize,
    /// Bytes of responses still to be said.
    owed: usize,
}

impl Servers {
    pub(super) fn start(exchange: &Exchange, sockets: &mut SocketSet<'static>) -> Self {
        let count = exchange.connections.saturating_mul(2).saturating_add(SPARE);
        let (request, response) = (exchange.request, exchange.response);
        let listen = |_| {
            let mut socket = socket(response, request);
            // Refused only for port 0 and for a socket that is open already.
            let _ = socket.listen(exchange.port);
            Server { handle: sockets.add(socket), heard: 0, owed: 0 }
        };
        Self { port: exchange.port, request, response, all: (0..count).map(listen).collect() }
    }

    /// Hears, answers, and listens again.
    pub(super) fn round(&mut self, sockets: &mut SocketSet<'static>) {
        for server in &mut self.all {
            let socket = sockets.get_mut::<Socket<'_>>(server.handle);
            match socket.state() {
                State::Listen | State::SynReceived => {}
                State::Closed => {
                    (server.heard, server.owed) = (0, 0);
                    let _ = socket.listen(self.port);
                }
                state => {
                    server.serve(socket, self.request, self.response);
                    if state == State::CloseWait && server.owed == 0 {
                        socket.close();
                    }
                }
            }
        }
    }
}

impl Server {
    fn serve(&mut self, socket: &mut Socket<'_>, request: usize, response: usize) {
        while socket.can_recv() {
            let Ok(count @ 1..) = socket.recv(|bytes| (bytes.len(), bytes.len())) else { break };
            self.heard = self.heard.saturating_add(count);
            while self.heard >= request {
                self.heard -= request;
                self.owed = self.owed.saturating_add(response);
            }
        }
        self.owed = say(socket, self.owed);
    }
}

/// Says as much of `owed` bytes as there is room for. Returns what is left.
pub(super) fn say(socket: &mut Socket<'_>, mut owed: usize) -> usize {
    while owed > 0 {
        match socket.send_slice(CHUNK.get(..owed.min(CHUNK.len())).unwrap_or_default()) {
            Ok(count @ 1..) => owed = owed.saturating_sub(count),
            _ => break,
        }
    }
    owed
}
