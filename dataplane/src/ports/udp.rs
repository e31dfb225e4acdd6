//! UDP: the underlay as sockets. The kernel routes, resolves neighbours, and builds and strips the outer
//! headers; frames begin at the VXLAN header and carry the outer addresses in [`Outer`].
//!
//! ```text
//!  any VTEP ─► local:8472 ─► one unconnected socket per family ─► recv
//!  send ─► 16 sockets per family, each bound to a source port of its own ─► peer:8472
//! ```
//! With several workers each has such a set of sockets (`SO_REUSEPORT`). The kernel picks the receiving one by a hash of
//! the datagram's addresses and ports; the source ports are the same for all workers. So the way a flow takes depends
//! on its source port alone, not on the worker that sends it, and cannot swing to and fro between workers.
//!
//! Where both directions of a flow come from the pods by one worker, as they do where weir steers the pods' queues
//! ([`UdpConfig::affinity`]), that worker sends from the source ports that are its own, those with `port % workers` its
//! number, and the kernel gives what arrives to the worker of that number. Two nodes with as many workers then handle a
//! flow, there and back, on workers of one number each: its connection stays in one processor's cache.
//!
//! The receiving sockets are not connected: peers send from a source port per flow (RFC 7348, section 5).
//! Sending spreads flows over the source ports of the sender sockets by the frame's
//! [`source_port`](Outer::source_port), so that the underlay spreads them over its paths and the receiver
//! over its queues; the socket's own port goes on the wire. Frames of one flow keep their order, flows among
//! one another need not.
//!
//! Works on any interface and without privilege. A kernel VTEP across a veth hands over a 64 KiB
//! super-packet as one datagram; frames have room for the largest one. What of RFC 7348's outer checks is
//! not done here is the kernel's: lengths, outer checksum, reassembly. Frames that follow each other to one peer
//! leave in trains of one message (`UDP_SEGMENT`), see `departure`, and arrive as such (`UDP_GRO`), see `arrival`.
//! TCP super-packets leave whole where the kernel segments inside tunnels, see `whole`.
//!
//! A frame that cannot be sent (no route, too large) counts as failed and costs no other. Losses come from
//! the socket: with the first datagram received after them (`SO_RXQ_OVFL`), or when the worker asks ([`Port::losses`]);
//! a lost train counts once.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::datagrams::{Losses, Receiver, Refusal};
use super::{Capabilities, Gone, Peers, Port, Received, Sent};
use crate::buffer::{Batch, Frame, Outer, Pool};
use crate::sys::mmsg::Message;
use crate::sys::udp_socket::{self, Arrival, UdpSocket};
use arrival::Unpacking;
use departure::Departure;
use whole::Whole;

mod arrival;
mod departure;
mod whole;

/// The port that flannel and its peers use; IANA's for VXLAN is 4789.
pub const FLANNEL_PORT: u16 = 8472;

/// First of the source ports (RFC 7348, section 5: the dynamic range of RFC 6335).
const FIRST_SOURCE_PORT: u16 = 49_152;
const SOURCE_PORTS: u16 = u16::MAX - FIRST_SOURCE_PORT + 1;

/// Most sender sockets of one family.
const MOST_SENDERS: usize = 1024;

/// The underlay to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpConfig {
    /// Own IPv4 address; no IPv4 underlay where none is given.
    pub local_v4: Option<Ipv4Addr>,
    /// Own IPv6 address; no IPv6 underlay where none is given.
    pub local_v6: Option<Ipv6Addr>,
    /// UDP port, ours and the peers'.
    pub port: u16,
    /// Source ports to send from, per family: 1 to 1024.
    pub source_ports: usize,
    /// Whether the outer UDP checksum is computed; without, it is zero over IPv4 (RFC 7348, section 5). Over IPv6 it
    /// always is: a receiver drops datagrams without, unless somebody has told it of this tunnel (RFC 6935).
    pub checksum: bool,
    /// Whether a queue sends from source ports of its own, and receives what comes from such ports. Only where both
    /// directions of a flow come from the pods by the same worker: otherwise a flow's workers at two nodes would follow
    /// one another to and fro.
    pub affinity: bool,
    /// Whether encapsulated super-packets are handed to the kernel whole, where it takes them.
    pub whole: bool,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            local_v4: None,
            local_v6: None,
            port: FLANNEL_PORT,
            source_ports: 16,
            checksum: true,
            affinity: true,
            whole: true,
        }
    }
}

/// The sockets of one family.
struct Family {
    receiver: UdpSocket,
    senders: Vec<UdpSocket>,
    /// The senders of this queue, by their places; all of them without affinity.
    own: Vec<usize>,
    losses: Losses,
    /// The kernel said that something came, and not all of it was taken yet.
    announced: bool,
}

/// The underlay.
pub struct UdpUnderlay {
    families: Vec<Family>,
    receiver: Receiver,
    unpacking: Unpacking,
    departure: Departure,
    /// Family that receives first next time, so that neither can starve the other.
    first: usize,
}

impl UdpUnderlay {
    /// Opens all sockets.
    ///
    /// # Errors
    /// No address given, an address that is not this node's, or a port that somebody else holds; the text
    /// says which and how to see by whom.
    pub fn open(config: UdpConfig) -> io::Result<Self> {
        let mut queues = Self::open_queues(&config, 1)?;
        queues.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Opens the sockets of `count` queues (1 at the least).
    ///
    /// # Errors
    /// As with [`UdpUnderlay::open`]; either all queues are open or none is.
    pub fn open_queues(config: &UdpConfig, count: usize) -> io::Result<Vec<Self>> {
        let addresses = config.local_v4.map(IpAddr::V4).into_iter().chain(config.local_v6.map(IpAddr::V6));
        let mut queues: Vec<Self> = (0..count.max(1)).map(|_| Self::closed(config)).collect();
        let mut none = true;
        for local in addresses {
            none = false;
            let families = Family::open(config, local, queues.len())?;
            for (queue, family) in queues.iter_mut().zip(families) {
                queue.families.push(family);
            }
        }
        if none {
            return Err(invalid("the UDP underlay needs a local IPv4 or IPv6 address".to_owned()));
        }
        if config.whole {
            let local: Vec<IpAddr> = queues
                .iter()
                .flat_map(|queue| &queue.families)
                .map(|family| family.receiver.local().ip())
                .collect();
            match Whole::open_queues(&local, config.port, config.checksum, queues.len()) {
                Ok(wholes) => {
                    for (queue, whole) in queues.iter_mut().zip(wholes) {
                        queue.departure.take_whole(whole);
                    }
                }
                Err(error) => {
                    tracing::info!(reason = %error, "super-packets are cut here on their way into the tunnel");
                }
            }
        }
        Ok(queues)
    }

    fn closed(config: &UdpConfig) -> Self {
        Self {
            families: Vec::new(),
            receiver: Receiver::new(),
            unpacking: Unpacking::default(),
            departure: Departure::new(config.port, config.checksum),
            first: 0,
        }
    }

    /// The source ports in use towards peers of `peer`'s family.
    pub fn source_ports(&self, peer: IpAddr) -> Vec<u16> {
        let family = self.families.iter().find(|family| family.serves(peer));
        family.map_or_else(Vec::new, |family| family.senders.iter().map(|s| s.local().port()).collect())
    }
}

impl Family {
    /// The sockets of one address, for each of `count` queues.
    fn open(config: &UdpConfig, local: IpAddr, count: usize) -> io::Result<Vec<Self>> {
        if !(1..=MOST_SENDERS).contains(&config.source_ports) {
            return Err(invalid(format!(
                "{} source ports asked for, expected 1 to {MOST_SENDERS}",
                config.source_ports
            )));
        }
        let at = SocketAddr::new(local, config.port);
        let shared = count > 1;
        if shared {
            udp_socket::is_free(at).map_err(|error| explain(at, &error))?;
        }
        let mut families: Vec<Self> = Vec::with_capacity(count);
        for _ in 0..count {
            let receiver = UdpSocket::receiver(at, shared).map_err(|error| explain(at, &error))?;
            let senders = match families.first() {
                None => senders(local, config, shared)?,
                Some(first) => first.senders_beside(config)?,
            };
            let own = own_senders(&senders, families.len(), count, config.affinity);
            families.push(Self { receiver, senders, own, losses: Losses::default(), announced: false });
        }
        if let (true, Some(first)) = (shared && config.affinity, families.first()) {
            first.receiver.choose_by_source_port(count)?;
        }
        Ok(families)
    }

    /// Another queue's senders, on the same source ports.
    fn senders_beside(&self, config: &UdpConfig) -> io::Result<Vec<UdpSocket>> {
        let beside = |sender: &UdpSocket| {
            let at = sender.local();
            UdpSocket::sender(at, sums(config.checksum, at.ip()), true).map_err(|error| explain(at, &error))
        };
        self.senders.iter().map(beside).collect()
    }

    fn serves(&self, peer: IpAddr) -> bool {
        self.receiver.local().is_ipv4() == peer.is_ipv4()
    }
}

impl Port for UdpUnderlay {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        let Self { families, receiver, unpacking, first, .. } = self;
        let mut total = Received::default();
        let count = families.len();
        *first = (*first + 1) % count.max(1);
        // A look at a socket that has nothing is a system call.
        let everywhere = !families.iter().any(|family| family.announced);
        for turn in 0..count {
            let Some(family) = families.get_mut((*first + turn) % count) else { continue };
            if !everywhere && !family.announced {
                continue;
            }
            let Family { receiver: socket, losses, announced, .. } = family;
            let local = socket.local().ip();
            let left = limit.saturating_sub(total.frames + total.malformed).min(unpacking.patience());
            let before = batch.len();
            let (received, error) = receiver.recv(socket.as_fd(), pool, batch, left, |frame, message| {
                let arrival = Arrival::of(message);
                total.lost += losses.advance(arrival.losses);
                let described = describe(frame, message, &arrival, local);
                if described && !message.truncated {
                    unpacking.note(arrival.segment);
                }
                described
            });
            total.malformed += received.malformed;
            // Behind an error there may be more.
            let more = received.more || error.is_some();
            total.more |= more;
            *announced &= more;
            let left_out = unpacking.unpack(before, batch, pool);
            total.lost += left_out.lost;
            total.strangers += left_out.strangers;
            total.frames += batch.len().saturating_sub(before);
            // Any other error was waiting on the socket and is gone by having been read.
            if let Some(error) = error.filter(|error| Refusal::of(error) == Refusal::Gone) {
                return Err(error);
            }
        }
        Ok(total)
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        let (sent, gone) = self.departure.send(&self.families, batch);
        pool.give_all(batch.drain(..));
        gone.map_or(Ok(sent), |error| Err(Gone { sent, error }))
    }

    fn announce(&mut self, descriptor: usize) {
        if let Some(family) = self.families.get_mut(descriptor) {
            family.announced = true;
        }
    }

    fn trust(&mut self, peers: &Peers) {
        self.unpacking.trust(peers);
    }

    fn losses(&mut self) -> u64 {
        self.families.iter_mut().map(|family| family.losses.look(family.receiver.as_fd())).sum()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { tso: self.departure.takes_whole(), ..Capabilities::default() }
    }

    fn descriptors(&self) -> Vec<RawFd> {
        self.families.iter().map(|family| family.receiver.as_fd().as_raw_fd()).collect()
    }
}

/// Writes down where a datagram came from; false where the kernel did not say.
fn describe(frame: &mut Frame, message: &Message<'_>, arrival: &Arrival, local: IpAddr) -> bool {
    let Some(from) = message.from.socket_addr() else { return false };
    frame.outer = Some(Outer {
        peer: from.ip(),
        local: arrival.local.unwrap_or(local),
        source_port: from.port(),
        tos: arrival.tos,
    });
    true
}

/// The places of those senders that are the own ones of queue `number` of `count`: all of them where none would be.
fn own_senders(senders: &[UdpSocket], number: usize, count: usize, affinity: bool) -> Vec<usize> {
    let is_own = |sender: &UdpSocket| usize::from(sender.local().port()).checked_rem(count) == Some(number);
    let own: Vec<usize> =
        (0..).zip(senders).filter(|(_, sender)| is_own(sender)).map(|(place, _)| place).collect();
    if own.is_empty() || !affinity { (0..senders.len()).collect() } else { own }
}

/// Sockets on source ports chosen at random, so that a stranger cannot foresee them.
fn senders(local: IpAddr, config: &UdpConfig, shared: bool) -> io::Result<Vec<UdpSocket>> {
    let start = RandomState::new().hash_one(local) as u16 % SOURCE_PORTS;
    // An odd stride visits every port of a range whose size is a power of two.
    let stride = RandomState::new().hash_one(config.port) as u16 | 1;
    let mut sockets = Vec::with_capacity(config.source_ports);
    for turn in 0..SOURCE_PORTS {
        if sockets.len() == config.source_ports {
            break;
        }
        let offset = start.wrapping_add(stride.wrapping_mul(turn)) % SOURCE_PORTS;
        let port = FIRST_SOURCE_PORT.saturating_add(offset);
        let at = SocketAddr::new(local, port);
        if port == config.port {
            continue;
        }
        // Nobody's but ours: what arrives at a sender is discarded, so that it may join no other program's port.
        let free = if shared { udp_socket::is_free(at) } else { Ok(()) };
        match free.and_then(|()| UdpSocket::sender(at, sums(config.checksum, local), shared)) {
            Ok(socket) => sockets.push(socket),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(explain(at, &error)),
        }
    }
    if sockets.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("every UDP port from {FIRST_SOURCE_PORT} of {local} is taken"),
        ));
    }
    Ok(sockets)
}

/// Whether outer checksums are sent over the family of an address, where they are `wanted` or not.
fn sums(wanted: bool, address: IpAddr) -> bool {
    wanted || address.is_ipv6()
}

/// Why the port of an address cannot be had, for people.
pub(super) fn explain(at: SocketAddr, error: &io::Error) -> io::Error {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            ": another weir or a kernel vxlan device holds the port; `ss -lunp 'sport = :{0}'` shows a process, \
             `ip -d link show type vxlan` a device with dstport {0}",
            at.port()
        ),
        io::ErrorKind::AddrNotAvailable => {
            ": no interface here has this address (`ip address` lists them)".to_owned()
        }
        _ => String::new(),
    };
    io::Error::new(error.kind(), format!("cannot use UDP {at} as underlay{reason} ({error})"))
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests;
