//! One trial: traffic of one kind between two pods, for a while, and what came of it.
//!
//! Every trial ramps up first and counts only within a window; what a trial opened is closed before it returns. The
//! books cover the whole trial, ramp and drain included.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::cost::{Drops, Passed, Processors};
use super::rules::PORT;
use super::subject::Subject;
use crate::lab::LabError;
use crate::lab::plan::Family;
use crate::report::{Book, Figure};
use crate::traffic::blast::{Blast, Pace};
use crate::traffic::connections::Connections;
use crate::traffic::fresh;
use crate::traffic::latency::{Echo, round_trips_for};
use crate::traffic::pin::pin;
use crate::traffic::sink::Sink;
use crate::traffic::streams::Streams;

/// Generators of a packet-rate trial. The kernel forwards in its sender's context, so one generator would measure one
/// processor of the kernel's and all of weir's.
const GENERATORS: usize = 2;
/// Clients of a trial of new connections.
const CLIENTS: usize = 4;
/// Ports of the servers.
const STREAM_PORT: u16 = 5201;
const CONNECTION_PORT: u16 = 5202;
const ECHO_PORT: u16 = 5203;
/// How much longer than its window a paced trial may take.
const OVERTIME: Duration = Duration::from_millis(100);
/// Between two looks at whether the trial is to end.
const LOOK: Duration = Duration::from_millis(20);

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// One TCP stream.
    Tcp1,
    /// Four TCP streams.
    Tcp4,
    /// The smallest datagrams, two generators, a few flows each.
    Udp,
    /// The same, each datagram a flow that nobody has seen.
    UdpFlows,
    /// One request at a time.
    RoundTrip,
    /// New connections.
    Connections,
}

impl Workload {
    /// What it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp1 => "TCP 1 stream",
            Self::Tcp4 => "TCP 4 streams",
            Self::Udp => "UDP 64 bytes, 2 generators",
            Self::UdpFlows => "UDP 64 bytes, new flows only, 2 generators",
            Self::RoundTrip => "request/response",
            Self::Connections => "new connections",
        }
    }

    /// The quantity that ratios are made of.
    pub const fn main_quantities(self) -> &'static [&'static str] {
        match self {
            Self::Tcp1 | Self::Tcp4 => &["throughput"],
            Self::Udp | Self::UdpFlows => &["packet rate", "CPU per packet"],
            Self::RoundTrip => &["p50", "p99", "mean"],
            Self::Connections => &["connection rate"],
        }
    }
}

/// Ramp and window of a trial.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) ramp: Duration,
    pub(super) window: Duration,
}

/// What a trial found.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) figures: Vec<(Figure, f64)>,
    pub(super) book: Option<Book>,
    /// Nanoseconds, and requests that were lost.
    pub(super) round_trips: Option<(Histogram<u64>, u64)>,
}

/// A trial's place: who sends to whom, and until when.
pub(super) struct Trial<'a> {
    pub(super) subject: &'a Subject,
    pub(super) far: bool,
    pub(super) family: Family,
    pub(super) timing: Timing,
    /// Congestion control of TCP streams; none for the system's.
    pub(super) congestion: Option<&'a str>,
    pub(super) interrupt: &'a AtomicBool,
}

impl Trial<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// Traffic does not come about, or somebody asked for the end: half a trial is no figure.
    pub(super) fn run(&self, workload: Workload) -> Result<Measured, LabError> {
        let measured = match workload {
            Workload::Tcp1 => self.tcp(1),
            Workload::Tcp4 => self.tcp(4),
            Workload::Udp => self.udp(Pace::Flat),
            Workload::UdpFlows => self.udp_flows(),
            Workload::RoundTrip => self.round_trip(),
            Workload::Connections => self.connections(),
        }?;
        self.check()?;
        Ok(measured)
    }

    fn check(&self) -> Result<(), LabError> {
        if self.interrupt.load(Ordering::SeqCst) { Err(LabError::Interrupted) } else { Ok(()) }
    }

    fn at(&self, port: u16) -> Result<SocketAddr, LabError> {
        Ok(SocketAddr::new(self.subject.target(self.far)?.address(self.family), port))
    }

    /// Waits for `duration`, or until the end is asked for.
    fn wait(&self, duration: Duration) {
        let begin = Instant::now();
        while !self.interrupt.load(Ordering::SeqCst) {
            let left = duration.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    /// What `count` grew by in the window, and what that cost.
    fn window<E>(&self, mut count: impl FnMut() -> Result<u64, E>) -> Result<(f64, Passed), E> {
        self.wait(self.timing.ramp);
        let (begin, before) = (Processors::now(self.subject), count()?);
        self.wait(self.timing.window);
        let (after, end) = (count()?, Processors::now(self.subject));
        Ok((after.wrapping_sub(before) as f64, begin.until(end)))
    }

    fn tcp(&self, streams: usize) -> Result<Measured, LabError> {
        let (from, to) = (self.subject.client()?, self.subject.target(self.far)?);
        let streams =
            Streams::start(&from.netns, &to.netns, self.at(STREAM_PORT)?, streams, self.congestion)?;
        let (bytes, passed) = self.window(|| Ok::<_, LabError>(streams.received()))?;
        drop(streams);
        let gigabytes = (bytes / 1e9).max(1e-9);
        let mut figures = vec![(Figure::more("throughput", "bit/s"), bytes * 8.0 / passed.seconds)];
        figures.extend(passed.figures("GB", "s/GB", gigabytes));
        Ok(Measured { figures, ..Measured::default() })
    }

    /// Datagrams of a few flows at a pace, with their books.
    pub(super) fn udp(&self, pace: Pace) -> Result<Measured, LabError> {
        let from = self.subject.client()?;
        let start = || Ok(Blast::start(&from.netns, self.at(PORT)?, GENERATORS, pace)?);
        self.datagrams(1, pace, start).map(|(measured, _)| measured)
    }

    /// Datagrams of new flows, as fast as they go.
    fn udp_flows(&self) -> Result<Measured, LabError> {
        let (from, next) = (self.subject.client()?, &self.subject.fresh);
        let first = next.load(Ordering::Relaxed);
        let start = || Ok(Blast::start_fresh(&from.netns, self.at(PORT)?, GENERATORS, first)?);
        let (measured, made) = self.datagrams(fresh::PORTS, Pace::Flat, start)?;
        // Generators go on by their number: the faster one is at most all datagrams ahead.
        next.store(first.wrapping_add(made.wrapping_mul(GENERATORS as u64)), Ordering::Relaxed);
        Ok(measured)
    }

    /// Datagrams to so many ports; also how many were made.
    fn datagrams(
        &self,
        ports: u16,
        pace: Pace,
        start: impl FnOnce() -> Result<Blast, LabError>,
    ) -> Result<(Measured, u64), LabError> {
        let to = self.subject.target(self.far)?;
        let mut sink = Sink::open_ports(&to.netns, self.at(PORT)?, ports)?;
        let drops = Drops::now(self.subject, self.far)?;
        let (first, broken) = (sink.arrived()?, sink.broken()?);
        let blast = start()?;
        // The kernel counts in 32 bits: differences are taken there.
        let (packets, passed) =
            self.window(|| sink.arrived().map(|now| u64::from(now.wrapping_sub(first))))?;
        // A pace that is kept is over by now, or within the time a datagram may be late.
        let begin = Instant::now();
        while matches!(pace, Pace::Steady { .. }) && !blast.is_done() && begin.elapsed() < OVERTIME {
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent = blast.finish();
        let arrived = u64::from(sink.drained()?.wrapping_sub(first));
        let broken = sink.broken()?.saturating_sub(broken);
        self.stir()?;
        let mut counted = vec![("checksum".to_owned(), broken)];
        counted.extend(Drops::now(self.subject, self.far)?.since(&drops));
        let book = Book::close(sent.sent, arrived.saturating_sub(broken), sent.refused, &counted);
        let packets = packets.max(1.0);
        let mut figures = vec![(Figure::more("packet rate", "packet/s"), packets / passed.seconds)];
        figures.extend(passed.figures("packet", "s/packet", packets));
        let made = sent.sent.saturating_add(sent.refused);
        Ok((Measured { figures, book: Some(book), round_trips: None }, made))
    }

    /// Sends one datagram that the sink does not count: a socket that lost packets says so with its next arrival.
    fn stir(&self) -> Result<(), LabError> {
        let (from, at) = (self.subject.client()?, self.at(PORT.saturating_add(fresh::PORTS))?);
        let own = SocketAddr::new(from.address(self.family), 0);
        from.run(|| UdpSocket::bind(own)?.send_to(&[0], at))??;
        std::thread::sleep(LOOK);
        Ok(())
    }

    fn round_trip(&self) -> Result<Measured, LabError> {
        let (client, at) = (self.subject.client()?, self.at(ECHO_PORT)?);
        let Timing { ramp, window } = self.timing;
        // Client and server each on a processor of its own, on a thread of its own.
        let _echo = Echo::start(&self.subject.target(self.far)?.netns, at, 1)?;
        let before = Processors::now(self.subject);
        let trips = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                pin(0);
                round_trips_for(&client.netns, at, ramp, window, self.interrupt)
            });
            client
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the client of the round trips panicked")))
        })?;
        let passed = before.until(Processors::now(self.subject));
        let histogram = trips.histogram;
        let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile)).as_secs_f64();
        let mut figures = vec![
            (Figure::less("p50", "s"), at(0.5)),
            (Figure::less("p99", "s"), at(0.99)),
            (Figure::less("p99.9", "s"), at(0.999)),
            (Figure::less("mean", "s"), histogram.mean() / 1e9),
        ];
        figures.extend(passed.figures("request", "s/request", trips.answered as f64));
        Ok(Measured { figures, round_trips: Some((histogram, trips.lost)), book: None })
    }

    fn connections(&self) -> Result<Measured, LabError> {
        let (from, to) = (self.subject.client()?, self.subject.target(self.far)?);
        let connections = Connections::start(&from.netns, &to.netns, self.at(CONNECTION_PORT)?, CLIENTS)?;
        let (opened, passed) = self.window(|| Ok::<_, LabError>(connections.opened()))?;
        let failed = connections.failed();
        drop(connections);
        let mut figures = vec![(Figure::more("connection rate", "connection/s"), opened / passed.seconds)];
        figures.extend(passed.figures("connection", "s/connection", opened));
        figures.push((Figure::less("failed connections", "connection"), failed as f64));
        Ok(Measured { figures, ..Measured::default() })
    }
}
