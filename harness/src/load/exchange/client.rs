//! The clients: connections that ask, wait for the whole answer, and ask again or begin anew.
//!
//! ```text
//!            ask                 SYN answered            answer whole
//!  Idle ───────────► Connecting ───────────► Asking ─────────────────► Ready ─ ask ─► Asking
//!    ▲                    │ refused,            │ reset,                 │ asked often enough
//!    └────────────────────┴─ timed out ─────────┴─ timed out             ▼
//!    ▲                                                                Leaving
//!    └────────────────────────────────────────────────────────────────────┘ goodbye heard
//! ```
//! Every question ends in one way: answered, refused, reset, timed out, or open when the run ends ([`Questions`]). The time
//! of a response is from when the request was given to the stack to when its last byte was read; that of a connection from
//! its first SYN to when it was established. A failed one is in neither.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{Socket, State};

use super::Exchange;
use super::end::{End, socket};
use super::server::say;
use crate::load::shape::{FIRST_SRC_PORT, SRC_PORTS};
use crate::report::LONGEST_NS;

/// What became of the requests: `asked = answered + refused + reset + timed_out + open`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Questions {
    /// Requests begun.
    pub asked: u64,
    /// Answers that came whole.
    pub answered: u64,
    /// Connections for them that were refused.
    pub refused: u64,
    /// Connections that were reset before the answer was whole.
    pub reset: u64,
    /// Connections that made no progress for too long.
    pub timed_out: u64,
    /// Requests without an answer when the run ended.
    pub open: u64,
}

impl Questions {
    /// Whether every request ended in one way.
    pub fn adds_up(&self) -> bool {
        let Self { asked, answered, refused, reset, timed_out, open } = *self;
        let ends = [answered, refused, reset, timed_out, open].map(u128::from);
        u128::from(asked) == ends.iter().sum::<u128>()
    }
}

/// All connections of a run.
pub(super) struct Clients {
    server: SocketAddr,
    exchange: Exchange,
    all: Vec<Client>,
    /// Those that can be asked to do something.
    free: VecDeque<usize>,
    next_port: u64,
    pub(super) questions: Questions,
    /// Connections established.
    pub(super) connected: u64,
    /// Nanoseconds.
    pub(super) responses: Histogram<u64>,
    pub(super) handshakes: Histogram<u64>,
    /// When the last answer was whole.
    pub(super) last: Duration,
    /// No connection is to be used again.
    leaving: bool,
}

struct Client {
    handle: SocketHandle,
    stage: Stage,
    src_port: u16,
    /// Requests on this connection.
    asked: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Connecting(Duration),
    Asking {
        since: Duration,
        to_say: usize,
        to_hear: usize,
    },
    Ready,
    /// Goodbye was said; in the second round after it was heard, its acknowledgement has left.
    Leaving {
        heard: bool,
    },
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3)
        .unwrap_or_else(|_| unreachable!("the bounds are in order and the precision is allowed"))
}

impl Clients {
    pub(super) fn new(exchange: &Exchange, server: SocketAddr, end: &mut End) -> Self {
        let client = |_| Client {
            handle: end.sockets.add(socket(exchange.request, exchange.response)),
            stage: Stage::Idle,
            src_port: 0,
            asked: 0,
        };
        Self {
            server,
            all: (0..exchange.connections).map(client).collect(),
            free: (0..exchange.connections).collect(),
            // Another seed begins elsewhere.
            next_port: exchange.seed % SRC_PORTS,
            exchange: exchange.clone(),
            questions: Questions::default(),
            connected: 0,
            responses: histogram(),
            handshakes: histogram(),
            last: Duration::ZERO,
            leaving: false,
        }
    }

    /// Connections that have nothing to do.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Requests under way.
    pub(super) fn open(&self) -> u64 {
        let is_open = |client: &&Client| matches!(client.stage, Stage::Connecting(_) | Stage::Asking { .. });
        self.all.iter().filter(is_open).count() as u64
    }

    /// Begins a request on the connection that has rested longest.
    pub(super) fn ask(&mut self, end: &mut End, now: Duration) {
        let Some(place) = self.free.pop_front() else { return };
        let next_port = self.fresh_port();
        let Some(client) = self.all.get_mut(place) else { return };
        self.questions.asked = self.questions.asked.saturating_add(1);
        if client.stage == Stage::Ready {
            client.begin(&self.exchange, now);
            return;
        }
        let socket = end.sockets.get_mut::<Socket<'_>>(client.handle);
        (client.src_port, client.asked) = (next_port, 0);
        // Refused only for a socket that is open already.
        let _ = socket.connect(end.interface.context(), self.server, next_port);
        client.stage = Stage::Connecting(now);
    }

    /// The next source port that no connection has.
    fn fresh_port(&mut self) -> u16 {
        loop {
            let port = FIRST_SRC_PORT.saturating_add((self.next_port % SRC_PORTS) as u16);
            self.next_port = self.next_port.wrapping_add(1);
            // There are far more ports than connections.
            if self.all.iter().all(|client| client.src_port != port) {
                return port;
            }
        }
    }

    /// Goes on with every connection.
    pub(super) fn round(&mut self, end: &mut End, now: Duration) {
        for place in 0..self.all.len() {
            let Some(client) = self.all.get_mut(place) else { break };
            let socket = end.sockets.get_mut::<Socket<'_>>(client.handle);
            let before = client.stage;
            match client.stage {
                Stage::Idle | Stage::Asking { .. } => {}
                Stage::Connecting(since) => {
                    if socket.may_send() {
                        self.connected = self.connected.saturating_add(1);
                        record(&mut self.handshakes, now.saturating_sub(since));
                        client.begin(&self.exchange, now);
                    } else if socket.state() == State::Closed {
                        count_end(&mut self.questions, true, now.saturating_sub(since));
                        client.stage = Stage::Idle;
                    }
                }
                Stage::Ready => {
                    // The other end has gone: the next request begins anew.
                    if !socket.may_send() || !socket.may_recv() {
                        socket.close();
                        client.stage = Stage::Leaving { heard: false };
                        self.free.retain(|free| *free != place);
                    }
                }
                Stage::Leaving { heard: true } => client.stage = Stage::Idle,
                Stage::Leaving { heard: false } => {
                    let heard = matches!(socket.state(), State::TimeWait | State::Closed);
                    client.stage = Stage::Leaving { heard };
                }
            }
            if let Stage::Asking { since, to_say, to_hear } = client.stage {
                let to_say = say(socket, to_say);
                let heard = hear(socket, to_hear);
                let to_hear = to_hear.saturating_sub(heard);
                client.stage = Stage::Asking { since, to_say, to_hear };
                if to_hear == 0 {
                    self.questions.answered = self.questions.answered.saturating_add(1);
                    record(&mut self.responses, now.saturating_sub(since));
                    self.last = now;
                    let limit = self.exchange.per_connection;
                    if self.leaving || limit > 0 && client.asked >= limit {
                        socket.close();
                        client.stage = Stage::Leaving { heard: false };
                    } else {
                        client.stage = Stage::Ready;
                    }
                } else if !socket.may_recv() {
                    count_end(&mut self.questions, false, now.saturating_sub(since));
                    socket.close();
                    client.stage = Stage::Leaving { heard: false };
                }
            }
            let rests = |stage| matches!(stage, Stage::Idle | Stage::Ready);
            if rests(client.stage) && !rests(before) {
                self.free.push_back(place);
            }
        }
    }

    /// Says goodbye on every connection that has nothing to wait for, now and from now on.
    pub(super) fn leave(&mut self, end: &mut End) {
        self.leaving = true;
        for client in self.all.iter_mut().filter(|client| client.stage == Stage::Ready) {
            end.sockets.get_mut::<Socket<'_>>(client.handle).close();
            client.stage = Stage::Leaving { heard: false };
        }
        self.free.clear();
    }

    /// Whether all connections are closed.
    pub(super) fn have_left(&self) -> bool {
        self.all.iter().all(|client| client.stage == Stage::Idle)
    }

    /// Ends what is still open, without waiting for anybody.
    pub(super) fn break_off(&mut self, end: &mut End) {
        self.questions.open = self.questions.open.saturating_add(self.open());
        for client in self.all.iter_mut().filter(|client| client.stage != Stage::Idle) {
            end.sockets.get_mut::<Socket<'_>>(client.handle).abort();
            client.stage = Stage::Idle;
        }
    }
}

impl Client {
    fn begin(&mut self, exchange: &Exchange, now: Duration) {
        self.asked = self.asked.saturating_add(1);
        self.stage = Stage::Asking { since: now, to_say: exchange.request, to_hear: exchange.response };
    }
}

fn count_end(questions: &mut Questions, connecting: bool, after: Duration) {
    let count = match (after >= super::TIMEOUT, connecting) {
        (true, _) => &mut questions.timed_out,
        (false, true) => &mut questions.refused,
        (false, false) => &mut questions.reset,
    };
    *count = count.saturating_add(1);
}

/// Reads what has come, `wanted` bytes at the most. Returns how many.
fn hear(socket: &mut Socket<'_>, wanted: usize) -> usize {
    let mut heard = 0_usize;
    while heard < wanted && socket.can_recv() {
        let left = wanted.saturating_sub(heard);
        let taken = socket.recv(|bytes| {
            let count = bytes.len().min(left);
            (count, count)
        });
        let Ok(count @ 1..) = taken else { break };
        heard = heard.saturating_add(count);
    }
    heard
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    // Never out of range: what is longer is clamped.
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
}
