//! AF_XDP sockets: their memory, their rings, the queue they are bound to, and what the kernel counts.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::memory::Memory;
use super::ring::{Consumer, Descriptor, Layout, Producer};
use crate::sys::bpf::XdpMode;
use crate::sys::mapping::Mapping;
use crate::sys::socket;

const SEND_BUFFER: i32 = 8 << 20;

/// The rings of a socket.
#[derive(Debug)]
pub struct Rings {
    /// Chunks for the kernel to receive into.
    pub fill: Producer<u64>,
    /// Chunks that were sent.
    pub completion: Consumer<u64>,
    /// Frames that came.
    pub rx: Consumer<Descriptor>,
    /// Frames to be sent; none on a socket that only receives.
    pub tx: Option<Producer<Descriptor>>,
}

/// Where a socket belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Index of the interface, in the namespace the socket was opened in.
    pub interface: u32,
    /// The queue, counted from 0.
    pub queue: u32,
    /// Where the program runs that fills it.
    pub mode: XdpMode,
    /// Frames longer than a chunk come, and go, in parts.
    pub in_parts: bool,
}

/// What the kernel has counted since the socket was bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Frames that were lost: no chunk to receive into, no room in the rx ring, too large.
    pub lost: u64,
    /// Descriptors the kernel would not send.
    pub refused: u64,
}

/// An AF_XDP socket.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// A socket in the namespace of the calling thread.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` from a kernel without AF_XDP, `EPERM` without `CAP_NET_RAW`.
    pub fn open() -> io::Result<Self> {
        let fd = socket::open(libc::AF_XDP, libc::SOCK_RAW, 0)?;
        socket::send_buffer(fd.as_fd(), SEND_BUFFER)?;
        Ok(Self(fd))
    }

    /// Gives the socket its memory and makes its rings, of `rx` and `tx` entries: powers of two, `tx` 0 for a socket that
    /// only receives.
    ///
    /// # Errors
    /// `ENOBUFS` where as much memory may not be locked, `ENOMEM`, or a ring that cannot be.
    pub fn set_up(&self, memory: &Memory, rx: u32, tx: u32) -> io::Result<Rings> {
        self.register(memory)?;
        // A ring of completions there has to be.
        let sizes = [
            (libc::XDP_UMEM_FILL_RING, rx),
            (libc::XDP_UMEM_COMPLETION_RING, tx.max(1)),
            (libc::XDP_RX_RING, rx),
            (libc::XDP_TX_RING, tx),
        ];
        for (option, size) in sizes.into_iter().filter(|(_, size)| *size > 0) {
            let size = i32::try_from(size).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            socket::set(self.as_fd(), libc::SOL_XDP, option, size)?;
        }
        let [rx_at, tx_at, fill_at, completion_at] = self.layouts()?;
        let fill = self.map::<u64>(libc::XDP_UMEM_PGOFF_FILL_RING, fill_at, rx)?;
        let completion = self.map::<u64>(libc::XDP_UMEM_PGOFF_COMPLETION_RING, completion_at, tx.max(1))?;
        let received = self.map::<Descriptor>(libc::XDP_PGOFF_RX_RING as u64, rx_at, rx)?;
        let tx_ring = if tx == 0 {
            None
        } else {
            let mapping = self.map::<Descriptor>(libc::XDP_PGOFF_TX_RING as u64, tx_at, tx)?;
            Some(Producer::new(mapping, tx_at, tx)?)
        };
        Ok(Rings {
            fill: Producer::new(fill, fill_at, rx)?,
            completion: Consumer::new(completion, completion_at, tx.max(1))?,
            rx: Consumer::new(received, rx_at, rx)?,
            tx: tx_ring,
        })
    }

    /// Binds the socket to its queue, without copies where the driver can; whether it does.
    ///
    /// # Errors
    /// `EINVAL` where there is no such queue, `EBUSY` where another socket has it, `ENETDOWN` while the interface is down.
    pub fn bind(&self, to: Binding) -> io::Result<bool> {
        let mut flags = libc::XDP_USE_NEED_WAKEUP;
        if to.in_parts {
            flags |= libc::XDP_USE_SG;
        }
        // Without a word about it the kernel tries to do without copies and falls back by itself. Under a generic program
        // no driver fills the rings, so it must not try.
        if to.mode == XdpMode::Generic {
            flags |= libc::XDP_COPY;
        }
        self.bind_with(to, flags)?;
        let mut options = [0; 4];
        socket::value_bytes(self.as_fd(), libc::SOL_XDP, libc::XDP_OPTIONS, &mut options)?;
        Ok(u32::from_ne_bytes(options) & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    fn bind_with(&self, to: Binding, flags: u16) -> io::Result<()> {
        // struct sockaddr_xdp: family, flags, interface, queue, and whose memory is shared.
        let mut address = [0_u8; 16];
        let [f0, f1] = (libc::AF_XDP as u16).to_ne_bytes();
        let [g0, g1] = flags.to_ne_bytes();
        let [i0, i1, i2, i3] = to.interface.to_ne_bytes();
        let [q0, q1, q2, q3] = to.queue.to_ne_bytes();
        for (to, from) in address.iter_mut().zip([f0, f1, g0, g1, i0, i1, i2, i3, q0, q1, q2, q3]) {
            *to = from;
        }
        socket::bind(self.as_fd(), &address)
    }

    /// What the kernel has counted.
    pub fn statistics(&self) -> io::Result<Statistics> {
        // struct xdp_statistics: dropped, invalid to fill, invalid to send, rx ring full, …
        let mut bytes = [0_u8; 48];
        socket::value_bytes(self.as_fd(), libc::SOL_XDP, libc::XDP_STATISTICS, &mut bytes)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        let number = |at: usize| numbers.get(at).map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        Ok(Statistics { lost: number(0).saturating_add(number(3)), refused: number(2) })
    }

    /// What happened to the socket, once: `ENETDOWN` when its interface was deleted.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let number = socket::value(self.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((number != 0).then(|| io::Error::from_raw_os_error(number)))
    }

    /// Has the kernel send what is in the tx ring. Called by a worker.
    ///
    /// # Errors
    /// `EAGAIN` when it did a part of it, `EBUSY` when it dropped one, `ENETDOWN` while the interface is down, `ENXIO` when
    /// it is gone.
    pub fn send(&self) -> io::Result<()> {
        // SAFETY: no bytes and no address.
        let sent = unsafe {
            libc::sendto(self.0.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Has the driver look at the fill ring. Called by a worker.
    ///
    /// # Errors
    /// `ENETDOWN` while the interface is down, `ENXIO` when it is gone.
    pub fn receive(&self) -> io::Result<()> {
        // SAFETY: no bytes and no address.
        let received = unsafe {
            libc::recvfrom(
                self.0.as_raw_fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if received < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// `XDP_UMEM_REG` with `struct xdp_umem_reg` as it was first: address, length, bytes of a chunk, headroom.
    fn register(&self, memory: &Memory) -> io::Result<()> {
        let (base, len) = memory.range();
        let words = [base.addr().get() as u64, len];
        let [w0, w1] = words.map(u64::to_ne_bytes);
        let mut request = [0_u8; 24];
        for (to, from) in request.iter_mut().zip(w0.into_iter().chain(w1).chain(memory.chunk().to_ne_bytes()))
        {
            *to = from;
        }
        // The kernel takes hold of the pages themselves: it can write into them as long as the socket lives, and they come
        // to nobody else before, whichever of socket and memory goes first.
        // SAFETY: `request` is readable in the length given; the memory it names is written by the kernel from now on, and
        // `Memory` has no reference into it (its second invariant).
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::SOL_XDP,
                libc::XDP_UMEM_REG,
                request.as_ptr().cast(),
                request.len() as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// `struct xdp_mmap_offsets`: rx, tx, fill, completion.
    fn layouts(&self) -> io::Result<[Layout; 4]> {
        let mut bytes = [0_u8; 128];
        let len = socket::value_bytes(self.as_fd(), libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, &mut bytes)?;
        if len < bytes.len() {
            // Before Linux 5.4 there were no flags, and no wakeups.
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let (numbers, _) = bytes.as_chunks::<8>();
        let number = |at: usize| numbers.get(at).map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        Ok([0, 4, 8, 12].map(|at| Layout {
            producer: number(at),
            consumer: number(at + 1),
            entries: number(at + 2),
            flags: number(at + 3),
        }))
    }

    fn map<T>(&self, which: u64, layout: Layout, size: u32) -> io::Result<Mapping> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidData);
        let entries = (size as usize).checked_mul(size_of::<T>()).ok_or_else(invalid)?;
        let start = usize::try_from(layout.entries).map_err(|_| invalid())?;
        Mapping::of(self.as_fd(), which, start.checked_add(entries).ok_or_else(invalid)?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
