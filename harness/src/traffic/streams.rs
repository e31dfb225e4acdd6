//! Bulk TCP: some streams for a while, bytes counted where they arrive, within a window that leaves the start out.
//!
//! Sockets are as a program gets them, Nagle's algorithm included, as `iperf3` has them: without it each write ends in a
//! small segment, and an algorithm that paces takes the sender for one that has little to send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dataplane::sys::netns::Netns;
use dataplane::sys::socket;

/// What is written and read at once.
const CHUNK: usize = 128 * 1024;
/// How long a blocked thread takes at most to notice that it should end.
const NOTICE: Duration = Duration::from_millis(100);
/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(3);

/// Streams under way. They end when this is dropped.
#[derive(Debug)]
pub struct Streams {
    received: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Streams {
    /// Opens `count` streams from `from` to an address in `to`, where nobody may listen at that port, and starts to
    /// send, with a congestion control of that name; the system's where none is given.
    ///
    /// # Errors
    /// A connection does not come about, the kernel has no such congestion control, or sockets and threads cannot be had.
    pub fn start(
        from: &Netns,
        to: &Netns,
        at: SocketAddr,
        count: usize,
        congestion: Option<&str>,
    ) -> io::Result<Self> {
        let listener = to.run(|| TcpListener::bind(at))??;
        listener.set_nonblocking(true)?;
        let mut streams = Self { received: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for number in 0..count {
            let sender = from.run(|| TcpStream::connect_timeout(&at, PATIENCE))??;
            if let Some(algorithm) = congestion {
                socket::set_congestion_control(sender.as_fd(), algorithm).map_err(|error| {
                    let text = format!("congestion control {algorithm:?} cannot be had: {error}");
                    io::Error::new(error.kind(), text)
                })?;
            }
            let receiver = accept(&listener)?;
            let (stop, received) = (Arc::clone(&streams.stop), Arc::clone(&streams.received));
            streams.spawn(format!("stream-rx-{number}"), move || receive(receiver, &stop, &received))?;
            let stop = Arc::clone(&streams.stop);
            streams.spawn(format!("stream-tx-{number}"), move || send(sender, &stop))?;
        }
        Ok(streams)
    }

    /// Bytes that arrived so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(Builder::new().name(name).spawn(work)?);
        Ok(())
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The congestion controls that the kernel has loaded, and first of them the one that sockets get.
///
/// # Errors
/// `/proc` cannot be read.
pub fn congestion_controls() -> io::Result<Vec<String>> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let usual = read("tcp_congestion_control")?.trim().to_owned();
    let available = read("tcp_available_congestion_control")?;
    let others = available.split_whitespace().filter(|name| *name != usual).map(str::to_owned);
    Ok(std::iter::once(usual.clone()).chain(others).collect())
}

/// The connection that was just made; it is in the queue already.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    for _ in 0..1_000 {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn receive(mut stream: TcpStream, stop: &AtomicBool, received: &AtomicU64) {
    let _ = stream.set_read_timeout(Some(NOTICE));
    let mut buffer = vec![0; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                received.fetch_add(count as u64, Ordering::Relaxed);
            }
            Err(error) if is_pause(&error) => {}
            Err(_) => return,
        }
    }
}

fn send(mut stream: TcpStream, stop: &AtomicBool) {
    let _ = stream.set_write_timeout(Some(NOTICE));
    let chunk = vec![0x77; CHUNK];
    while !stop.load(Ordering::Relaxed) {
        match stream.write(&chunk) {
            Ok(_) => {}
            Err(error) if is_pause(&error) => {}
            Err(_) => return,
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_the_congestion_control_that_was_asked_for_or_none() {
        let here = Netns::current().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        for name in congestion_controls().unwrap() {
            Streams::start(&here, &here, free, 1, Some(&name)).unwrap();
        }
        let error = Streams::start(&here, &here, free, 1, Some("hurry")).unwrap_err();
        assert!(error.to_string().contains("\"hurry\" cannot be had"), "{error}");
    }

    #[test]
    fn bytes_are_counted_where_they_arrive_and_all_ends_when_dropped() {
        let here = Netns::current().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        let streams = Streams::start(&here, &here, free, 4, None).unwrap();
        while streams.received() < 1_000_000 {
            std::thread::yield_now();
        }
        drop(streams);
        // A dead port answers, rather than taking a connection.
        assert!(TcpStream::connect_timeout(&free, PATIENCE).is_err());
    }
}
