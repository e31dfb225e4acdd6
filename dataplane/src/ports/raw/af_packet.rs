//! The underlay as whole frames through packet sockets.
//!
//! ```text
//!  interface ─► filter: VXLAN to us ─► recvmmsg, vnet header ─► trains taken apart ─► pipeline
//!  pipeline ─► neighbours of one flow joined ─► sendmmsg, vnet header: checksum and cutting left to the kernel ─► interface
//! ```
//! The outer UDP checksum is left to the kernel, which leaves it to the interface where that computes it; on a veth nobody
//! does. Frames of one flow and one length that follow one another leave as one (`VIRTIO_NET_HDR_GSO_UDP_L4`, Linux 6.2),
//! up to 64 at a time; a train that is refused is sent again frame by frame.
//!
//! With several queues the sockets form a group (`PACKET_FANOUT_HASH`), as those of `ports::af_packet` do; there
//! is more on vnet headers, tags and losses. The interface is the node's own: nothing on it is dropped, and it is not made
//! promiscuous.
//!
//! Needs `CAP_NET_RAW` and Linux 4.20.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::trains::{Cars, TrainHeaders, outer_headers};
use super::{Joining, RawConfig, Unpacking};
use crate::buffer::{Batch, Frame, Pool};
use crate::ports::af_packet::{begin, describe, explain, restore};
use crate::ports::datagrams::{Losses, Receiver, Refusal};
use crate::ports::{Capabilities, Gone, Peers, Port, PortInfo, Received, Sent};
use crate::sys::mmsg::{Gather, Gathered, Prefix};
use crate::sys::packet_ring::{self, ReceiveRing};
use crate::sys::packet_socket::{self, Arrival, PacketSocket};
use crate::sys::{tunnel_filter, vnet};

/// One queue of the underlay.
pub struct AfPacketUnderlay {
    socket: PacketSocket,
    way_in: WayIn,
    unpacking: Unpacking,
    joining: Joining,
    gather: Gather,
    /// Whether trains are offered to the kernel.
    trains_run: bool,
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
            queues.push(Self::with(socket, info, way_in));
        }
        Ok(queues)
    }

    fn with(socket: PacketSocket, info: PortInfo, way_in: WayIn) -> Self {
        Self {
            socket,
            way_in,
            unpacking: Unpacking::default(),
            joining: Joining::default(),
            gather: Gather::new(),
            trains_run: packet_socket::takes_udp_super_packets(),
            info,
            down: false,
        }
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
        let (sent, gone) = self.send_all(batch);
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

impl AfPacketUnderlay {
    fn send_all(&mut self, batch: &Batch) -> (Sent, Option<io::Error>) {
        let Self { socket, joining, gather, trains_run, .. } = self;
        let mut sent = Sent::default();
        let mut left: &[Cars] = if *trains_run { joining.couple(batch) } else { joining.apart(batch.len()) };
        while let Some((&first, rest)) = left.split_first() {
            let frames = |cars: &Cars| batch.get(cars.first..cars.first + cars.count).unwrap_or_default();
            match gather.send(socket.as_fd(), left.iter().map(|cars| gathered(frames(cars)))) {
                // The kernel never takes nothing without a reason. Were it to, the loop has to end.
                Ok(0) => {
                    sent.fail(frames(&first));
                    left = rest;
                }
                Ok(taken) => {
                    let (gone, waiting) = left.split_at_checked(taken).unwrap_or((left, &[]));
                    sent.frames += gone.iter().map(|cars| cars.count).sum::<usize>();
                    left = waiting;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match Refusal::of(&error) {
                    Refusal::QueueFull => {
                        sent.congest(left.iter().flat_map(frames));
                        break;
                    }
                    Refusal::Gone => {
                        sent.fail(left.iter().flat_map(frames));
                        return (sent, Some(error));
                    }
                    Refusal::Failed if first.count > 1 => {
                        // Perhaps it is the train that is not wanted: the frames by themselves, and none hereafter.
                        *trains_run &= error.raw_os_error() != Some(libc::EINVAL);
                        for frame in frames(&first) {
                            let alone = gathered(std::slice::from_ref(frame));
                            match gather.send(socket.as_fd(), std::iter::once(alone)) {
                                Ok(1) => sent.frames += 1,
                                Ok(_) | Err(_) => sent.fail([frame]),
                            }
                        }
                        left = rest;
                    }
                    Refusal::Congested => {
                        sent.congest(frames(&first));
                        left = rest;
                    }
                    Refusal::Failed => {
                        sent.fail(frames(&first));
                        left = rest;
                    }
                },
            }
        }
        (sent, None)
    }
}

/// A frame as it is, or several as the train they make.
fn gathered(frames: &[Frame]) -> Gathered<impl Iterator<Item = &[u8]>> {
    let headers = match frames {
        [] | [_] => None,
        [first, ..] => outer_headers(first).and_then(|headers| {
            let payload = frames.iter().map(|frame| frame.len().saturating_sub(headers)).sum();
            TrainHeaders::new(first, payload)
        }),
    };
    let (prefix, skip) = match (&headers, frames) {
        (Some(headers), _) => {
            let vnet = vnet::encode_train(headers.segment, headers.udp);
            (Prefix::new(&[&vnet, headers.bytes()]), headers.bytes().len())
        }
        (None, [frame]) => (Prefix::new(&[&vnet::encode(frame)]), 0),
        // No train after all. The kernel refuses an empty message, and the frames go one by one.
        (None, _) => (Prefix::new(&[]), usize::MAX),
    };
    Gathered { prefix, pieces: frames.iter().map(move |frame| frame.bytes().get(skip..).unwrap_or_default()) }
}
