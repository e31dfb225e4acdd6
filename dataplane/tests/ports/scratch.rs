//! Namespaces, and a relay that is a wire between two ports.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dataplane::buffer::{Batch, Checksum, Frame, GsoKind, Pool};
use dataplane::ports::Port;
use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::{NETNS_DIRECTORY, Netns, sysctl_set};
use dataplane::sys::socket;

/// Longest that anything is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A namespace of one test.
pub(crate) struct Scratch {
    name: String,
    pub(crate) netns: Netns,
}

impl Scratch {
    /// `None`, said aloud, where namespaces are forbidden.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("d-port-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        match Netns::create(&name) {
            Ok(netns) => {
                // Router solicitations and the like would come between the frames that a test looks for.
                let _ = netns.run(|| sysctl_set("net/ipv6/conf/default/disable_ipv6", "1")).unwrap();
                Some(Self { name, netns })
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                assert!(
                    std::env::var("CI").as_deref() != Ok("true"),
                    "namespaces are needed under CI: {error}"
                );
                println!("skipped: no right to make a network namespace ({error})");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(NETNS_DIRECTORY).join(&self.name)
    }

    /// Runs `f` here with a netlink socket.
    pub(crate) fn run<T: Send>(&self, f: impl FnOnce(&Netlink) -> io::Result<T> + Send) -> T {
        self.netns.run(|| f(&Netlink::open()?)).unwrap().unwrap()
    }

    /// Gives `interface` an address in 10.9.0.0/24 and tells it where its neighbour is.
    pub(crate) fn address(&self, interface: &str, last: u8, neighbour: u8, neighbour_mac: [u8; 6]) {
        self.run(|netlink| {
            let link = netlink.link(interface)?.unwrap();
            netlink.add_address(link.index, format!("10.9.0.{last}/24").parse().unwrap())?;
            netlink.set_up(link.index, true)?;
            netlink.add_neighbour(link.index, ip(neighbour), neighbour_mac)
        });
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        Netns::delete(&self.name).unwrap();
    }
}

pub(crate) fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 9, 0, last))
}

/// What passed through a relay.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) frames: usize,
    pub(crate) partial: usize,
    pub(crate) tcp_super: usize,
    pub(crate) udp_super: usize,
    pub(crate) malformed: usize,
    pub(crate) lost: u64,
    pub(crate) refused: usize,
}

/// Carries frames between two ports while `f` runs.
pub(crate) fn relay<T: Send>(
    one: &mut dyn Port,
    other: &mut dyn Port,
    f: impl FnOnce() -> T + Send,
) -> (T, Seen) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let wire = scope.spawn(|| {
            let mut seen = Seen::default();
            let (mut pool, mut batch) = (Pool::new(128), Batch::new());
            while !stop.load(Ordering::Relaxed) {
                let there = carry(one, other, &mut pool, &mut batch, &mut seen);
                let back = carry(other, one, &mut pool, &mut batch, &mut seen);
                if there + back == 0 {
                    thread::sleep(Duration::from_micros(100));
                }
            }
            seen
        });
        // The relay ends also when `f` panics, or the scope would wait for ever.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        stop.store(true, Ordering::Relaxed);
        let seen = wire.join().unwrap();
        match result {
            Ok(result) => (result, seen),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn carry(
    from: &mut dyn Port,
    to: &mut dyn Port,
    pool: &mut Pool,
    batch: &mut Batch,
    seen: &mut Seen,
) -> usize {
    let received = from.recv(pool, batch, 64).unwrap();
    for frame in batch.iter() {
        seen.partial += usize::from(matches!(frame.checksum, Checksum::Partial { .. }));
        match frame.gso.map(|gso| gso.kind) {
            Some(GsoKind::Tcp4 | GsoKind::Tcp6) => seen.tcp_super += 1,
            Some(GsoKind::UdpL4) => seen.udp_super += 1,
            None => {}
        }
    }
    seen.frames += received.frames;
    seen.malformed += received.malformed;
    seen.lost += received.lost;
    let sent = to.send(pool, batch).unwrap();
    seen.refused += sent.congested + sent.failed;
    received.frames
}

/// Sends 8 MB over TCP from one namespace to address `last` in the other, and checks every byte.
pub(crate) fn tcp_transfer(from: &Scratch, to: &Scratch, last: u8) {
    let pattern: Vec<u8> = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    let listener = to.netns.run(|| TcpListener::bind((ip(last), 0))).unwrap().unwrap();
    let target = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut stream =
            from.netns.run(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap().expect("connect");
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        for _ in 0..8 {
            stream.write_all(&pattern).unwrap();
        }
        drop(stream);
        assert!(receiver.join().unwrap() == pattern.repeat(8), "bytes changed on the way");
    });
}

/// Sends ten datagrams of 1000 bytes as one super-packet, to address `last` in the other namespace.
pub(crate) fn udp_super_packet(from: &Scratch, to: &Scratch, last: u8) {
    let receiver = to.netns.run(|| UdpSocket::bind((ip(last), 0))).unwrap().unwrap();
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = from.netns.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap().unwrap();
    socket::set(sender.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1000).unwrap();
    let bytes: Vec<u8> = (0..10_u8).flat_map(|n| [n; 1000]).collect();
    sender.send_to(&bytes, receiver.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 16_000];
    for n in 0..10_u8 {
        let len = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], [n; 1000]);
    }
}

/// Receives until a frame satisfies `wanted`.
pub(crate) fn wait_for(port: &mut dyn Port, pool: &mut Pool, wanted: impl Fn(&Frame) -> bool) -> Frame {
    let start = Instant::now();
    let mut batch = Batch::new();
    while start.elapsed() < PATIENCE {
        port.recv(pool, &mut batch, 64).unwrap();
        if let Some(index) = batch.iter().position(&wanted) {
            return batch.swap_remove(index);
        }
        pool.give_all(batch.drain(..));
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no such frame came");
}

/// An Ethernet frame with IPv4 and UDP, both checksums complete (the UDP one by being absent).
pub(crate) fn udp_frame(
    macs: ([u8; 6], [u8; 6]),
    ips: (IpAddr, IpAddr),
    port: u16,
    payload: &[u8],
) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = ips else { panic!("IPv4 only") };
    let udp_len = 8 + payload.len() as u16;
    let mut ip = vec![0x45, 0];
    ip.extend_from_slice(&(20 + udp_len).to_be_bytes());
    ip.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend_from_slice(&source.octets());
    ip.extend_from_slice(&destination.octets());
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!((folded & 0xffff) + (folded >> 16)) as u16).to_be_bytes());
    let mut frame = [macs.1, macs.0].concat();
    frame.extend_from_slice(&[8, 0]);
    frame.extend_from_slice(&ip);
    for field in [4444, port, udp_len, 0] {
        frame.extend_from_slice(&field.to_be_bytes());
    }
    frame.extend_from_slice(payload);
    frame
}

/// A UDP socket in `at`, on address `last`, with a timeout.
pub(crate) fn listener(at: &Scratch, last: u8) -> (UdpSocket, SocketAddr) {
    let socket = at.netns.run(|| UdpSocket::bind((ip(last), 0))).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}
