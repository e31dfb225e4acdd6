//! New connections: each is opened, greeted and closed, one after the other, by a few clients at once.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dataplane::sys::netns::Netns;

/// How long a connection may take to come about: one lost packet costs a second.
const PATIENCE: Duration = Duration::from_secs(3);

/// Clients at work, and their server. They end when this is dropped.
#[derive(Debug)]
pub struct Connections {
    at: SocketAddr,
    server: Arc<Netns>,
    opened: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Connections {
    /// Starts `clients` in `from`, and a server in `to` that closes each connection once it has it.
    ///
    /// # Errors
    /// Sockets and threads cannot be had.
    pub fn start(from: &Arc<Netns>, to: &Arc<Netns>, at: SocketAddr, clients: usize) -> io::Result<Self> {
        let listener = to.run(|| TcpListener::bind(at))??;
        let (opened, failed, stop) = (Arc::default(), Arc::default(), Arc::default());
        let mut all = Self { at, server: Arc::clone(to), opened, failed, stop, threads: Vec::new() };
        let stop = Arc::clone(&all.stop);
        all.threads.push(Builder::new().name("accept".to_owned()).spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // A connection is closed by being dropped.
                let _ = listener.accept();
            }
        })?);
        for number in 0..clients {
            let (opened, failed) = (Arc::clone(&all.opened), Arc::clone(&all.failed));
            let (stop, netns) = (Arc::clone(&all.stop), Arc::clone(from));
            all.threads.push(Builder::new().name(format!("connect-{number}")).spawn(move || {
                // A thread that does nothing else may stay in the namespace.
                if netns.enter().is_err() {
                    return;
                }
                while !stop.load(Ordering::Relaxed) {
                    let count = if once(at).is_ok() { &opened } else { &failed };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })?);
        }
        Ok(all)
    }

    /// Connections that were opened and closed so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connections that did not come about.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The server waits for one more connection, which its own namespace can always make.
        let _ = self.server.run(|| std::net::TcpStream::connect_timeout(&self.at, PATIENCE).map(drop));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Opens a connection from the thread's namespace and waits until the server has closed it.
fn once(at: SocketAddr) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect_timeout(&at, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.read(&mut [0]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted() {
        let here = Arc::new(Netns::current().unwrap());
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        let connections = Connections::start(&here, &here, free, 2).unwrap();
        while connections.opened() < 10 {
            std::thread::yield_now();
        }
        assert_eq!(connections.failed(), 0);
    }
}
