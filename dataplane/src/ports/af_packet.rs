//! AF_PACKET: the host end of a pod's veth, through a packet socket.
//!
//! ```text
//!  pod eth0 ═ veth ═ host end ─► packet socket ─► weir
//!                        └─────► tc ingress: dropped, the kernel never handles the frame itself
//! ```
//! A packet socket only listens in. Before it is bound, the link therefore gets a
//! [drop on ingress](Netlink::ensure_ingress_drop), and without one the port does not open: otherwise each
//! frame would reach the bridge or the host past every policy. The drop stays when weir ends, so a pod whose
//! weir is down is silent, not open.
//!
//! Frames come with their [vnet header](crate::sys::vnet), up to 64 per system call. The kernel takes VLAN
//! tags out of the frame; they are put back in, so that a tagged frame is seen as one and refused. Sending
//! takes the ordinary transmit path: `PACKET_QDISC_BYPASS` would save nothing on a veth, which has no queue,
//! and drops every super-packet that the device then wants cut.
//!
//! With several queues the sockets form a group (`PACKET_FANOUT_HASH`) in which the kernel picks the receiver by a hash
//! that is the same for both directions of a flow. A kernel before 6.1 has no groups that leave out what weir itself
//! sends: there the first queue receives everything and the others only send.
//!
//! Losses come from the socket: with the first frame received after them (`SO_RXQ_OVFL`), or when the worker asks
//! ([`Port::losses`]). A frame whose
//! super-packet kind has no vnet header (SCTP segmentation) is refused by the kernel and counts as malformed.
//!
//! Needs what [`crate::sys::packet_socket`] needs, and `CAP_NET_ADMIN` for the drop. Frame memory is the
//! pool's; nothing is allocated per packet.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use super::datagrams::{self, Losses, Receiver};
use super::tap::within;
use super::{Capabilities, Gone, Port, PortInfo, Received, Sent, interface};
use crate::buffer::{Batch, Frame, Pool};
use crate::sys::mmsg::{Datagram, Message, Outgoing};
use crate::sys::netlink::{Link, Netlink};
use crate::sys::packet_socket::{self, Arrival, PacketSocket, VlanTag};
use crate::sys::vnet::{self, VNET_LEN, VnetHeader};

const ADDRESSES_LEN: usize = 12;

/// A packet socket on one interface.
pub struct AfPacketPort {
    socket: PacketSocket,
    receiver: Receiver,
    outgoing: Outgoing,
    losses: Losses,
    capabilities: Capabilities,
    info: PortInfo,
    /// The interface was set down; it may have been deleted.
    down: bool,
    /// False on a queue that only sends.
    receives: bool,
}

impl AfPacketPort {
    /// Opens `interface`, in the namespace at `netns` or the current one, and takes its traffic over.
    ///
    /// # Errors
    /// There is no such interface, a capability is missing, or the kernel cannot be kept from handling the
    /// frames itself; the text says which.
    pub fn open(interface: &str, netns: Option<&Path>) -> io::Result<Self> {
        within(netns, || Self::open_here(interface))
    }

    /// Opens `interface` as [`AfPacketPort::open`] does, with `count` queues (1 at the least).
    ///
    /// # Errors
    /// The same; either all queues are open or none is.
    pub fn open_queues(interface: &str, netns: Option<&Path>, count: usize) -> io::Result<Vec<Self>> {
        within(netns, || {
            let first = Self::open_here(interface)?;
            if count <= 1 {
                return Ok(vec![first]);
            }
            let group = match first.socket.found_group() {
                Ok(group) => Some(group),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => None,
                Err(error) => return Err(explain(interface, &error)),
            };
            let mut queues = vec![first];
            for _ in 1..count {
                queues.push(Self::open_beside(interface, group)?);
            }
            Ok(queues)
        })
    }

    /// Opens `interface` of this namespace to send alone: it receives nothing, and the kernel goes on handling what
    /// arrives. For tools that put traffic on a wire; no port of a worker.
    ///
    /// # Errors
    /// There is no such interface, or a capability is missing; the text says which.
    pub fn open_to_send(interface: &str) -> io::Result<Self> {
        let (socket, link, _) = begin(interface)?;
        socket.bind_to_send(link.index).map_err(|error| explain(interface, &error))?;
        Ok(Self { receives: false, ..Self::with(socket, &link, None) })
    }

    /// Another queue of an interface that is open.
    fn open_beside(name: &str, group: Option<u16>) -> io::Result<Self> {
        let Some(group) = group else { return Self::open_to_send(name) };
        let (socket, link, netlink) = begin(name)?;
        // Bound and not yet in the group it would receive a second copy of every frame.
        let join = || -> io::Result<()> {
            socket.mute()?;
            socket.set_promiscuous(link.index)?;
            socket.bind(link.index)?;
            socket.join_group(group)?;
            socket.unmute()
        };
        join().map_err(|error| explain(name, &error))?;
        let peer_mac = netlink.peer_mac(link.index).unwrap_or(None);
        Ok(Self::with(socket, &link, peer_mac))
    }

    /// The interface.
    pub fn info(&self) -> PortInfo {
        self.info
    }

    fn open_here(name: &str) -> io::Result<Self> {
        let (socket, link, netlink) = begin(name)?;
        netlink.ensure_ingress_drop(link.index).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "{name} is not opened: the kernel would handle its frames too, past every policy: {error}"
                ),
            )
        })?;
        socket.set_promiscuous(link.index).map_err(|error| explain(name, &error))?;
        socket.bind(link.index).map_err(|error| explain(name, &error))?;
        // Only a veth has another end; for anything else there is nothing to know.
        let peer_mac = netlink.peer_mac(link.index).unwrap_or(None);
        Ok(Self::with(socket, &link, peer_mac))
    }

    fn with(socket: PacketSocket, link: &Link, peer_mac: Option<[u8; 6]>) -> Self {
        Self {
            socket,
            receiver: Receiver::new(),
            outgoing: Outgoing::new(),
            losses: Losses::default(),
            capabilities: Capabilities {
                checksum: true,
                tso: true,
                uso: packet_socket::takes_udp_super_packets(),
            },
            info: PortInfo { index: link.index, mac: link.mac, mtu: link.mtu, peer_mac },
            down: false,
            receives: true,
        }
    }
}

impl Port for AfPacketPort {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let mut total = Received::default();
        if !self.receives {
            return Ok(total);
        }
        let Self { socket, receiver, losses, down, .. } = self;
        // Deletion is two steps, down and gone, and the kernel reports only the first.
        if *down && !socket.is_bound()? {
            return Err(io::Error::from_raw_os_error(libc::ENETDOWN));
        }
        loop {
            let left = limit.saturating_sub(total.frames + total.malformed);
            let mut lost = 0;
            let (received, error) = receiver.recv(socket.as_fd(), pool, batch, left, |frame, message| {
                let arrival = Arrival::of(message);
                lost += losses.advance(arrival.losses);
                restore(frame, message, arrival.vlan)
            });
            total.frames += received.frames;
            total.malformed += received.malformed;
            total.lost += lost;
            total.more = received.more;
            *down &= received.frames == 0;
            let Some(error) = error else { return Ok(total) };
            match error.raw_os_error() {
                Some(libc::EINVAL) => total.malformed += 1,
                // Set down, and perhaps up again later; or deleted, and then for good.
                Some(libc::ENETDOWN) if socket.is_bound()? => {
                    *down = true;
                    return Ok(total);
                }
                _ => return Err(error),
            }
        }
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        let (sent, error) = datagrams::send(&mut self.outgoing, self.socket.as_fd(), batch, |frame| {
            Datagram { prefix: Some(vnet::encode(frame)), bytes: frame.bytes(), to: None, class: None }
        });
        pool.give_all(batch.drain(..));
        error.map_or(Ok(sent), |error| Err(Gone { sent, error }))
    }

    fn losses(&mut self) -> u64 {
        if self.receives { self.losses.look(self.socket.as_fd()) } else { 0 }
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    fn descriptors(&self) -> Vec<RawFd> {
        if self.receives { vec![self.socket.as_fd().as_raw_fd()] } else { Vec::new() }
    }
}

/// A socket that is not bound yet, for an interface that is there.
pub(super) fn begin(name: &str) -> io::Result<(PacketSocket, Link, Netlink)> {
    let netlink = Netlink::open()?;
    let Some(link) = netlink.link(name)? else {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("no interface {name} ({})", interface::listing()),
        ));
    };
    let socket = PacketSocket::open().map_err(|error| explain(name, &error))?;
    Ok((socket, link, netlink))
}

/// Makes a received message the frame it was on the wire; false where its metadata makes no sense.
pub(super) fn restore(frame: &mut Frame, message: &Message<'_>, vlan: Option<VlanTag>) -> bool {
    let Some(header) = frame.bytes().first_chunk::<VNET_LEN>().copied() else { return false };
    !message.truncated && frame.pull_front(VNET_LEN) && describe(frame, header, vlan)
}

/// Gives a frame what its vnet header says and the tag that was taken out of it; false where that makes no sense.
pub(super) fn describe(frame: &mut Frame, header: VnetHeader, vlan: Option<VlanTag>) -> bool {
    let Ok((checksum, gso)) = vnet::decode(header, frame.len()) else { return false };
    frame.checksum = checksum;
    frame.gso = gso;
    vlan.is_none_or(|tag| insert_tag(frame, tag))
}

/// Puts a VLAN tag behind the two MAC addresses; false for a frame without room or without addresses.
fn insert_tag(frame: &mut Frame, tag: VlanTag) -> bool {
    if frame.len() < ADDRESSES_LEN || frame.push_front(tag.len()).is_none() {
        return false;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(tag.len()..tag.len() + ADDRESSES_LEN, 0);
    bytes.iter_mut().skip(ADDRESSES_LEN).zip(tag).for_each(|(to, from)| *to = from);
    true
}

/// Why the interface cannot be opened, for people.
pub(super) fn explain(name: &str, error: &io::Error) -> io::Error {
    let reason = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => ": CAP_NET_RAW is missing in its network namespace",
        Some(libc::EAFNOSUPPORT) => ": the kernel has no packet sockets (`modprobe af_packet`)",
        Some(libc::ENOPROTOOPT) => ": the kernel is older than Linux 4.20",
        _ => "",
    };
    io::Error::new(error.kind(), format!("cannot open {name} for raw frames{reason} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Checksum;

    #[test]
    fn a_tag_goes_back_behind_the_addresses_and_the_checksum_stays_on_its_bytes() {
        let mut bytes: Vec<u8> = (0..60).collect();
        let mut frame = Frame::from_bytes(&bytes);
        frame.checksum = Checksum::Partial { start: 34, offset: 16 };
        assert!(insert_tag(&mut frame, [0x81, 0, 0x20, 5]));
        bytes.splice(12..12, [0x81, 0, 0x20, 5]);
        assert_eq!(frame.bytes(), bytes);
        assert_eq!(frame.checksum, Checksum::Partial { start: 38, offset: 16 });
    }

    #[test]
    fn a_frame_without_addresses_takes_no_tag() {
        assert!(!insert_tag(&mut Frame::from_bytes(&[0; 11]), [0x81, 0, 0, 0]));
        assert!(insert_tag(&mut Frame::from_bytes(&[0; 12]), [0x81, 0, 0, 0]));
    }

    #[test]
    fn an_interface_that_is_not_there_is_named_with_those_that_are() {
        let error = AfPacketPort::open("weir-none", None).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("weir-none"), "{error}");
    }
}
