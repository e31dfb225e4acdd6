//! Ports: where frames come from and go to.
//!
//! A port moves batches between the kernel (or another thread) and frames of the worker's pool. It knows
//! nothing of policy. What stands behind it (an interface, the underlay) is opened as several queues at once, one for
//! each worker ([`Port`] is one of them), and the kernel sends each flow through one of the queues; every queue sends.
//! Where the kernel has fewer queues to give than there are workers, the others only send.
//! Offloads are carried in the frame's metadata: a port that understands a
//! `virtio_net_hdr` passes partial checksums and super-packets on, any other port says so in
//! [`Capabilities`] and the pipeline finishes the frame in software first.
//!
//! | kind | module | for | offloads |
//! | --- | --- | --- | --- |
//! | `tap` | [`tap`] | a pod's eth0, the node itself | checksum, TCP and UDP super-packets |
//! | `af_packet` | [`af_packet`] | the host end of a pod's veth | checksum, TCP and UDP super-packets |
//! | `af_xdp` | [`af_xdp`] | the underlay's NIC, whole frames | none |
//! | `udp` | [`udp`] | the underlay | TCP super-packets, from Linux 6.17 |
//! | `af_packet` | [`raw`] | the underlay, as whole frames | outer checksum |
//! | `memory` | [`memory`] | tests, benches, labs without a kernel | as asked for |

pub mod af_packet;
pub mod af_xdp;
mod datagrams;
pub mod interface;
pub mod memory;
pub mod raw;
pub mod tap;
pub mod udp;

use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::buffer::{Batch, Frame, Pool};

/// Bytes after which a port ends a batch, however few frames they are: what was read should still be in the processor's
/// own cache when it is written.
const BATCH_BYTES: usize = 256 * 1024;

/// What a port's sending side takes as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Frames whose transport checksum is [`crate::buffer::Checksum::Partial`].
    pub checksum: bool,
    /// Super-packets of TCP ([`crate::buffer::GsoKind::Tcp4`], [`crate::buffer::GsoKind::Tcp6`]).
    pub tso: bool,
    /// Super-packets of UDP ([`crate::buffer::GsoKind::UdpL4`]).
    pub uso: bool,
}

/// What one call of [`Port::send`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Frames the kernel took.
    pub frames: usize,
    /// Frames it refused because its queue was full (`EAGAIN`, `ENOBUFS`): lost.
    pub congested: usize,
    /// Frames it refused for another reason (interface down, frame too large): lost.
    pub failed: usize,
    /// How many received packets the congested frames [stood for](Frame::packets).
    pub congested_packets: u64,
    /// How many the failed frames stood for.
    pub failed_packets: u64,
}

impl Sent {
    /// Counts frames that found the queue full.
    fn congest<'a>(&mut self, frames: impl IntoIterator<Item = &'a Frame>) {
        for frame in frames {
            self.congested += 1;
            self.congested_packets += u64::from(frame.packets);
        }
    }

    /// Counts frames that were refused for another reason.
    fn fail<'a>(&mut self, frames: impl IntoIterator<Item = &'a Frame>) {
        for frame in frames {
            self.failed += 1;
            self.failed_packets += u64::from(frame.packets);
        }
    }

    fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.congested += other.congested;
        self.failed += other.failed;
        self.congested_packets += other.congested_packets;
        self.failed_packets += other.failed_packets;
    }
}

/// A port that is gone, and what it did with the frames of the batch in which it was found to be.
#[derive(Debug, thiserror::Error)]
#[error("the port is gone")]
pub struct Gone {
    /// What became of each frame; those it was not asked about any more have failed.
    pub sent: Sent,
    /// Why it is gone.
    #[source]
    pub error: io::Error,
}

impl From<Gone> for io::Error {
    fn from(gone: Gone) -> Self {
        gone.error
    }
}

/// What one call of [`Port::recv`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Frames appended to the batch.
    pub frames: usize,
    /// Frames the kernel says it lost since the last call because its queue was full; [`Port::losses`] has those it
    /// has not spoken of yet.
    pub lost: u64,
    /// Frames too large for a buffer, or whose metadata makes no sense: left out of the batch.
    pub malformed: usize,
    /// Datagrams from a sender that is no peer ([`Port::trust`]), which were not worth taking apart: left out too.
    pub strangers: u64,
    /// There may be more: the limit or the pool ended the call, not the port. Otherwise the port was drained, and its
    /// descriptors tell when something comes.
    pub more: bool,
}

/// Datagrams of trains that are not in the batch.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// There were no frames for them.
    pub(crate) lost: u64,
    /// Their sender is no peer.
    pub(crate) strangers: u64,
}

/// Who may send over the underlay: whether an address is another node's.
pub type Peers = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The interface behind a port, as it was when the port was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortInfo {
    /// Interface index, in the interface's network namespace.
    pub index: u32,
    /// The interface's own MAC.
    pub mac: [u8; 6],
    /// Largest packet the interface takes, without the Ethernet header.
    pub mtu: u32,
    /// The MAC at the other end of the wire, where there is one and the kernel tells it (veth).
    pub peer_mac: Option<[u8; 6]>,
}

/// One queue of a port, owned by one worker.
pub trait Port: Send {
    /// Appends frames to `batch` until `limit` of them came in, the port is drained or the pool is empty.
    /// Never blocks.
    ///
    /// # Errors
    /// The port is gone (interface deleted, descriptor dead); it will not recover by itself.
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received>;

    /// Sends all frames of `batch` and gives them back to the pool, those it could not send too. Never blocks.
    ///
    /// # Errors
    /// The port is gone; the frames went back to the pool all the same.
    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone>;

    /// Something came by the so-manyth of [`Port::descriptors`]. The next [`Port::recv`] may look there alone; where none
    /// was announced, it looks everywhere.
    fn announce(&mut self, descriptor: usize) {
        let _ = descriptor;
    }

    /// Says from now on who may send over the underlay. What others send may be left out and counted.
    fn trust(&mut self, peers: &Peers) {
        let _ = peers;
    }

    /// Frames the kernel lost because its queue was full, and of which no call has told yet. To be asked every now and
    /// then: where nothing comes after what was lost, [`Port::recv`] does not tell.
    fn losses(&mut self) -> u64 {
        0
    }

    /// What [`Port::send`] takes.
    fn capabilities(&self) -> Capabilities;

    /// The descriptors that become readable when there is something to receive: none for a port without a
    /// kernel behind it, several where one port stands on several sockets. They live as long as the port.
    fn descriptors(&self) -> Vec<RawFd>;
}
