//! UDP generators: connected sockets that send batches of small datagrams, flat out or at a pace.
//!
//! Each generator is one thread, on a processor of its own, with [`FLOWS`] sockets, and sends up to `BATCH` datagrams
//! per system call (`sendmmsg`), one flow after the other; or each datagram is a flow of its own ([`fresh`](super::fresh)). What the own kernel refuses is counted and not sent again: it was not
//! offered. At a pace, a generator sends what is due and sleeps, `NAP` at least, so that it leaves the processor to the
//! device under test: its load comes in small bursts. What it is late with by more than `LATE` is left out rather
//! than sent at once, for a load that was queued is not the load that was asked for.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::sys::mmsg::{Datagram, Outgoing};
use dataplane::sys::netns::Netns;

use super::fresh::Fresh;
use super::pin::pin;
use super::udp::connect;

/// Flows of one generator.
pub const FLOWS: usize = 16;
/// Datagrams of one system call.
const BATCH: usize = 64;
/// Bytes of a datagram: with the headers of Ethernet, IPv4 and UDP and the frame check sequence, 64.
pub const PAYLOAD: usize = 18;
/// How late a paced datagram may leave.
const LATE: Duration = Duration::from_millis(10);
/// Shortest sleep of a paced generator.
const NAP: Duration = Duration::from_micros(100);

/// What a generator does with its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As fast as the sockets take it.
    Flat,
    /// All generators together.
    Steady {
        /// Datagrams a second.
        rate: f64,
        /// After so many the generators end.
        count: u64,
    },
}

/// What generators did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Datagrams the kernel took.
    pub sent: u64,
    /// Datagrams it refused.
    pub refused: u64,
}

/// Generators at work.
#[derive(Debug)]
pub struct Blast {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Sent>>,
}

impl Pace {
    /// The part of generator `number` of so many.
    #[allow(clippy::cast_precision_loss, reason = "a handful of generators")]
    fn share(self, number: usize, generators: usize) -> Self {
        let Self::Steady { rate, count } = self else { return self };
        let parts = generators.max(1) as u64;
        let rest = u64::from((number as u64) < count.checked_rem(parts).unwrap_or(0));
        let count = count.checked_div(parts).unwrap_or(0).saturating_add(rest);
        Self::Steady { rate: rate / parts as f64, count }
    }
}

impl Blast {
    /// Starts so many generators in `netns`.
    ///
    /// # Errors
    /// Sockets or threads cannot be had.
    pub fn start(netns: &Netns, to: SocketAddr, generators: usize, pace: Pace) -> io::Result<Self> {
        Self::start_with(generators, pace, |_| Source::few(netns, to))
    }

    /// Starts so many generators in `netns` whose datagrams are new flows each, to [`PORTS`](super::fresh::PORTS) ports from that of
    /// `to` on, beginning with the flow of the number given.
    ///
    /// # Errors
    /// Sockets or threads cannot be had.
    pub fn start_fresh(netns: &Netns, to: SocketAddr, generators: usize, first: u64) -> io::Result<Self> {
        Self::start_with(generators, Pace::Flat, |number| {
            let numbers = (first.wrapping_add(number as u64), generators as u64);
            Ok(Source::Fresh(Fresh::open(netns, to, numbers, BATCH)?))
        })
    }

    fn start_with(
        generators: usize,
        pace: Pace,
        source: impl Fn(usize) -> io::Result<Source>,
    ) -> io::Result<Self> {
        let mut blast = Self { stop: Arc::default(), sent: Arc::default(), threads: Vec::new() };
        for number in 0..generators {
            let mut source = source(number)?;
            let (stop, sent) = (Arc::clone(&blast.stop), Arc::clone(&blast.sent));
            let thread = Builder::new().name(format!("blast-{number}"));
            let pace = pace.share(number, generators);
            blast.threads.push(thread.spawn(move || {
                pin(number);
                generate(&mut source, pace, &stop, &sent)
            })?);
        }
        Ok(blast)
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Whether all generators have sent what they were to send.
    pub fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Stops, and says what was sent in all.
    pub fn finish(mut self) -> Sent {
        self.stop.store(true, Ordering::SeqCst);
        let mut total = Sent::default();
        for thread in self.threads.drain(..) {
            let part = thread.join().unwrap_or_default();
            total.sent = total.sent.saturating_add(part.sent);
            total.refused = total.refused.saturating_add(part.refused);
        }
        total
    }
}

impl Drop for Blast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A connected socket that says what became of a datagram, and takes no answers.
fn open(netns: &Netns, to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = connect(netns, to)?;
    send_only(&socket, to)?;
    Ok(socket)
}

/// Makes a socket say what became of a datagram, and discard what comes.
pub(super) fn send_only(socket: &UdpSocket, to: SocketAddr) -> io::Result<()> {
    /// `IP_RECVERR` and `IPV6_RECVERR`: without them a queue that is full refuses in silence.
    const RECVERR: [(i32, i32); 2] = [(0, 11), (41, 25)];
    let [v4, v6] = RECVERR;
    let (level, option) = if matches!(to.ip(), IpAddr::V4(_)) { v4 } else { v6 };
    dataplane::sys::socket::set(socket.as_fd(), level, option, 1)?;
    dataplane::sys::socket::discard_arrivals(socket.as_fd())
}

/// Where a generator's datagrams come from.
enum Source {
    /// A few flows in turn, and whose turn it is.
    Few { flows: Vec<UdpSocket>, turn: usize },
    /// A flow each.
    Fresh(Fresh),
}

impl Source {
    fn few(netns: &Netns, to: SocketAddr) -> io::Result<Self> {
        let flows = (0..FLOWS).map(|_| open(netns, to)).collect::<io::Result<Vec<_>>>()?;
        Ok(Self::Few { flows, turn: 0 })
    }

    fn send(&mut self, outgoing: &mut Outgoing, count: usize) -> io::Result<usize> {
        const DATAGRAM: Datagram<'static> =
            Datagram { prefix: None, bytes: &[0x5a; PAYLOAD], to: None, class: None };
        match self {
            Self::Few { flows, turn } => {
                *turn = turn.wrapping_add(1).checked_rem(flows.len()).unwrap_or(0);
                let Some(flow) = flows.get(*turn) else { return Ok(0) };
                outgoing.send(flow.as_fd(), std::iter::repeat_n(DATAGRAM, count))
            }
            Self::Fresh(fresh) => fresh.send(outgoing, count),
        }
    }
}

fn generate(source: &mut Source, pace: Pace, stop: &AtomicBool, total: &AtomicU64) -> Sent {
    let mut outgoing = Outgoing::new();
    let mut done = Sent::default();
    let mut clock = Clock::new(pace);
    while !stop.load(Ordering::Relaxed) {
        let due = clock.wait(stop);
        if due == 0 {
            break;
        }
        if let Ok(count) = source.send(&mut outgoing, due) {
            done.sent = done.sent.saturating_add(count as u64);
            total.fetch_add(count as u64, Ordering::Relaxed);
            clock.sent(count);
        } else {
            done.refused = done.refused.saturating_add(1);
            clock.sent(1);
        }
    }
    done
}

/// Says how many datagrams are due.
struct Clock {
    pace: Pace,
    begin: Instant,
    /// Datagrams that were due so far and have been dealt with.
    past: f64,
}

impl Clock {
    fn new(pace: Pace) -> Self {
        Self { pace, begin: Instant::now(), past: 0.0 }
    }

    /// Waits until something is due, and says how much, [`BATCH`] at the most; nothing once all is done.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52 datagrams")]
    fn wait(&mut self, stop: &AtomicBool) -> usize {
        let Pace::Steady { rate, count } = self.pace else { return BATCH };
        while !stop.load(Ordering::Relaxed) {
            let left = count as f64 - self.past;
            if left < 1.0 {
                return 0;
            }
            let ahead = self.begin.elapsed().as_secs_f64() * rate - self.past;
            let late = (LATE.as_secs_f64() * rate).max(1.0);
            if ahead > late {
                self.past += ahead.min(left) - late.min(left);
            }
            let due = ahead.min(late).min(left);
            if due >= 1.0 {
                return Self::due(due);
            }
            std::thread::sleep(Duration::from_secs_f64(((1.0 - ahead) / rate).min(0.02)).max(NAP));
        }
        0
    }

    #[allow(clippy::cast_sign_loss, reason = "never below one")]
    fn due(ahead: f64) -> usize {
        (ahead as usize).clamp(1, BATCH)
    }

    #[allow(clippy::cast_precision_loss, reason = "a batch at the most")]
    fn sent(&mut self, count: usize) {
        self.past += count as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::sink::Sink;
    use super::*;

    #[test]
    fn a_pace_is_kept_and_its_sum_known() {
        let here = Netns::current().unwrap();
        let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        let mut sink = Sink::open(&here, free).unwrap();
        let before = sink.arrived().unwrap();
        let begin = Instant::now();
        let blast = Blast::start(&here, free, 2, Pace::Steady { rate: 4_000.0, count: 1_001 }).unwrap();
        while !blast.is_done() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (sent, elapsed) = (blast.finish().sent, begin.elapsed().as_secs_f64());
        // On a machine that is busy some are late, and left out.
        assert!((1..=1_001).contains(&sent) && elapsed > 0.24, "{sent} in {elapsed}");
        assert_eq!(u64::from(sink.drained().unwrap().wrapping_sub(before)), sent);
    }

    #[test]
    fn what_is_late_is_left_out() {
        let mut clock =
            Clock { pace: Pace::Steady { rate: 1e5, count: 1 << 40 }, begin: Instant::now(), past: 0.0 };
        std::thread::sleep(Duration::from_millis(50));
        let stop = AtomicBool::new(false);
        let mut burst = 0;
        loop {
            let due = clock.wait(&stop);
            if due < BATCH {
                break;
            }
            clock.sent(due);
            burst += due;
            assert!(burst < 2_000, "5,000 were due, those of 10 ms may be sent at once");
        }
    }
}
