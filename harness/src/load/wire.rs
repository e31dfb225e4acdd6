//! Load on a real interface, and what came back by another.
//!
//! ```text
//!  Generator ─► packet socket ─► TX interface ═ whatever stands between ═ RX interface ─► packet socket ─► Tally
//!                                 tx_dropped                               rx_dropped     socket's losses
//! ```
//! One thread sends, another receives, which does not sleep meanwhile: it takes a processor. After the last frame it
//! waits until nothing has come for the drain time, and only then anything is counted. What an interface or the
//! receiver's own socket dropped is booked under that name, what is missing without a word is lost. Counters of
//! interfaces see other traffic too: they are believed for no more than is missing (`Book::close`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::ports::af_packet::AfPacketPort;
use dataplane::ports::{Port, PortInfo};

use super::interface::{Listening, Statistics, open_to_send};
use super::{Clock, Generator, Mark, Offered, Rate, Shape, Tally, send};

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
    /// Frames that were meant to be denied, did not come, and were sent for certain.
    pub denied: u64,
    /// Drops that were counted, by name, those denied the first.
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
        let denied = tally.as_ref().map_or(0, |tally| denied(&offered, tally));
        dropped.insert(0, ("denied".to_owned(), denied));
        dropped.retain(|(_, count)| *count > 0);
        Ok(Passed { offered, tally, denied, dropped, interface })
    }
}

/// Frames meant to be denied that did not come. Which of the frames made were refused by the port nobody says: as many
/// as were refused are not excused.
pub(super) fn denied(offered: &Offered, tally: &Tally) -> u64 {
    let missing = offered.sent.saturating_sub(tally.received());
    let sent = offered.denied.saturating_sub(offered.refused());
    sent.saturating_sub(tally.denied().received).min(missing)
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
