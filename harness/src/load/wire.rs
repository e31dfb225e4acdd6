//! Load on a real interface, and what came back by another.
//!
//! ```text
//!  Generator ─► packet socket ─► TX interface ═ whatever stands between ═ RX interface ─► packet socket ─► Tally
//!                                 tx_dropped                               rx_dropped     socket's losses
//! ```
//! One thread sends, another receives, which does not sleep meanwhile: it takes a processor. After the last frame it
//! waits until nothing has come for the drain time, and only then anything is counted. What an interface or the
//! receiver's own socket dropped is booked under that name, what is missing without a word is lost. Counters of
//! interfaces see other traffic too: they are believed for no more than is missing ([`Book::close`]).

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::ports::af_packet::AfPacketPort;
use dataplane::ports::{Port, PortInfo};
use serde::Serialize;

use super::interface::{Listening, Statistics, open_to_send};
use super::{Clock, Generator, Mark, Offered, Rate, Shape, Tally, send};
use crate::report::{Book, Latency, quantity};

/// Longest wait for frames that keep coming after the last one was sent.
const LONGEST_DRAIN: Duration = Duration::from_secs(5);

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Frames.
    pub shape: &'a Shape,
    /// How many a second.
    pub rate: Rate,
    /// For how long.
    pub duration: Duration,
    /// Most frames.
    pub frames: u64,
    /// Ends it early.
    pub stop: &'a AtomicBool,
}

/// An interface to send by, and perhaps one to listen at.
pub struct Wire {
    tx: (String, AfPacketPort),
    rx: Option<(String, Listening)>,
    drain: Duration,
    trial: u32,
}

/// What came of an order.
pub struct Passed {
    /// What was sent.
    pub offered: Offered,
    /// What came back, where somebody listened.
    pub tally: Option<Tally>,
    /// Drops that were counted, by name.
    pub dropped: Vec<(String, u64)>,
    /// What the sending interface counted meanwhile.
    pub interface: Option<Statistics>,
}

impl Wire {
    /// Opens interfaces of this namespace. What comes back has `drain` to come after the last frame.
    ///
    /// # Errors
    /// One cannot be opened; its name is said.
    pub fn open(tx: &str, rx: Option<&str>, drain: Duration) -> io::Result<Self> {
        let port = open_to_send(tx)?;
        let rx = rx.map(|name| Ok::<_, io::Error>((name.to_owned(), Listening::open(name)?))).transpose()?;
        Ok(Self { tx: (tx.to_owned(), port), rx, drain, trial: 0 })
    }

    /// The sending interface.
    pub fn tx(&self) -> PortInfo {
        self.tx.1.info()
    }

    /// The listening interface.
    pub fn rx(&self) -> Option<PortInfo> {
        self.rx.as_ref().map(|(_, port)| port.info())
    }

    /// Names of both.
    pub fn names(&self) -> (&str, Option<&str>) {
        (&self.tx.0, self.rx.as_ref().map(|(name, _)| name.as_str()))
    }

    /// The largest frame that all of them carry, with FCS, where a tunnel takes so many bytes.
    pub fn largest(&self, tunnel: usize) -> usize {
        let mtu = self.rx().map_or(self.tx().mtu, |rx| rx.mtu.min(self.tx().mtu));
        (mtu as usize).saturating_add(18).saturating_sub(tunnel)
    }

    /// Sends, and receives what comes of it.
    ///
    /// # Errors
    /// The shape cannot be sent, or an interface is gone.
    pub fn pass(&mut self, order: &Order<'_>) -> io::Result<Passed> {
        self.trial = self.trial.wrapping_add(1);
        let mut generator = Generator::new(order.shape, self.trial).map_err(io::Error::other)?;
        let mark = generator.mark();
        let drain = self.drain;
        let (tx, sender) = (&self.tx.0, &mut self.tx.1);
        let tx_before = Statistics::of(tx);
        let rx_before = self.rx.as_ref().and_then(|(name, _)| Statistics::of(name));
        let (clock, sent) = (Clock::start(), AtomicBool::new(false));
        let (offered, received) = std::thread::scope(|scope| {
            let receiver = self.rx.as_mut().map(|(_, port)| port);
            let receiving = receiver.map(|port| scope.spawn(|| receive(port, mark, &clock, &sent, drain)));
            let how = (order.rate, order.duration, order.frames);
            let offered = send(sender, &mut generator, how, &clock, order.stop);
            sent.store(true, Ordering::SeqCst);
            let panicked = |_| Err(io::Error::other("the receiver panicked"));
            (offered, receiving.map(|thread| thread.join().unwrap_or_else(panicked)))
        });
        let (offered, received) = (offered?, received.transpose()?);
        let since = |name: &str, before: Option<Statistics>| Some(Statistics::of(name)?.since(before?));
        let interface = since(tx, tx_before);
        let mut dropped = vec![("tx_dropped".to_owned(), interface.map_or(0, |counted| counted.tx_dropped))];
        let (tally, lost) = received.map_or((None, 0), |(tally, lost)| (Some(tally), lost));
        if let Some((rx, _)) = &self.rx {
            let rx = since(rx, rx_before).map_or(0, |counted| counted.rx_dropped);
            dropped.insert(0, ("rx_socket_full".to_owned(), lost));
            dropped.push(("rx_dropped".to_owned(), rx));
        }
        dropped.retain(|(_, count)| *count > 0);
        Ok(Passed { offered, tally, dropped, interface })
    }
}

/// Receives until `sent` is set and nothing has come for `drain`; also what the socket lost.
fn receive(
    port: &mut Listening,
    mark: Mark,
    clock: &Clock,
    sent: &AtomicBool,
    drain: Duration,
) -> io::Result<(Tally, u64)> {
    let (mut pool, mut batch) = (Pool::new(2 * BATCH_FRAMES), Batch::with_capacity(BATCH_FRAMES));
    let (mut tally, mut lost, mut ended) = (Tally::new(mark), 0_u64, None);
    let mut quiet = Instant::now();
    loop {
        let received = port.recv(&mut pool, &mut batch, BATCH_FRAMES)?;
        lost = lost.saturating_add(received.lost);
        let (now, known) = (clock.now(), tally.received());
        for frame in batch.drain(..) {
            tally.take(frame.bytes(), now);
            pool.give(frame);
        }
        // What others send keeps nobody waiting.
        if tally.received() > known {
            quiet = Instant::now();
        }
        if sent.load(Ordering::SeqCst) {
            let end: Instant = *ended.get_or_insert_with(Instant::now);
            if quiet.max(end).elapsed() >= drain || end.elapsed() >= LONGEST_DRAIN.max(drain) {
                return Ok((tally, lost.saturating_add(port.losses())));
            }
        }
        if received.frames == 0 {
            std::thread::yield_now();
        }
    }
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// The interface it was sent by.
    pub interface: String,
    /// What chose.
    pub seed: u64,
    /// Frames per second that were asked for; none: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_pps: Option<f64>,
    /// Frames per second that were sent.
    pub reached_pps: f64,
    /// What was sent, and what not.
    pub offered: Offered,
    /// Frames that the interface says it sent meanwhile, those of others among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_sent: Option<u64>,
    /// Frames that it says it dropped instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_dropped: Option<u64>,
    /// What came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrived: Option<Arrived>,
    /// Whether it was ended early.
    pub interrupted: bool,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arrived {
    /// The interface it came by.
    pub interface: String,
    /// Where every frame went.
    pub book: Book,
    /// Frames that came again; in the book they are `excess`.
    pub duplicated: u64,
    /// Frames that came after later ones.
    pub reordered: u64,
    /// Frames that were meant to be denied and came all the same.
    pub denied: u64,
    /// Frames of others.
    pub foreign: u64,
    /// Frames per second that came.
    pub pps: f64,
    /// From the generator to the counter. Lost frames are in no percentile.
    pub latency: Latency,
}

impl Arrived {
    fn of(interface: &str, offered: &Offered, tally: &Tally, dropped: &[(String, u64)]) -> Self {
        let (allowed, denied) = (tally.allowed(), tally.denied());
        let duplicated = allowed.duplicated.saturating_add(denied.duplicated);
        let book = Book::close(offered.sent, tally.received(), offered.refused(), dropped);
        let (excess, received) =
            (book.excess.saturating_add(duplicated), book.received.saturating_add(duplicated));
        let lost = offered.sent.saturating_sub(tally.received());
        Self {
            interface: interface.to_owned(),
            book: Book { group: "load".to_owned(), round: 1, excess, received, ..book },
            duplicated,
            reordered: allowed.reordered.saturating_add(denied.reordered),
            denied: denied.received,
            foreign: tally.foreign(),
            pps: if offered.seconds > 0.0 { tally.received() as f64 / offered.seconds } else { 0.0 },
            latency: Latency::of("load", interface, tally.latency(), lost),
        }
    }
}

impl LoadReport {
    /// Of an order that has been passed.
    pub fn of(wire: &Wire, order: &Order<'_>, passed: &Passed) -> Self {
        let offered = passed.offered;
        let (tx, rx) = wire.names();
        let arrived = passed.tally.as_ref().zip(rx);
        Self {
            interface: tx.to_owned(),
            seed: order.shape.seed,
            asked_pps: if let Rate::PerSecond(rate) = order.rate { Some(rate) } else { None },
            reached_pps: offered.rate(),
            offered,
            interface_sent: passed.interface.map(|counted| counted.sent),
            interface_dropped: passed.interface.map(|counted| counted.tx_dropped),
            arrived: arrived.map(|(tally, rx)| Arrived::of(rx, &offered, tally, &passed.dropped)),
            interrupted: order.stop.load(Ordering::SeqCst),
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Offered { sent, congested, failed, left_out, denied, new_flows, seconds } = self.offered;
        let asked = self.asked_pps.map_or("max".to_owned(), |rate| quantity(rate, "packet/s"));
        writeln!(
            f,
            "{}: {sent} packets in {seconds:.2} s, {} reached, {asked} asked for",
            self.interface,
            quantity(self.reached_pps, "packet/s")
        )?;
        writeln!(f, "not offered: {congested} queue full, {failed} refused, {left_out} too late")?;
        if denied > 0 || new_flows > 0 {
            writeln!(f, "of those made: {denied} to be denied, {new_flows} that began a flow")?;
        }
        if let (Some(sent), Some(dropped)) = (self.interface_sent, self.interface_dropped) {
            writeln!(f, "the interface counts {sent} sent and {dropped} dropped meanwhile")?;
        }
        let Some(arrived) = &self.arrived else { return Ok(()) };
        let Book { offered, received, excess, dropped, lost, .. } = &arrived.book;
        write!(f, "{}: offered {offered}", arrived.interface)?;
        if *excess > 0 {
            write!(f, " + {excess} in excess")?;
        }
        write!(f, " = received {received}")?;
        for (reason, count) in dropped {
            write!(f, " + {reason} {count}")?;
        }
        let sum = if arrived.book.adds_up() {
            "adds up"
        } else {
            "DOES NOT ADD UP: a bug of weir, please report it"
        };
        writeln!(f, " + lost {lost}: {sum}")?;
        writeln!(
            f,
            "{} duplicated, {} reordered, {} though to be denied, {} of others",
            arrived.duplicated, arrived.reordered, arrived.denied, arrived.foreign
        )?;
        let latency = &arrived.latency;
        let at = |quantile| quantity(latency.at(quantile) as f64 / 1e9, "s");
        writeln!(
            f,
            "latency of {}: p50 {}, p99 {}, p99.9 {}, longest {}; {} probes lost are in none of them",
            latency.count,
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            latency.lost
        )
    }
}
