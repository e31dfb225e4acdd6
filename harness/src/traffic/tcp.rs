//! TCP clients: a probe, transfers with a digest at both ends, a throughput figure, and an open connection
//! that says when it is cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;

use super::Reach;
use super::pattern::{self, Sum};
use super::servers::{GREETING, Request};

/// A finished bulk transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From the first byte sent to the far end's last word.
    pub elapsed: Duration,
    /// Digest of what was sent.
    pub sent: Sum,
    /// Digest of what arrived.
    pub received: Sum,
}

impl Transfer {
    /// Whether what arrived is what was sent.
    pub fn is_intact(&self) -> bool {
        self.sent == self.received
    }

    /// Bits a second.
    pub fn bits_per_second(&self) -> f64 {
        rate(self.bytes, self.elapsed)
    }
}

/// Connects and waits for the server's greeting, all within `timeout`.
pub fn probe(netns: &Netns, to: SocketAddr, timeout: Duration) -> io::Result<Reach> {
    let talk = || -> io::Result<bool> {
        let start = Instant::now();
        let mut stream = connect(netns, to, timeout)?;
        let left = timeout.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        stream.write_all(&[Request::Greet as u8])?;
        let mut greeting = [0; GREETING.len()];
        stream.read_exact(&mut greeting)?;
        Ok(greeting == GREETING)
    };
    match talk() {
        Ok(true) => Ok(Reach::Open),
        Ok(false) => Ok(Reach::Silent),
        Err(error) => Reach::of(error),
    }
}

/// Opens a connection from `netns`.
pub fn connect(netns: &Netns, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = netns.run(|| TcpStream::connect_timeout(&to, timeout))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends `length` bytes; `stall` is how long either side may make no progress.
pub fn upload(netns: &Netns, to: SocketAddr, length: u64, stall: Duration) -> io::Result<Transfer> {
    let mut stream = bounded(netns, to, stall)?;
    let start = Instant::now();
    stream.write_all(&[Request::Sum as u8])?;
    let sent = pattern::send(&mut stream, length, length)?;
    stream.shutdown(Shutdown::Write)?;
    let (mut count, mut received) = ([0; 8], [0; 32]);
    stream.read_exact(&mut count)?;
    stream.read_exact(&mut received)?;
    Ok(Transfer { bytes: u64::from_be_bytes(count), elapsed: start.elapsed(), sent, received })
}

/// Has the server send `length` bytes.
pub fn download(netns: &Netns, from: SocketAddr, length: u64, stall: Duration) -> io::Result<Transfer> {
    let mut stream = bounded(netns, from, stall)?;
    let start = Instant::now();
    let mut request = vec![Request::Send as u8];
    request.extend_from_slice(&length.to_be_bytes());
    request.extend_from_slice(&length.to_be_bytes());
    stream.write_all(&request)?;
    let (bytes, received) = pattern::receive(&mut stream, length)?;
    let elapsed = start.elapsed();
    let sent = pattern::send(&mut io::sink(), length, length)?;
    Ok(Transfer { bytes, elapsed, sent, received })
}

/// Sends as fast as the connection takes it for `duration`; bits a second that the far end counted.
pub fn throughput(netns: &Netns, to: SocketAddr, duration: Duration) -> io::Result<f64> {
    let mut stream = bounded(netns, to, Duration::from_secs(10))?;
    stream.write_all(&[Request::Discard as u8])?;
    let chunk = vec![0x77; 256 * 1024];
    let start = Instant::now();
    while start.elapsed() < duration {
        stream.write_all(&chunk)?;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut count = [0; 8];
    stream.read_exact(&mut count)?;
    Ok(rate(u64::from_be_bytes(count), start.elapsed()))
}

fn bounded(netns: &Netns, to: SocketAddr, stall: Duration) -> io::Result<TcpStream> {
    let stream = connect(netns, to, stall)?;
    stream.set_read_timeout(Some(stall))?;
    stream.set_write_timeout(Some(stall))?;
    Ok(stream)
}

#[allow(clippy::cast_precision_loss, reason = "a rate for people, far below 2^52 bytes")]
fn rate(bytes: u64, elapsed: Duration) -> f64 {
    bytes as f64 * 8.0 / elapsed.as_secs_f64().max(1e-9)
}

/// An open connection over which small messages go there and back, one after the other.
#[derive(Debug)]
pub struct EchoFlow {
    returned: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EchoFlow {
    /// Connects and starts; a message follows `pause` after the last one came back.
    pub fn start(netns: &Netns, to: SocketAddr, pause: Duration) -> io::Result<Self> {
        let mut stream = bounded(netns, to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        stream.write_all(&[Request::Echo as u8])?;
        let (returned, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, ended) = (Arc::clone(&returned), Arc::clone(&stop));
        let thread = Builder::new().name("tcp-echo".to_owned()).spawn(move || {
            let mut message = [0x77; 512];
            while !ended.load(Ordering::SeqCst) && stream.write_all(&message).is_ok() {
                if !read_all(&mut stream, &mut message, &ended) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(pause);
            }
        })?;
        Ok(Self { returned, stop, thread: Some(thread) })
    }

    /// How many messages came back so far. The flow is cut when this stands still.
    pub fn returned(&self) -> u64 {
        self.returned.load(Ordering::SeqCst)
    }

    /// Waits until the flow has stood still for `quiet`; how long ago that began, or none while it still
    /// moves after `timeout`.
    pub fn wait_until_cut(&self, quiet: Duration, timeout: Duration) -> Option<Instant> {
        let start = Instant::now();
        let mut last = (self.returned(), start);
        while start.elapsed() < timeout {
            std::thread::sleep(Duration::from_millis(5));
            let now = self.returned();
            if now != last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() >= quiet {
                return Some(last.1);
            }
        }
        None
    }
}

impl Drop for EchoFlow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Fills `message`, through any number of read timeouts, until told to end; false if it ended otherwise.
fn read_all(stream: &mut TcpStream, message: &mut [u8], ended: &AtomicBool) -> bool {
    let mut filled = 0;
    while let Some(rest) = message.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => return false,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if ended.load(Ordering::SeqCst) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}
