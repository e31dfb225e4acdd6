//! The underlay as whole frames through packet sockets.
//!
//! ```text
//!  interface ─► filter: VXLAN to us ─► recvmmsg, vnet header ─► trains taken apart ─► pipeline
//!  pipeline ─► neighbours of one flow joined ─► sendmmsg, vnet header: checksum and cutting left to the kernel ─► interface
//! ```
//! The outer UDP checksum is left to the kernel, which leaves it to the interface where that computes it; on a veth nobody
//! does. Frames of one flow and one length that follow one another leave as one (`VIRTIO_NET_HDR_GSO_UDP_L4`, Linux 6.2),
//! up to 64 at a time; a train that is refused is sent again frame by frame. Either way may be a ring instead of system
//! calls for each batch of messages (`super::departure`, `crate::sys::packet_ring`).
//!
//! With several queues the sockets form a group (`PACKET_FANOUT_HASH`), as those of `ports::af_packet` do; there
//! is more on vnet headers, tags and losses. The interface is the node's own: nothing on it is dropped, and it is not made
//! promiscuous.
//!
//! Needs `CAP_NET_RAW` and Linux 4.20.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use vxlan::wire::ethernet;

use super::departure::Departure;
use super::{RawConfig, Unpacking};
use crate::buffer::{Batch, Pool};
use crate::ports::af_packet::{begin, describe, explain, restore};
use crate::ports::datagrams::{Losses, Receiver};
use crate::ports::{Capabilities, Gone, Peers, Port, PortInfo, Received, Sent};
use crate::sys::packet_ring::{self, ReceiveRing, TransmitRing};
use crate::sys::packet_socket::{Arrival, PacketSocket};
use crate::sys::tunnel_filter;

/// One queue of the underlay.
pub struct AfPacketUnderlay {
    socket: PacketSocket,
    way_in: WayIn,
    unpacking: Unpacking,
    departure: Departure,
    info: PortInfo,
    /// The interface was set down; it may have been deleted.
    down: bool,
}

/// How a queue receives.
enum WayIn {
    /// Not at all: it only sends.
    None,
    /// By system calls.
    Messages { receiver: Receiver, losses: Losses },
    /// By a ring.
    Ring(ReceiveRing),
}

impl AfPacketUnderlay {
    /// Opens the interface, in the current namespace, with `count` queues (1 at the least).
    ///
    /// # Errors
    /// There is no such interface or a capability is missing; the text says which. Either all queues are open or none is.
    pub fn open_queues(config: &RawConfig, count: usize) -> io::Result<Vec<Self>> {
        let name = &config.interface;
        let program = tunnel_filter::program(&config.locals, config.port);
        let mut queues: Vec<Self> = Vec::with_capacity(count);
        let mut group = None;
        for number in 0..count.max(1) {
            let (socket, link, _) = begin(name)?;
            let ring = if config.ring {
                Some(ReceiveRing::new(&socket).map_err(|error| explain(name, &error))?)
            } else {
                None
            };
            let info = PortInfo { index: link.index, mac: link.mac, mtu: link.mtu, peer_mac: None };
            let mut open = || -> io::Result<bool> {
                // Bound and not yet in the group it would receive a second copy of every frame.
                socket.mute()?;
                match (number, group) {
                    (0, _) => socket.bind(link.index)?,
                    (_, Some(group)) => {
                        socket.bind(link.index)?;
                        socket.join_group(group)?;
                    }
                    (_, None) => {
                        socket.bind_to_send(link.index)?;
                        return Ok(false);
                    }
                }
                if number == 0 && count > 1 {
                    group = match socket.found_group() {
                        Ok(group) => Some(group),
                        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => None,
                        Err(error) => return Err(error),
                    };
                }
                socket.filter(&program)?;
                Ok(true)
            };
            let way_in = match (open().map_err(|error| explain(name, &error))?, ring) {
                (false, _) => WayIn::None,
                (true, Some(ring)) => WayIn::Ring(ring),
                (true, None) => WayIn::Messages { receiver: Receiver::new(), losses: Losses::default() },
            };
            let ring = config.transmit_ring.then(|| transmit_ring(name, link.index, link.mtu)).flatten();
            let (unpacking, departure) = (Unpacking::default(), Departure::new(ring));
            queues.push(Self { socket, way_in, unpacking, departure, info, down: false });
        }
        Ok(queues)
    }

    /// The interface.
    pub fn info(&self) -> PortInfo {
        self.info
    }
}

impl Port for AfPacketUnderlay {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let Self { socket, way_in, unpacking, down, .. } = self;
        // Deletion is two steps, down and gone, and the kernel reports only the first.
        if *down && !socket.is_bound()? {
            return Err(io::Error::from_raw_os_error(libc::ENETDOWN));
        }
        let before = batch.len();
        let (mut total, error) = match way_in {
            WayIn::None => return Ok(Received::default()),
            WayIn::Messages { receiver, losses } => {
                let mut lost = 0;
                let (mut total, error) =
                    receiver.recv(socket.as_fd(), pool, batch, limit, |frame, message| {
                        let arrival = Arrival::of(message);
                        lost += losses.advance(arrival.losses);
                        restore(frame, message, arrival.vlan)
                    });
                total.lost = lost;
                (total, error)
            }
            WayIn::Ring(ring) => from_ring(ring, socket, pool, batch, limit),
        };
        *down &= total.frames == 0;
        let left_out = unpacking.unpack(before, batch, pool);
        total.frames = batch.len().saturating_sub(before);
        total.lost += left_out.lost;
        total.strangers = left_out.strangers;
        let Some(error) = error else { return Ok(total) };
        match error.raw_os_error() {
            // A super-packet of a kind that no vnet header names.
            Some(libc::EINVAL) => {
                total.malformed += 1;
                total.more = true;
                Ok(total)
            }
            // Set down, and perhaps up again later; or deleted, and then for good.
            Some(libc::ENETDOWN) if socket.is_bound()? => {
                *down = true;
                Ok(total)
            }
            _ => Err(error),
        }
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        let (sent, gone) = self.departure.send(self.socket.as_fd(), batch);
        pool.give_all(batch.drain(..));
        gone.map_or(Ok(sent), |error| Err(Gone { sent, error }))
    }

    fn trust(&mut self, peers: &Peers) {
        self.unpacking.trust(peers);
    }

    fn losses(&mut self) -> u64 {
        match &mut self.way_in {
            WayIn::None => 0,
            WayIn::Messages { losses, .. } => losses.look(self.socket.as_fd()),
            // Asking sets the kernel's count back, whoever asks.
            WayIn::Ring(_) => packet_ring::losses(&self.socket),
        }
    }

    fn capabilities(&self) -> Capabilities {
        // Of the outer checksum; no vnet header of a packet socket speaks of a super-packet inside a tunnel.
        Capabilities { checksum: true, ..Capabilities::default() }
    }

    fn descriptors(&self) -> Vec<RawFd> {
        match self.way_in {
            WayIn::None => Vec::new(),
            WayIn::Messages { .. } | WayIn::Ring(_) => vec![self.socket.as_fd().as_raw_fd()],
        }
    }
}

/// A ring to send by, or none where none is to be had: messages do the same, a little slower.
fn transmit_ring(interface: &str, index: u32, mtu: u32) -> Option<TransmitRing> {
    let longest = (mtu as usize).saturating_add(ethernet::HEADER_BYTES);
    TransmitRing::open(index, longest)
        .inspect_err(
            |error| tracing::warn!(interface, %error, "no ring to send by: frames go one message each"),
        )
        .ok()
}

/// Copies frames out of the ring. An error, as from a system call, waits on the socket.
fn from_ring(
    ring: &mut ReceiveRing,
    socket: &PacketSocket,
    pool: &mut Pool,
    batch: &mut Batch,
    limit: usize,
) -> (Received, Option<io::Error>) {
    let mut total = Received::default();
    let mut losing = false;
    while total.frames + total.malformed < limit {
        let Some(mut frame) = pool.take() else {
            total.more = true;
            break;
        };
        let Some(slot) = ring.next_frame() else {
            pool.give(frame);
            return (Received { lost: lost(socket, losing), ..total }, socket.take_error());
        };
        losing |= slot.losing;
        frame.write(slot.bytes);
        if !slot.truncated && describe(&mut frame, slot.vnet, slot.vlan) {
            batch.push(frame);
            total.frames += 1;
        } else {
            pool.give(frame);
            total.malformed += 1;
        }
    }
    (Received { more: true, lost: lost(socket, losing), ..total }, None)
}

fn lost(socket: &PacketSocket, losing: bool) -> u64 {
    if losing { packet_ring::losses(socket) } else { 0 }
}
