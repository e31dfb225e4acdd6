//! TAP: a pod's own eth0 without a veth, or the node's way into the pod network.
//!
//! The interface lives in the pod's network namespace; its other side is a descriptor that this port reads
//! and writes, one frame per system call (nothing faster was measured for a TAP), each frame with its
//! [vnet header](crate::sys::vnet): a 64 KiB super-packet with a partial checksum crosses as one frame.
//! Receiving puts header and frame into the frame's memory in one piece and cuts the header off.
//!
//! With several queues a flow's frames, both directions alike, come by one queue ([`crate::sys::steering`]). Where weir may
//! load no program the kernel chooses: it moves a flow to the queue that last wrote frames of its other direction, which
//! can put frames of the first moments out of order. A TAP that was made for a single queue (by another configuration, or by somebody else) gives its frames to the first worker
//! alone; the others write through the same queue.
//!
//! While nobody holds the descriptor, a persistent TAP has no carrier and passes nothing: it fails closed.
//!
//! | the kernel says | it means | the port |
//! | --- | --- | --- |
//! | `EAGAIN` | reading: nothing there; writing: queue full | done; counts congested |
//! | `EIO` | the interface is down | counts failed |
//! | `EINVAL` | a frame the kernel will not take | counts failed |
//! | `EBADFD` | the interface was deleted | error |
//!
//! What the kernel drops because a queue of 500 frames is full it counts for the interface alone, in `tx_dropped`, which
//! is looked at when the worker asks ([`Port::losses`]), for all queues at once: where none has received anything of late,
//! none can have been full. An interface that is given another name while it is open tells no losses any more.
//!
//! Needs what [`crate::sys::tun`] needs, and `CAP_SYS_ADMIN` to enter another namespace.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::datagrams::Refusal;
use super::{BATCH_BYTES, Capabilities, Gone, Port, PortInfo, Received, Sent, interface};
use crate::buffer::{Batch, Frame, Pool};
use crate::sys::netlink::{Link, Netlink};
use crate::sys::netns::Netns;
use crate::sys::steering;
use crate::sys::tun::{self, Offloads};
use crate::sys::tx_dropped::Counters;
use crate::sys::vnet::{self, VNET_LEN};

/// A TAP to be made or taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapConfig {
    /// Interface name, at most 15 bytes.
    pub name: String,
    /// Network namespace it lives in; the current one where none is given.
    pub netns: Option<PathBuf>,
    /// Whether the interface outlives weir.
    pub persistent: bool,
    /// Its MAC; as it is, or the kernel's choice, where none is given.
    pub mac: Option<[u8; 6]>,
    /// Its MTU; as it is (1500 when new) where none is given.
    pub mtu: Option<u32>,
    /// Refuse to make it: somebody else has, and set it up.
    pub must_exist: bool,
    /// Set the interface up, after MAC and MTU.
    pub up: bool,
}

impl TapConfig {
    /// A TAP called `name` in the current namespace, made where it does not exist, gone with the port, up.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            netns: None,
            persistent: false,
            mac: None,
            mtu: None,
            must_exist: false,
            up: true,
        }
    }
}

/// How often a queue that has received something is looked at afterwards: once in case the kernel was counting, still.
const LOOKS: u8 = 2;

/// What the kernel has dropped of all queues.
#[derive(Debug)]
struct Overflow {
    counters: Counters,
    interface: String,
    /// Frames of which somebody has been told.
    told: AtomicU64,
}

impl Overflow {
    /// From now on, in the interface's namespace; none where the kernel does not say.
    fn of(interface: &str) -> Option<Arc<Self>> {
        let counters = Counters::open().ok()?;
        let before = counters.of(interface, &mut Vec::new()).ok()??;
        Some(Arc::new(Self { counters, interface: interface.to_owned(), told: AtomicU64::new(before) }))
    }

    /// Frames of which nobody has been told yet.
    fn news(&self, text: &mut Vec<u8>) -> u64 {
        let Ok(Some(now)) = self.counters.of(&self.interface, text) else { return 0 };
        now.saturating_sub(self.told.fetch_max(now, Ordering::Relaxed))
    }
}

/// One queue of a TAP.
#[derive(Debug)]
pub struct TapPort {
    tap: File,
    overflow: Option<Arc<Overflow>>,
    /// How often it is looked at, still.
    looks: u8,
    /// Room to read counters into.
    text: Vec<u8>,
    /// False on a queue that only writes, through a descriptor whose frames another queue reads.
    reads: bool,
    capabilities: Capabilities,
    info: PortInfo,
}

impl TapPort {
    /// Opens the TAP, in its namespace, and sets it up as asked.
    ///
    /// # Errors
    /// What is missing (driver, capability, interface, namespace) or in the way, and how to mend it. An
    /// interface that was made for this port and not to be kept is gone again.
    pub fn open(config: TapConfig) -> io::Result<Self> {
        let netns = config.netns.clone();
        let mut queues = within(netns.as_deref(), || Self::open_here(&config, 1))?;
        queues.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Opens the TAP as [`TapPort::open`] does, with `count` queues (1 at the least).
    ///
    /// # Errors
    /// The same; either all queues are open or none is.
    pub fn open_queues(config: &TapConfig, count: usize) -> io::Result<Vec<Self>> {
        within(config.netns.as_deref(), || Self::open_here(config, count))
    }

    /// The interface.
    pub fn info(&self) -> PortInfo {
        self.info
    }

    fn open_here(config: &TapConfig, count: usize) -> io::Result<Vec<Self>> {
        let netlink = Netlink::open()?;
        let name = &config.name;
        let existing = netlink.link(name)?;
        if config.must_exist && existing.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no interface {name} in its network namespace ({})", interface::listing()),
            ));
        }
        if count > 1 && existing.is_some_and(|link| link.carrier) {
            // The kernel lets anybody add queues to an interface made for several, and would share the frames out.
            let text = format!(
                "TAP {name} is held by another process (`ls -l /proc/*/fd 2>/dev/null | grep net/tun` shows who)"
            );
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        let taps = tun::open_queues(name, count)?;
        let Some(first) = taps.first() else { return Err(io::Error::from(io::ErrorKind::NotFound)) };
        let offloads = tun::set_offloads(first)?;
        if taps.len() > 1
            && let Err(error) = steering::by_flow(first)
        {
            tracing::debug!(interface = name, %error, "queues are chosen by the kernel, not by flow alone");
        }
        if config.persistent {
            tun::set_persistent(first, true)?;
        }
        let link = found(&netlink, name)?;
        set_up(&netlink, config, &link)?;
        let link = found(&netlink, name)?;
        let capabilities = Capabilities { checksum: true, tso: true, uso: offloads == Offloads::TcpAndUdp };
        let info = PortInfo { index: link.index, mac: link.mac, mtu: link.mtu, peer_mac: None };
        let writers = (taps.len()..count).map(|_| first.try_clone()).collect::<io::Result<Vec<_>>>()?;
        let overflow = Overflow::of(name);
        let queue = |tap, reads| {
            let overflow = overflow.clone();
            Self { tap, overflow, looks: LOOKS, text: Vec::new(), reads, capabilities, info }
        };
        let readers = taps.into_iter().map(|tap| queue(tap, true));
        Ok(readers.chain(writers.into_iter().map(|tap| queue(tap, false))).collect())
    }

    /// One frame into `frame`: false when its metadata makes no sense.
    fn read(&self, frame: &mut Frame) -> io::Result<bool> {
        let room = frame.writable();
        let capacity = room.len();
        let len = (&self.tap).read(room)?;
        frame.set_len(len);
        let Some(header) = frame.bytes().first_chunk::<VNET_LEN>().copied() else { return Ok(false) };
        // The kernel cuts a frame that does not fit and says no word: one that fills the memory may be cut.
        if len == capacity || !frame.pull_front(VNET_LEN) {
            return Ok(false);
        }
        let Ok((checksum, gso)) = vnet::decode(header, frame.len()) else { return Ok(false) };
        frame.checksum = checksum;
        frame.gso = gso;
        Ok(true)
    }

    fn write(&self, frame: &Frame) -> io::Result<()> {
        let header = vnet::encode(frame);
        (&self.tap).write_vectored(&[IoSlice::new(&header), IoSlice::new(frame.bytes())]).map(drop)
    }
}

impl Port for TapPort {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let mut received = Received::default();
        if !self.reads {
            return Ok(received);
        }
        let mut bytes = 0;
        while received.frames + received.malformed < limit && bytes < BATCH_BYTES {
            let Some(mut frame) = pool.take() else { break };
            match self.read(&mut frame) {
                Ok(true) => {
                    self.looks = LOOKS;
                    bytes += frame.len();
                    batch.push(frame);
                    received.frames += 1;
                }
                Ok(false) => {
                    pool.give(frame);
                    received.malformed += 1;
                }
                Err(error) => {
                    pool.give(frame);
                    match error.raw_os_error() {
                        Some(libc::EINTR) => {}
                        Some(libc::EAGAIN | libc::EIO) => return Ok(received),
                        // EINVAL: a super-packet of a kind that has no vnet header; the kernel has dropped it.
                        Some(libc::EINVAL) => received.malformed += 1,
                        _ => return Err(error),
                    }
                }
            }
        }
        received.more = true;
        Ok(received)
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        let mut sent = Sent::default();
        let mut gone = None;
        for frame in batch.drain(..) {
            let result = loop {
                match self.write(&frame) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            match result {
                Ok(()) => sent.frames += 1,
                Err(error) => match Refusal::of(&error) {
                    Refusal::QueueFull | Refusal::Congested => sent.congest([&frame]),
                    Refusal::Failed => sent.fail([&frame]),
                    Refusal::Gone => {
                        sent.fail([&frame]);
                        gone = Some(error);
                    }
                },
            }
            pool.give(frame);
        }
        gone.map_or(Ok(sent), |error| Err(Gone { sent, error }))
    }

    fn losses(&mut self) -> u64 {
        let Some(looks) = self.looks.checked_sub(1) else { return 0 };
        self.looks = looks;
        self.overflow.as_ref().map_or(0, |overflow| overflow.news(&mut self.text))
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn descriptors(&self) -> Vec<RawFd> {
        if self.reads { vec![self.tap.as_raw_fd()] } else { Vec::new() }
    }
}

/// Runs `f` in the namespace at `netns`, or here.
pub(super) fn within<T: Send>(
    netns: Option<&Path>,
    f: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    match netns {
        None => f(),
        Some(path) => Netns::open(path)?.run(f).map_err(|error| {
            let text = format!(
                "cannot enter network namespace {} (CAP_SYS_ADMIN is needed): {error}",
                path.display()
            );
            io::Error::new(error.kind(), text)
        })?,
    }
}

fn found(netlink: &Netlink, name: &str) -> io::Result<Link> {
    netlink.link(name)?.ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("interface {name} vanished while it was opened"))
    })
}

/// Changes only what differs, so that an interface somebody else has set up needs no capability.
fn set_up(netlink: &Netlink, config: &TapConfig, link: &Link) -> io::Result<()> {
    if let Some(mac) = config.mac.filter(|mac| *mac != link.mac) {
        netlink.set_mac(link.index, mac)?;
    }
    if let Some(mtu) = config.mtu.filter(|mtu| *mtu != link.mtu) {
        netlink.set_mtu(link.index, mtu)?;
    }
    if config.up && !link.up {
        netlink.set_up(link.index, true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let netns = Some(PathBuf::from("/run/netns/no-such-namespace"));
        let error = TapPort::open(TapConfig { netns, ..TapConfig::named("weir-t0") }).unwrap_err();
        assert!(error.to_string().contains("no-such-namespace"), "{error}");
    }

    #[test]
    fn an_interface_that_must_exist_is_not_made() {
        let config = TapConfig { must_exist: true, ..TapConfig::named("weir-none") };
        let error = TapPort::open(config).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("weir-none"), "{error}");
    }
}
