//! How many queues of an interface are in use (`ETHTOOL_GCHANNELS`).
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use crate::sys::netlink::Netlink;
use crate::sys::socket;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// Queues of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// Those that receive.
    pub rx: u32,
    /// Those that send.
    pub tx: u32,
    /// The driver has said so; otherwise the interface has no more than these, perhaps fewer.
    pub exact: bool,
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Request {
    command: u32,
    most: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

/// `struct ifreq`, as far as this call has it; the kernel's is longer.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    request: *mut Request,
    rest: [u64; 2],
}

const _: () =
    assert!(size_of::<InterfaceRequest>() >= size_of::<libc::ifreq>(), "the kernel copies that many");

/// The queues of the interface in this thread's namespace.
///
/// # Errors
/// There is no such interface.
pub fn channels(name: &str, index: u32) -> io::Result<Channels> {
    match ask(name) {
        Ok(channels) => Ok(channels),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Err(error),
        Err(_) => {
            let (rx, tx) = Netlink::open()?.queues(index)?.unwrap_or((1, 1));
            Ok(Channels { rx: rx.max(1), tx: tx.max(1), exact: false })
        }
    }
}

fn ask(name: &str) -> io::Result<Channels> {
    let socket = socket::open(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    let mut request = Request { command: ETHTOOL_GCHANNELS, ..Request::default() };
    let mut interface =
        InterfaceRequest { name: [0; libc::IFNAMSIZ], request: &raw mut request, rest: [0; 2] };
    for (to, from) in interface.name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from;
    }
    // SAFETY: the kernel reads and writes `interface`, and behind its pointer as many bytes as `struct ethtool_channels`
    // has; both are locals, and written to by nobody else, to the end of the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut interface) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // One that does both counts on either side.
    let sum = |one: u32| one.saturating_add(request.combined).max(1);
    Ok(Channels { rx: sum(request.rx), tx: sum(request.tx), exact: true })
}
