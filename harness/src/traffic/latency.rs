//! Request/response latency: one datagram under way at a time, each round trip recorded.
//!
//! Percentiles come from an hdrhistogram of nanoseconds, three significant digits. A request that is not answered
//! in time counts as lost and is left out of them. A closed loop of one request waits for every answer, so these are
//! idle latencies: nothing is said about a loaded path.
//!
//! Timed round trips take [`FLOWS`] flows in turn. A forwarder with a worker on each processor deals a flow to one of them
//! for good, by a hash with a key of its own, and so does the one at the other node: client, both workers and server may
//! sit so that a request changes the processor once or three times. With one flow a trial says which of these cases
//! it drew; with many it says what all cases are like together.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::pin::pin;
use super::udp::connect;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(200);
/// Round trips before the count begins: the first ones resolve neighbours and open the connection.
const WARM_UP: usize = 50;

/// Flows that timed round trips take in turn.
pub const FLOWS: usize = 256;

/// Upper end of the histogram, in nanoseconds; no answer is waited for that long.
const LONGEST_NS: u64 = 1_000_000_000;

/// Percentiles of a series of round trips.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub lost: u64,
    /// Half took at most this long, in microseconds.
    pub p50_us: f64,
    /// 99 of 100 took at most this long, in microseconds.
    pub p99_us: f64,
    /// 999 of 1,000 took at most this long, in microseconds.
    pub p999_us: f64,
}

/// An echo service on a processor of its own. It ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts it in `netns`.
    ///
    /// # Errors
    /// Sockets and threads cannot be had.
    pub fn start(netns: &Netns, at: SocketAddr, processor: usize) -> io::Result<Self> {
        let socket = netns.run(|| UdpSocket::bind(at))??;
        socket.set_read_timeout(Some(PATIENCE))?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread = Builder::new().name("echo".to_owned()).spawn(move || {
            pin(processor);
            let mut buffer = [0; 2048];
            while !ended.load(Ordering::Relaxed) {
                let Ok((count, from)) = socket.recv_from(&mut buffer) else { continue };
                let _ = socket.send_to(buffer.get(..count).unwrap_or_default(), from);
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Round trips of a while, one after the other.
#[derive(Debug)]
pub struct RoundTrips {
    /// Nanoseconds of those that were answered.
    pub histogram: Histogram<u64>,
    /// Requests that were not.
    pub lost: u64,
    /// All that were answered, those of the warm-up too.
    pub answered: u64,
}

/// Sends requests of 32 bytes to an echo service for `duration`, one after the other, by [`FLOWS`] flows in turn, until
/// `stop` is set. The first `warm_up` is not counted.
///
/// # Errors
/// No sockets can be had in the namespace, or the histogram cannot be made.
pub fn round_trips_for(
    netns: &Netns,
    to: SocketAddr,
    warm_up: Duration,
    duration: Duration,
    stop: &AtomicBool,
) -> io::Result<RoundTrips> {
    let flows = (0..FLOWS).map(|_| connect(netns, to)).collect::<io::Result<Vec<_>>>()?;
    for socket in &flows {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    let histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).map_err(io::Error::other)?;
    let mut trips = RoundTrips { histogram, lost: 0, answered: 0 };
    let (begin, mut number) = (Instant::now(), 0_u64);
    for socket in flows.iter().cycle() {
        if begin.elapsed() >= warm_up.saturating_add(duration) || stop.load(Ordering::Relaxed) {
            break;
        }
        let mut request = [0; 32];
        request.get_mut(..8).unwrap_or_default().copy_from_slice(&number.to_be_bytes());
        number = number.wrapping_add(1);
        let start = Instant::now();
        let answered = exchange(socket, &request);
        let taken = start.elapsed();
        trips.answered = trips.answered.saturating_add(u64::from(answered));
        if begin.elapsed() < warm_up {
            continue;
        }
        if answered {
            trips.histogram.saturating_record(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
        } else {
            trips.lost = trips.lost.saturating_add(1);
        }
    }
    Ok(trips)
}

/// Sends `count` requests of 32 bytes to an echo service, one after the other.
///
/// # Errors
/// No socket can be had in the namespace, or the histogram cannot be made.
pub fn round_trips(netns: &Netns, to: SocketAddr, count: usize) -> io::Result<Latency> {
    let socket = connect(netns, to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Fixed bounds: a histogram that grows on its own does not grow where it saturates.
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST_NS, 3).map_err(io::Error::other)?;
    let mut lost = 0;
    for round in 0..WARM_UP.saturating_add(count) {
        let mut request = [0; 32];
        request.get_mut(..8).unwrap_or_default().copy_from_slice(&(round as u64).to_be_bytes());
        let start = Instant::now();
        let taken = exchange(&socket, &request).then(|| start.elapsed());
        if round < WARM_UP {
            continue;
        }
        match taken {
            Some(taken) => histogram.saturating_record(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX)),
            None => lost += 1,
        }
    }
    let at = |quantile| Duration::from_nanos(histogram.value_at_quantile(quantile)).as_secs_f64() * 1e6;
    Ok(Latency { answered: histogram.len(), lost, p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999) })
}

/// Whether the request came back. Late answers to earlier ones are passed over.
fn exchange(socket: &std::net::UdpSocket, request: &[u8]) -> bool {
    if socket.send(request).is_err() {
        return false;
    }
    let mut answer = [0; 64];
    loop {
        match socket.recv(&mut answer) {
            Ok(len) if answer.get(..len) == Some(request) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
