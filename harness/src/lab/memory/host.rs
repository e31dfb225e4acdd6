//! A host of the lab: a smoltcp TCP/IP stack on a memory wire, with the servers every end runs.
//!
//! Answers ARP, neighbour discovery and echo requests as any host, and verifies every checksum. Nothing here
//! waits: [`Host::round`] does what can be done at a given time, [`Host::next_event`] says when to come again.

use std::io;
use std::net::IpAddr;

use dataplane::buffer::Frame;
use dataplane::respond;
use dataplane::time::Timestamp;
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Address, Ipv6Address};
use vxlan::mac::Mac;

use super::server::Servers;
use super::wire::Wire;
use crate::lab::plan::Family;
use crate::lab::scenario::Place;

/// First of the source ports of a host's clients (RFC 6335 section 6).
const FIRST_SRC_PORT: u16 = 49_152;

/// What a host is made of.
#[derive(Debug, Clone)]
pub(super) struct HostPlan {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) mac: Mac,
    pub(super) v4: IpAddr,
    pub(super) v6: IpAddr,
    /// Default gateways of both families, where it has any.
    pub(super) gateway: Option<(Ipv4Address, Ipv6Address)>,
}

/// A host.
pub(super) struct Host {
    pub(super) plan: HostPlan,
    pub(super) wire: Wire,
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
    servers: Servers,
    src_port: u16,
}

/// The time as smoltcp has it.
pub(super) fn instant(now: Timestamp) -> Instant {
    Instant::from_micros(i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX))
}

fn timestamp(at: Instant) -> Timestamp {
    Timestamp::from_nanos(u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1_000))
}

impl Host {
    /// A host that is up, its servers listening. `seed` fixes what is random about it.
    pub(super) fn new(plan: HostPlan, mut wire: Wire, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(plan.mac.0)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // One of each family is what smoltcp has places for.
            let _ = addresses.push(IpCidr::new(plan.v4.into(), 24));
            let _ = addresses.push(IpCidr::new(plan.v6.into(), 64));
        });
        if let Some((v4, v6)) = plan.gateway {
            let routes = interface.routes_mut();
            let _ = routes.add_default_ipv4_route(v4);
            let _ = routes.add_default_ipv6_route(v6);
        }
        let mut sockets = SocketSet::new(Vec::new());
        let servers = Servers::start(&mut sockets);
        Self { plan, wire, interface, sockets, servers, src_port: FIRST_SRC_PORT }
    }

    /// Its address in a family.
    pub(super) fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.plan.v4,
            Family::V6 => self.plan.v6,
        }
    }

    /// A source port for a client, a different one each time until all have been used.
    pub(super) fn fresh_src_port(&mut self) -> u16 {
        let port = self.src_port;
        self.src_port = port.checked_add(1).unwrap_or(FIRST_SRC_PORT);
        port
    }

    /// Asks for the MACs of addresses on its own network. smoltcp itself asks for one a second, and probes would wait
    /// for that rather than for weir.
    pub(super) fn ask_for(&mut self, neighbours: &[IpAddr]) {
        for neighbour in neighbours {
            let mut question = Frame::new();
            match (*neighbour, self.plan.v4, self.plan.v6) {
                (IpAddr::V4(target), IpAddr::V4(own), _) => {
                    respond::arp_request(&mut question, self.plan.mac, own, target);
                }
                (IpAddr::V6(target), _, IpAddr::V6(own)) => {
                    respond::ns_request(&mut question, self.plan.mac, own, target);
                }
                _ => continue,
            }
            self.wire.send(question.bytes().to_vec());
        }
    }

    /// Receives, serves and sends what there is at `now`. Returns how many frames moved.
    pub(super) fn round(&mut self, now: Timestamp) -> io::Result<usize> {
        let at = instant(now);
        let received = self.wire.receive()?;
        self.interface.poll_maintenance(at);
        // One frame at a time: a second SYN must find another listening socket.
        while self.interface.poll_ingress_single(at, &mut self.wire, &mut self.sockets)
            != PollIngressSingleResult::None
        {
            self.servers.round(&mut self.sockets);
        }
        self.servers.round(&mut self.sockets);
        self.send(now)?;
        Ok(received)
    }

    /// Sends what the sockets have to say at `now`.
    pub(super) fn send(&mut self, now: Timestamp) -> io::Result<usize> {
        self.interface.poll_egress(instant(now), &mut self.wire, &mut self.sockets);
        self.wire.flush()
    }

    /// When a timer of this host next ends.
    pub(super) fn next_event(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.interface.poll_at(instant(now), &self.sockets).map(timestamp)
    }
}
