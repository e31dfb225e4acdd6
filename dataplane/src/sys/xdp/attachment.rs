//! The XDP program at an interface, and the sockets it redirects to.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use super::program::{MOST_LOCALS, XDP_PASS, program};
use super::socket::Socket;
use crate::sys::bpf::{self, Kind, SocketMap, XdpMode, attach_xdp};

/// A program at an interface, until the last descriptor of it is closed.
#[derive(Debug)]
pub struct Attachment {
    map: SocketMap,
    mode: XdpMode,
    refusal: Option<io::Error>,
    _link: OwnedFd,
}

impl Attachment {
    /// Attaches the program for datagrams to `port` of `locals`: native, else generic. Nothing is redirected yet.
    ///
    /// # Errors
    /// `InvalidInput` for no address, or more than the program looks at; what loading and attaching say.
    pub fn new(
        interface: u32,
        queues: u32,
        (locals, port): (&[IpAddr], u16),
        in_parts: bool,
    ) -> io::Result<Self> {
        let map = SocketMap::new(queues)?;
        let program = load(&map, locals, port, in_parts)?;
        let native = attach_xdp(program.as_fd(), interface, XdpMode::Native);
        let (link, mode, refusal) = match native {
            Ok(link) => (link, XdpMode::Native, None),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => {
                (attach_xdp(program.as_fd(), interface, XdpMode::Generic)?, XdpMode::Generic, Some(error))
            }
        };
        Ok(Self { map, mode, refusal, _link: link })
    }

    /// Where the program runs.
    pub fn mode(&self) -> XdpMode {
        self.mode
    }

    /// Why it does not run in the driver.
    pub fn refusal(&self) -> Option<&io::Error> {
        self.refusal.as_ref()
    }

    /// Has a queue's datagrams come to the socket, which is bound to the queue, until it is closed.
    pub fn redirect(&self, queue: u32, socket: &Socket) -> io::Result<()> {
        self.map.set(queue, socket.as_fd())
    }
}

/// Whether the kernel takes the program, which is not attached.
///
/// # Errors
/// What loading says.
pub fn try_program() -> io::Result<()> {
    let map = SocketMap::new(1)?;
    let locals = [IpAddr::from([192, 0, 2, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])];
    load(&map, &locals, 8472, false).map(drop)
}

fn load(map: &SocketMap, locals: &[IpAddr], port: u16, in_parts: bool) -> io::Result<OwnedFd> {
    if locals.is_empty() || locals.len() > MOST_LOCALS {
        let text = format!("{} own addresses, and 1 to {MOST_LOCALS} can be looked for", locals.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let text = program(locals, port, map.as_fd().as_raw_fd(), XDP_PASS);
    bpf::load_with(Kind::Xdp, &text, if in_parts { bpf::IN_PARTS } else { 0 })
}

/// Nothing that another mode would mend.
fn is_final(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV)
    )
}
