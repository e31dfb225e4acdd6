//! AF_XDP: the underlay's interface as rings of whole Ethernet frames, shared with the kernel.
//!
//! ```text
//!  NIC queue ─► XDP program ─┬─ datagram to one of our addresses and the tunnel's port ─► rx ring ─► worker
//!                            └─ all else ─► the kernel, untouched          worker ─► tx ring ─► NIC queue
//! ```
//! The program ([`crate::sys::xdp`]) runs in the driver, or, where the driver has none, in the stack. It is held by a
//! descriptor: when weir ends, however it ends, the interface is as before. Fragments go to the kernel, which does not put
//! them together for anybody: an underlay that fragments is none for this port.
//!
//! Each receiving queue of the interface has a socket of its own. A worker owns every n-th of them, so that none is left
//! out where there are more queues than workers; where there are fewer, the others receive nothing. A worker sends by its
//! first queue, and without one by a packet socket. Queues that are added to the interface later have no socket until it is
//! opened anew: their datagrams stay with the kernel.
//!
//! Frames come and go without offloads, and are copied once between the rings and the worker's pool: so a chunk goes back
//! to the kernel at once, whatever becomes of its frame. An interface made by software (veth) hands over what its sender's
//! kernel has not summed yet, and XDP does not say so: there the outer sum is not looked at, as if the frame had a
//! [partial](Checksum::Partial) one.
//!
//! | the kernel says | it means | the port |
//! | --- | --- | --- |
//! | `EAGAIN`, progress made | its share of a call is used up | goes on |
//! | `EAGAIN`, `ENOBUFS` | no room | leaves the rest in the ring; counts congested when that is full |
//! | `EBUSY` | the interface dropped a frame | counts congested |
//! | `ENETDOWN` | the interface is down | counts failed |
//! | `ENXIO`, or `ENETDOWN` as the socket's error | it was deleted | error |
//!
//! Losses are the kernel's count of frames for which it found no chunk or no room in the rx ring, asked for whenever the
//! ring was full, and now and then. Linux 5.9 (frames in parts, for an MTU above 3,502: 6.6); needs what
//! [`crate::sys::xdp`] needs. Nothing is allocated per packet.

mod queue;

use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::Arc;

use super::af_packet::AfPacketPort;
use super::{Capabilities, Gone, Port, PortInfo, Received, Sent, interface};
use crate::buffer::{Batch, Checksum, Frame, Pool};
use crate::sys::netlink::{Link, Netlink, os_error};
use crate::sys::xdp::{Attachment, Binding, Channels, XdpMode, channels};
use queue::{Cut, Queue};

/// Chunks a queue receives into: what a worker may be behind by.
const RX_CHUNKS: u32 = 4096;
/// The same on interfaces with many queues, each of which gets less.
const RX_CHUNKS_OF_MANY: u32 = 1024;
const MANY: u32 = 8;
/// Chunks a queue sends from.
const TX_CHUNKS: u32 = 1024;

/// Ethernet header and a tag.
const LINK_HEADER: usize = 18;

/// The underlay to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfXdpConfig {
    /// Interface of the underlay.
    pub interface: String,
    /// Own addresses on it: datagrams to others stay with the kernel.
    pub locals: Vec<IpAddr>,
    /// UDP port of the tunnel.
    pub port: u16,
}

/// How an interface is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mechanism {
    /// Where the program runs.
    pub mode: XdpMode,
    /// The driver moves frames without a copy of the kernel's.
    pub zero_copy: bool,
    /// Receiving queues of the interface.
    pub queues: usize,
}

/// What one worker receives from the interface and sends through it.
pub struct AfXdpPort {
    queues: Vec<Queue>,
    /// In place of a queue to send by.
    sender: Option<AfPacketPort>,
    /// Which of the queues is asked first.
    turn: usize,
    longest: usize,
    /// Outer sums may be unfinished.
    unsummed: bool,
    mechanism: Mechanism,
    info: PortInfo,
    /// The program stays for as long as one queue is open.
    _attachment: Arc<Attachment>,
}

impl AfXdpPort {
    /// Opens the interface, in the current namespace, with `queues` queues (1 at the least).
    ///
    /// # Errors
    /// There is no such interface, a capability is missing, or another XDP program is attached; the text says which.
    /// Either all queues are open or none is.
    pub fn open_queues(config: &AfXdpConfig, queues: usize) -> io::Result<Vec<Self>> {
        let name = &config.interface;
        let explain = |error: io::Error| explain(name, &error);
        let netlink = Netlink::open()?;
        let Some(link) = netlink.link(name)? else {
            let text = format!("no interface {name} ({})", interface::listing());
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        };
        if !link.up {
            let text = format!("interface {name} is down: run `ip link set {name} up` first");
            return Err(io::Error::new(io::ErrorKind::NetworkDown, text));
        }
        let channels = channels(name, link.index).map_err(explain)?;
        let cut = Cut::of(link.mtu);
        let locals = (config.locals.as_slice(), config.port);
        let attachment =
            Arc::new(Attachment::new(link.index, channels.rx, locals, cut.in_parts).map_err(explain)?);
        let opened = open_all(&link, &attachment, channels, cut, queues.max(1)).map_err(explain)?;
        let mechanism = Mechanism {
            mode: attachment.mode(),
            zero_copy: opened.iter().all(Queue::zero_copy),
            queues: opened.len(),
        };
        tell(&link, &attachment, mechanism, opened.iter().all(Queue::on_huge_pages));
        let peer_mac = netlink.peer_mac(link.index).unwrap_or(None);
        let info = PortInfo { index: link.index, mac: link.mac, mtu: link.mtu, peer_mac };
        share_out(opened, queues.max(1))
            .into_iter()
            .enumerate()
            .map(|(number, own)| {
                let sends = !own.is_empty() && number < channels.tx as usize;
                Ok(Self {
                    queues: own,
                    sender: if sends { None } else { Some(AfPacketPort::open_to_send(name)?) },
                    turn: 0,
                    longest: (link.mtu as usize).saturating_add(LINK_HEADER),
                    unsummed: link.kind.is_some(),
                    mechanism,
                    info,
                    _attachment: Arc::clone(&attachment),
                })
            })
            .collect()
    }

    /// The interface.
    pub fn info(&self) -> PortInfo {
        self.info
    }

    /// How the interface is used.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }
}

/// Opens all receiving queues of the interface; the first `senders` send, too.
fn open_all(
    link: &Link,
    attachment: &Attachment,
    channels: Channels,
    cut: Cut,
    senders: usize,
) -> io::Result<Vec<Queue>> {
    let rx = if channels.rx > MANY { RX_CHUNKS_OF_MANY } else { RX_CHUNKS };
    let mut opened = Vec::new();
    for number in 0..channels.rx {
        let to =
            Binding { interface: link.index, queue: number, mode: attachment.mode(), in_parts: cut.in_parts };
        let tx = if opened.len() < senders && number < channels.tx { TX_CHUNKS } else { 0 };
        let queue = match Queue::open(to, cut, rx, tx) {
            // The driver did not say how many there are, and there are no more.
            Err(error) if !channels.exact && number > 0 && error.raw_os_error() == Some(libc::EINVAL) => {
                break;
            }
            queue => queue?,
        };
        attachment.redirect(number, queue.socket())?;
        opened.push(queue);
    }
    Ok(opened)
}

/// Every n-th queue to each of `count` workers, so that worker n's first queue is number n.
fn share_out(opened: Vec<Queue>, count: usize) -> Vec<Vec<Queue>> {
    let mut shares: Vec<Vec<Queue>> = (0..count).map(|_| Vec::new()).collect();
    for (number, queue) in opened.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(number % count) {
            share.push(queue);
        }
    }
    shares
}

fn tell(link: &Link, attachment: &Attachment, mechanism: Mechanism, huge: bool) {
    tracing::info!(
        interface = link.name,
        mode = mechanism.mode.name(),
        zero_copy = mechanism.zero_copy,
        huge_pages = huge,
        queues = mechanism.queues,
        "frames of the tunnel come by AF_XDP"
    );
    if let Some(reason) = attachment.refusal() {
        tracing::info!(interface = link.name, %reason, "the driver does not run the XDP program: the stack does, slower");
    }
}

impl Port for AfXdpPort {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let mut total = Received::default();
        let (start, count) = (batch.len(), self.queues.len());
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(queue) = self.queues.get_mut(at) else { continue };
            queue.send_rest()?;
            let left = limit.saturating_sub(total.frames + total.malformed);
            let received = queue.recv(pool, batch, left)?;
            total.frames += received.frames;
            total.malformed += received.malformed;
            total.lost += received.lost;
            total.more |= received.more;
        }
        self.turn = (self.turn + 1) % count.max(1);
        if self.unsummed {
            batch.iter_mut().skip(start).for_each(vouch);
        }
        Ok(total)
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        if let Some(sender) = &mut self.sender {
            return sender.send(pool, batch);
        }
        let mut sent = Sent::default();
        let outcome = match self.queues.first_mut() {
            Some(queue) => queue.send(batch, self.longest, &mut sent),
            None => Ok(()),
        };
        if outcome.is_err() {
            // Those it was not asked about any more.
            let told = sent.frames + sent.congested + sent.failed;
            sent.fail(batch.iter().skip(told));
        }
        pool.give_all(batch.drain(..));
        outcome.map_or_else(|error| Err(Gone { sent, error }), |()| Ok(sent))
    }

    fn losses(&mut self) -> u64 {
        self.queues.iter_mut().map(Queue::losses).sum()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn descriptors(&self) -> Vec<RawFd> {
        self.queues.iter().map(Queue::descriptor).collect()
    }
}

/// Marks the outer UDP checksum of a frame as one that nobody has finished yet.
fn vouch(frame: &mut Frame) {
    const CHECKSUM: u16 = 6;
    let start = match frame.bytes() {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, first, ..] => 14 + u16::from(first & 0x0f) * 4,
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, ..] => 14 + 40,
        _ => return,
    };
    frame.checksum = Checksum::Partial { start, offset: CHECKSUM };
}

fn explain(name: &str, error: &io::Error) -> io::Error {
    let reason = match os_error(error) {
        Some(libc::EPERM | libc::EACCES) => ": CAP_NET_ADMIN, CAP_NET_RAW or CAP_BPF is missing",
        Some(libc::EAFNOSUPPORT) => ": the kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS)",
        Some(libc::EBUSY | libc::EEXIST) => {
            ": another XDP program, or another AF_XDP socket, has it (`ip -d link show` tells the program)"
        }
        Some(libc::ENOBUFS) => {
            ": the limit of locked memory is too low (`ulimit -l`), or give weir CAP_IPC_LOCK"
        }
        Some(libc::EINVAL) => {
            ": the kernel is older than Linux 5.9, or older than 6.6 with an MTU above 3502"
        }
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot open {name} by AF_XDP{reason} ({error})"))
}

#[cfg(test)]
mod tests;
