//! The servers every pod runs: TCP and UDP on a few ports, both families, one thread a port.
//!
//! TCP: the first byte of a connection says what is wanted ([`Request`]). UDP: a datagram is sent back as
//! it came. Threads block in the kernel and are woken at the end by traffic over the namespace's own
//! loopback, so that a stopped lab leaves neither thread nor socket behind (a socket would keep the
//! namespace alive).

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use dataplane::sys::netns::Netns;

use super::pattern;

/// Ports every end listens on: the service, another one that policies leave closed, DNS.
pub const TCP_PORTS: [u16; 3] = [8080, 9090, 53];
/// The UDP ports every end listens on.
pub const UDP_PORTS: [u16; 2] = [53, 9090];

/// A connection that is idle for longer is given up.
const IDLE: Duration = Duration::from_mins(1);

/// What the first byte of a connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Request {
    /// Answer with [`GREETING`] and close.
    Greet = b'g',
    /// Read to the end, then answer with the count (8 bytes, big-endian) and the SHA-256 of what came.
    Sum = b's',
    /// Eight bytes of seed and eight of length follow: send that much of the pattern, and close.
    Send = b'p',
    /// Read to the end, then answer with the count (8 bytes, big-endian).
    Discard = b'd',
    /// Send back what comes.
    Echo = b'e',
}

/// What a server says to [`Request::Greet`].
pub const GREETING: &[u8] = b"weir lab\n";

/// The servers of one namespace; they end when this is dropped.
#[derive(Debug)]
pub struct Servers {
    netns: Arc<Netns>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Servers {
    /// Starts them in `netns`, whose loopback must be up.
    pub fn start(netns: Arc<Netns>) -> io::Result<Self> {
        let mut servers = Self { netns, stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for port in TCP_PORTS {
            let listener = servers.netns.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))??;
            let stop = Arc::clone(&servers.stop);
            servers.spawn(format!("tcp-{port}"), move || serve_tcp(&listener, &stop))?;
        }
        for port in UDP_PORTS {
            let socket = servers.netns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)))??;
            let stop = Arc::clone(&servers.stop);
            servers.spawn(format!("udp-{port}"), move || serve_udp(&socket, &stop))?;
        }
        Ok(servers)
    }

    fn spawn(&mut self, name: String, serve: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(Builder::new().name(name).spawn(serve)?);
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let woken = self.netns.run(|| {
            for port in TCP_PORTS {
                let _ = TcpStream::connect((Ipv6Addr::LOCALHOST, port));
            }
            if let Ok(socket) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
                for port in UDP_PORTS {
                    let _ = socket.send_to(&[], (Ipv6Addr::LOCALHOST, port));
                }
            }
        });
        // Threads that were not woken are left to the end of the process rather than waited for.
        if woken.is_ok() {
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, stop: &AtomicBool) {
    loop {
        let accepted = listener.accept();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        // A failed accept is one client's trouble, not the server's.
        let Ok((stream, _)) = accepted else { continue };
        let served = Builder::new().name("tcp-client".to_owned()).spawn(move || {
            let _ = serve_client(stream);
        });
        if served.is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serve_client(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut request = [0];
    stream.read_exact(&mut request)?;
    let [request] = request;
    if request == Request::Greet as u8 {
        stream.write_all(GREETING)?;
    } else if request == Request::Sum as u8 {
        let (count, sum) = pattern::receive(&mut stream, u64::MAX)?;
        stream.write_all(&count.to_be_bytes())?;
        stream.write_all(&sum)?;
    } else if request == Request::Discard as u8 {
        let count = io::copy(&mut stream, &mut io::sink())?;
        stream.write_all(&count.to_be_bytes())?;
    } else if request == Request::Send as u8 {
        let (mut seed, mut length) = ([0; 8], [0; 8]);
        stream.read_exact(&mut seed)?;
        stream.read_exact(&mut length)?;
        pattern::send(&mut stream, u64::from_be_bytes(seed), u64::from_be_bytes(length))?;
    } else if request == Request::Echo as u8 {
        io::copy(&mut stream.try_clone()?, &mut stream)?;
    }
    stream.shutdown(Shutdown::Both)
}

fn serve_udp(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    loop {
        let received = socket.recv_from(&mut buffer);
        if stop.load(Ordering::SeqCst) {
            return;
        }
        // An error is an ICMP message about an earlier answer.
        let Ok((count, from)) = received else { continue };
        if let Some(datagram) = buffer.get(..count) {
            let _ = socket.send_to(datagram, from);
        }
    }
}
