//! An end: a smoltcp TCP/IP stack behind a network card, for clients or for servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use vxlan::mac::Mac;

use super::nic::Nic;

/// The largest window without scaling.
const MOST_BUFFER: usize = 65_535;
const LEAST_BUFFER: usize = 2_048;

/// Who an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// Its MAC.
    pub mac: Mac,
    /// Its address.
    pub address: IpAddr,
    /// MAC of the next hop; where there is none, the one from which the first segment comes.
    pub next_hop: Option<Mac>,
    /// Largest IP packet.
    pub mtu: usize,
}

/// An end that is up.
pub(super) struct End {
    pub(super) nic: Nic,
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
}

impl End {
    /// That of `card`, which talks from L4 port `port` (0: from any) to `peer`.
    pub(super) fn new(card: &Card, port: u16, peer: SocketAddr, seed: u64) -> Self {
        let own = SocketAddr::new(card.address, port);
        let mut nic = Nic::new(own, peer, card.mtu, card.next_hop);
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(card.mac.0)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut nic, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // All addresses are a hop away: the next hop's MAC is known, and that of all.
            let _ = addresses.push(IpCidr::new(card.address.into(), 0));
        });
        Self { nic, interface, sockets: SocketSet::new(Vec::new()) }
    }

    /// Hands what has come to the sockets.
    pub(super) fn take(&mut self, now: Duration) {
        let at = instant(now);
        self.interface.poll_maintenance(at);
        while self.interface.poll_ingress_single(at, &mut self.nic, &mut self.sockets)
            != PollIngressSingleResult::None
        {}
    }

    /// Sends what the sockets have to say.
    pub(super) fn say(&mut self, now: Duration) {
        self.interface.poll_egress(instant(now), &mut self.nic, &mut self.sockets);
    }
}

/// A socket that sends messages of one size and receives those of another.
pub(super) fn socket(sent: usize, received: usize) -> tcp::Socket<'static> {
    let buffer = |size: usize| tcp::SocketBuffer::new(vec![0; size.clamp(LEAST_BUFFER, MOST_BUFFER)]);
    let mut socket = tcp::Socket::new(buffer(received), buffer(sent));
    socket.set_nagle_enabled(false);
    // Whoever has said goodbye waits for the acknowledgement alone.
    socket.set_ack_delay(None);
    socket.set_timeout(Some(smoltcp::time::Duration::from_millis(super::TIMEOUT.as_millis() as u64)));
    socket
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
