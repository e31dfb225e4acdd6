//! Frames on an interface as they are: seen, and put there, through a packet socket.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::sys::netlink::Netlink;
use dataplane::sys::netns::Netns;
use dataplane::sys::packet_socket::PacketSocket;

/// What the kernel puts before each frame (`struct virtio_net_hdr`); all zero: no offload.
const VNET_HEADER: usize = 10;

/// A socket on an interface. It is a [`UdpSocket`] for the sake of its methods.
fn open(netns: &Netns, interface: &str) -> UdpSocket {
    let socket = netns
        .run(|| -> std::io::Result<_> {
            let index = Netlink::open()?.link(interface)?.ok_or(std::io::ErrorKind::NotFound)?.index;
            let socket = PacketSocket::open()?;
            socket.set_promiscuous(index)?;
            socket.bind(index)?;
            socket.as_fd().try_clone_to_owned()
        })
        .unwrap()
        .unwrap_or_else(|error| panic!("{interface}: {error}"));
    UdpSocket::from(socket)
}

/// Sends frames out of an interface.
pub(crate) struct Injector(UdpSocket);

impl Injector {
    pub(crate) fn on(netns: &Netns, interface: &str) -> Self {
        Self(open(netns, interface))
    }

    /// Whether the interface took it: a TAP that nobody holds does not.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        let mut bytes = vec![0; VNET_HEADER];
        bytes.extend_from_slice(frame);
        self.0.send(&bytes).is_ok()
    }
}

/// Collects the frames that arrive at an interface, until it is asked for them.
pub(crate) struct Capture {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    pub(crate) fn on(netns: &Netns, interface: &str) -> Self {
        let socket = open(netns, interface);
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (frames, stop) = (Arc::<Mutex<Vec<Vec<u8>>>>::default(), Arc::new(AtomicBool::new(false)));
        let (collected, ended) = (Arc::clone(&frames), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 70_000];
            while !ended.load(Ordering::SeqCst) {
                if let Ok(count) = socket.recv(&mut buffer) {
                    collected.lock().unwrap().push(buffer[VNET_HEADER.min(count)..count].to_vec());
                }
            }
        });
        Self { frames, stop, thread: Some(thread) }
    }

    /// What came so far; the next call begins anew.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        // Let the thread read what has arrived.
        std::thread::sleep(Duration::from_millis(100));
        std::mem::take(&mut *self.frames.lock().unwrap())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether an address stands anywhere in a frame.
pub(crate) fn mentions(frame: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => frame.windows(4).any(|window| window == v4.octets()),
        IpAddr::V6(v6) => frame.windows(16).any(|window| window == v6.octets()),
    }
}

/// Whether that address is the source of the packet in a frame, or of the one in a VXLAN packet in it.
pub(crate) fn comes_from(frame: &[u8], address: IpAddr) -> bool {
    const OUTER: [usize; 2] = [20, 40];
    let is_source = |frame: &[u8]| match (frame.get(12..14), address) {
        (Some([0x08, 0x00]), IpAddr::V4(v4)) => frame.get(26..30) == Some(&v4.octets()),
        (Some([0x86, 0xdd]), IpAddr::V6(v6)) => frame.get(22..38) == Some(&v6.octets()),
        _ => false,
    };
    let tunnelled = OUTER.iter().any(|ip| {
        let (udp, inner) = (14 + ip, 14 + ip + 8 + 8);
        frame.get(udp + 2..udp + 4) == Some(&8472_u16.to_be_bytes())
            && frame.get(inner..).is_some_and(is_source)
    });
    is_source(frame) || tunnelled
}
