//! Request and response over TCP: smoltcp clients and servers on both sides of a device.
//!
//! ```text
//!  Clients ─ smoltcp ─ Nic ─► ExchangeBed: two interfaces │ weir's pipeline in memory ─► Nic ─ smoltcp ─ Servers
//!     ▲ Tokens: is one due?      └── segments sent, refused, dropped, received: Book ──┘
//! ```
//! So many connections ask over and over, at a rate or each as soon as it was answered; with a limit of requests per
//! connection each goes through SYN and FIN, and their rate is that of new connections. No kernel has a part in it: both
//! ends are this thread, which goes round and round and takes a processor. It is by turns client and server, so times
//! hold what it does in between: what they are good for is comparing devices, not hosts.
//!
//! Two sums come out of a run, both to the last one: every request ends in one way ([`Questions`]), and so does every segment
//! that left an end ([`Book`]). The run ends in order: no more requests, answers awaited, goodbyes, and only when nothing has
//! come for the drain time are segments counted.
//!
//! # Bounds
//! [`MOST_CONNECTIONS`]: smoltcp looks for a segment's socket one by one, so the cost of each grows with them. Source
//! ports are used in turn, 50,000 of them.

mod bed;
mod client;
mod end;
mod interfaces;
mod memory;
mod nic;
mod report;
mod segments;
mod server;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::{Rate, Tokens};
use crate::report::Book;
use client::Clients;
use end::End;
use server::Servers;

pub use bed::ExchangeBed;
pub use client::Questions;
pub use end::Card;
pub use report::ExchangeReport;

/// Most connections at a time.
pub const MOST_CONNECTIONS: usize = 1_024;
/// Largest request and response, in bytes.
pub const MOST_BYTES: usize = 16 << 20;
/// A connection that makes no progress for so long is given up.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// What is later than this is left out, as with frames.
const CATCH_UP: Duration = Duration::from_millis(10);
/// How long answers are awaited after the last request, where the run was not interrupted.
const FINISH: Duration = Duration::from_secs(6);
const FINISH_INTERRUPTED: Duration = Duration::from_millis(500);
/// How long goodbyes are awaited.
const LEAVE: Duration = Duration::from_secs(2);
/// Longest wait for segments that keep coming.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// What is asked, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a request.
    pub request: usize,
    /// Bytes of a response.
    pub response: usize,
    /// Requests on a connection before it is closed; 0: no limit.
    pub per_connection: u64,
    /// Requests per second, of all connections together.
    pub rate: Rate,
    /// How long requests are begun.
    pub duration: Duration,
    /// Most requests.
    pub count: u64,
    /// L4 port of the server.
    pub port: u16,
    /// What chooses source ports and sequence numbers.
    pub seed: u64,
}

/// An exchange that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}: expected {expected}")]
pub struct ExchangeError {
    /// Which figure.
    pub field: &'static str,
    /// What it is.
    pub value: usize,
    /// What it could be.
    pub expected: &'static str,
}

impl Exchange {
    /// # Errors
    /// A figure is out of range.
    pub fn check(&self) -> Result<(), ExchangeError> {
        let wrong = |field, value, expected| Err(ExchangeError { field, value, expected });
        if !(1..=MOST_CONNECTIONS).contains(&self.connections) {
            return wrong("connections", self.connections, "1 to 1024");
        }
        for (field, value) in [("request", self.request), ("response", self.response)] {
            if !(1..=MOST_BYTES).contains(&value) {
                return wrong(field, value, "1 to 16777216 bytes");
            }
        }
        if self.port == 0 {
            return wrong("port", 0, "1 to 65535");
        }
        Ok(())
    }

    /// Requests that are due within the duration; none where there is no rate.
    fn intended(&self) -> Option<u64> {
        match self.rate {
            Rate::PerSecond(rate) => {
                Some(self.count.min((rate * self.duration.as_secs_f64()).floor() as u64))
            }
            Rate::Max => None,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// Requests.
    pub questions: Questions,
    /// Requests that came too late to be begun, or for which no connection was free.
    pub left_out: u64,
    /// Connections that were established.
    pub connected: u64,
    /// Segments said again, by clients and by servers.
    pub retransmitted: [u64; 2],
    /// Nanoseconds from request to whole response.
    pub responses: Histogram<u64>,
    /// Nanoseconds from SYN to an established connection.
    pub handshakes: Histogram<u64>,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Where the segments went.
    pub book: Book,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asking,
    /// No more requests.
    Finishing,
    /// No more answers.
    Leaving,
    /// No more connections.
    Draining,
}

/// Runs an exchange until its duration is over, its requests are made or `stop` is set, and in any case to an end in
/// which everything is counted.
///
/// # Errors
/// It cannot be, or an interface is gone.
pub fn pass(bed: &mut ExchangeBed, exchange: &Exchange, stop: &AtomicBool) -> io::Result<Exchanged> {
    exchange.check().map_err(io::Error::other)?;
    let [near, far] = bed.cards();
    let server = SocketAddr::new(far.address, exchange.port);
    let anyone = SocketAddr::new(near.address, 0);
    let mut ends = [
        End::new(&near, 0, server, exchange.seed),
        End::new(&far, exchange.port, anyone, exchange.seed.wrapping_add(1)),
    ];
    let [client_end, server_end] = &mut ends;
    let mut clients = Clients::new(exchange, server, client_end);
    let mut servers = Servers::start(exchange, &mut server_end.sockets);
    let (per_second, intended) = match exchange.rate {
        Rate::PerSecond(rate) => (rate, exchange.intended().unwrap_or(exchange.count)),
        Rate::Max => (f64::INFINITY, exchange.count),
    };
    let mut tokens = Tokens::new(per_second, CATCH_UP, exchange.connections);
    let link = bed.begin();
    let begin = Instant::now();
    let (mut phase, mut since, mut quiet) = (Phase::Asking, Duration::ZERO, Duration::ZERO);
    let mut interrupted = false;
    loop {
        let moved = link.carry([&mut client_end.nic, &mut server_end.nic], begin.elapsed())?;
        let now = begin.elapsed();
        if moved > 0 {
            quiet = now;
        }
        client_end.take(now);
        clients.round(client_end, now);
        if phase == Phase::Asking {
            let left = intended.saturating_sub(clients.questions.asked.saturating_add(tokens.left_out()));
            interrupted = stop.load(Ordering::Relaxed);
            if interrupted || left == 0 || now >= exchange.duration {
                (phase, since) = (Phase::Finishing, now);
            } else {
                let free = clients.free().min(usize::try_from(left).unwrap_or(usize::MAX));
                let due = if exchange.rate == Rate::Max { free } else { tokens.due(now, free) };
                (0..due).for_each(|_| clients.ask(client_end, now));
                tokens.spend(due);
            }
        }
        let finish = if interrupted { FINISH_INTERRUPTED } else { FINISH };
        let lasted = now.saturating_sub(since);
        if phase == Phase::Finishing && (clients.open() == 0 || lasted >= finish) {
            clients.leave(client_end);
            (phase, since) = (Phase::Leaving, now);
        } else if phase == Phase::Leaving && (clients.have_left() || lasted >= LEAVE) {
            clients.break_off(client_end);
            (phase, since, quiet) = (Phase::Draining, now, now);
        } else if phase == Phase::Draining
            && (now.saturating_sub(quiet) >= link.drain() || lasted >= LONGEST_DRAIN)
        {
            break;
        }
        client_end.say(now);
        server_end.take(now);
        servers.round(&mut server_end.sockets);
        server_end.say(now);
        if moved == 0 {
            link.rest();
        }
    }
    let asked = clients.questions.asked;
    let late = if exchange.rate == Rate::Max || interrupted { 0 } else { intended.saturating_sub(asked) };
    let [client_end, server_end] = &ends;
    let arrived = client_end.nic.arrived.saturating_add(server_end.nic.arrived);
    let retransmitted = [client_end, server_end].map(|end| end.nic.spoken.retransmitted);
    let book = link.book(arrived);
    Ok(Exchanged {
        questions: clients.questions,
        left_out: late,
        connected: clients.connected,
        retransmitted,
        responses: clients.responses,
        handshakes: clients.handshakes,
        seconds: clients.last.as_secs_f64(),
        book: Book { group: "request/response".to_owned(), subject: bed.name(), round: 1, ..book },
        interrupted,
    })
}
