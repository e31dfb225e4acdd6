//! What an exchange came to, as data and for people.

use std::fmt;

use serde::Serialize;

use super::{Exchange, ExchangeBed, Exchanged, Questions};
use crate::load::Rate;
use crate::report::{Book, Latency, whether};

/// What an exchange did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExchangeReport {
    /// Where it took place.
    pub between: String,
    /// What chose.
    pub seed: u64,
    /// Connections at a time.
    pub connections: usize,
    /// Bytes of a request.
    pub request_bytes: usize,
    /// Bytes of a response.
    pub response_bytes: usize,
    /// Requests on a connection; 0: no limit.
    pub per_connection: u64,
    /// Requests per second that were asked for; none: each as soon as the last one was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_per_second: Option<f64>,
    /// Responses per second.
    pub responses_per_second: f64,
    /// Connections established per second.
    pub connections_per_second: f64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// What became of the requests.
    pub requests: Questions,
    /// Requests that were due and not begun: too late, or no connection was free.
    pub left_out: u64,
    /// Connections established.
    pub connected: u64,
    /// Segments that clients said again.
    pub retransmitted_by_clients: u64,
    /// Segments that servers said again.
    pub retransmitted_by_servers: u64,
    /// Where every segment went, of both directions.
    pub segments: Book,
    /// From request to whole response.
    pub response: Latency,
    /// From SYN to an established connection.
    pub handshake: Latency,
    /// Whether both sums come out.
    pub adds_up: bool,
    /// Whether it was ended early.
    pub interrupted: bool,
}

impl ExchangeReport {
    /// Of an exchange that has been passed.
    pub fn of(bed: &ExchangeBed, exchange: &Exchange, exchanged: &Exchanged) -> Self {
        let per_second =
            |count: u64| if exchanged.seconds > 0.0 { count as f64 / exchanged.seconds } else { 0.0 };
        let requests = exchanged.questions;
        let failed = requests.asked.saturating_sub(requests.answered);
        let unconnected = requests.refused.saturating_add(requests.timed_out);
        let [by_clients, by_servers] = exchanged.retransmitted;
        let latency = |histogram, what, lost| Latency::of(what, &bed.name(), histogram, lost);
        Self {
            between: bed.name(),
            seed: exchange.seed,
            connections: exchange.connections,
            request_bytes: exchange.request,
            response_bytes: exchange.response,
            per_connection: exchange.per_connection,
            asked_per_second: if let Rate::PerSecond(rate) = exchange.rate { Some(rate) } else { None },
            responses_per_second: per_second(requests.answered),
            connections_per_second: per_second(exchanged.connected),
            seconds: exchanged.seconds,
            requests,
            left_out: exchanged.left_out,
            connected: exchanged.connected,
            retransmitted_by_clients: by_clients,
            retransmitted_by_servers: by_servers,
            segments: exchanged.book.clone(),
            response: latency(&exchanged.responses, "response", failed),
            handshake: latency(&exchanged.handshakes, "handshake", unconnected),
            adds_up: requests.adds_up() && exchanged.book.adds_up(),
            interrupted: exchanged.interrupted,
        }
    }
}

impl fmt::Display for ExchangeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.asked_per_second.map_or("max".to_owned(), |rate| format!("{rate} request/s"));
        let Questions { asked: begun, answered, refused, reset, timed_out, open } = self.requests;
        writeln!(
            f,
            "{}: {} connections, {} bytes asked and {} answered, {asked} asked for",
            self.between, self.connections, self.request_bytes, self.response_bytes
        )?;
        writeln!(
            f,
            "{:.0} response/s, {:.0} new connection/s over {:.2} s",
            self.responses_per_second, self.connections_per_second, self.seconds
        )?;
        writeln!(
            f,
            "requests {begun} = answered {answered} + refused {refused} + reset {reset} + timed out {timed_out} + \
             open {open}; {} left out",
            self.left_out
        )?;
        let (segments, refused) = (self.segments.equation(), self.segments.refused);
        writeln!(
            f,
            "segments {segments}: {}; {refused} more were refused by a queue",
            whether(self.adds_up)
        )?;
        writeln!(
            f,
            "retransmitted: {} by clients, {} by servers",
            self.retransmitted_by_clients, self.retransmitted_by_servers
        )?;
        for (name, latency) in [("response", &self.response), ("handshake", &self.handshake)] {
            let Latency { count, lost, .. } = latency;
            let (summary, longest) = (latency.summary(), latency.longest());
            writeln!(
                f,
                "{name} of {count}: {summary}, longest {longest}; {lost} without one are in none of them"
            )?;
        }
        Ok(())
    }
}
