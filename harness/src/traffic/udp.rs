//! UDP clients: a probe, echoes of any size, and a steady flow whose losses are counted.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;

use super::Reach;
use super::pattern::Pattern;

/// A lost probe is sent again after this long.
const RESEND: Duration = Duration::from_millis(250);

/// Sends a datagram until it comes back, for `timeout` at most.
pub fn probe(netns: &Netns, to: SocketAddr, timeout: Duration) -> io::Result<Reach> {
    echo(netns, to, 32, timeout)
}

/// Sends a datagram of `size` bytes until it comes back unchanged, for `timeout` at most.
pub fn echo(netns: &Netns, to: SocketAddr, size: usize, timeout: Duration) -> io::Result<Reach> {
    let talk = || -> io::Result<()> {
        let socket = connect(netns, to)?;
        socket.set_read_timeout(Some(RESEND))?;
        let mut message = vec![0; size];
        Pattern::new(size as u64).fill(&mut message);
        let mut answer = vec![0; size.saturating_add(1)];
        let start = Instant::now();
        while start.elapsed() < timeout {
            socket.send(&message)?;
            match socket.recv(&mut answer) {
                Ok(count) if answer.get(..count) == Some(&message) => return Ok(()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    };
    match talk() {
        Ok(()) => Ok(Reach::Open),
        Err(error) => Reach::of(error),
    }
}

/// A UDP socket in `netns` that speaks with `to` alone.
pub(super) fn connect(netns: &Netns, to: SocketAddr) -> io::Result<UdpSocket> {
    netns.run(|| {
        let socket = match to {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.connect(to)?;
        Ok(socket)
    })?
}

/// What a steady flow counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Datagrams sent.
    pub sent: u64,
    /// Different ones that came back.
    pub returned: u64,
    /// Datagrams the own kernel refused to send, not among `sent`.
    pub refused: u64,
}

impl Tally {
    /// Datagrams that did not come back.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.returned)
    }
}

/// Numbered datagrams at a steady pace, each expected back.
#[derive(Debug)]
pub struct EchoFlow {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Tally>>,
}

impl EchoFlow {
    /// Starts sending every `interval`.
    pub fn start(netns: &Netns, to: SocketAddr, interval: Duration) -> io::Result<Self> {
        let socket = connect(netns, to)?;
        let stop = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stop);
        let thread =
            Builder::new().name("udp-echo".to_owned()).spawn(move || flow(&socket, interval, &ended))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Stops sending, waits for stragglers, and says what was counted.
    pub fn finish(mut self) -> Tally {
        self.stop.store(true, Ordering::SeqCst);
        let none = Tally { sent: 0, returned: 0, refused: 0 };
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(none)
    }
}

impl Drop for EchoFlow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// One thread sends and receives in turn, so that the pace never outruns the echo by more than a window.
fn flow(socket: &UdpSocket, interval: Duration, ended: &AtomicBool) -> Tally {
    const GRACE: Duration = Duration::from_secs(1);
    let mut tally = Tally { sent: 0, returned: 0, refused: 0 };
    let mut returned = Vec::new();
    let _ = socket.set_nonblocking(false);
    let mut next = Instant::now();
    let mut last_word = None;
    loop {
        let now = Instant::now();
        if ended.load(Ordering::SeqCst) {
            let since = *last_word.get_or_insert(now);
            if tally.returned >= tally.sent || now.duration_since(since) > GRACE {
                return tally;
            }
        } else if now >= next {
            next += interval;
            match socket.send(&tally.sent.to_be_bytes()) {
                Ok(_) => {
                    tally.sent = tally.sent.saturating_add(1);
                    returned.push(false);
                }
                Err(_) => tally.refused = tally.refused.saturating_add(1),
            }
        }
        let wait = next.saturating_duration_since(Instant::now()).clamp(Duration::from_micros(50), GRACE);
        let _ = socket.set_read_timeout(Some(wait));
        let mut answer = [0; 8];
        if let Ok(8) = socket.recv(&mut answer) {
            let number = usize::try_from(u64::from_be_bytes(answer)).unwrap_or(usize::MAX);
            if let Some(seen) = returned.get_mut(number).filter(|seen| !**seen) {
                *seen = true;
                tally.returned = tally.returned.saturating_add(1);
            }
        }
    }
}
