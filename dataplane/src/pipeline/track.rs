//! Track: which connection a packet belongs to.
//!
//! On entry both ends and the L4 ports are known. On exit `tuple` and `signal` say what the packet means to the
//! connection table and `connection` is its entry, if there is one. An ICMP error is related to the connection of
//! the packet it quotes, and only if its receiver really sent that packet (RFC 5927; the "ICMP reachable" hole of
//! 2019): otherwise it is dropped here. Nothing is opened or changed; `policy` does that.

use vxlan::wire::headers::{IpHeaders, L4};

use super::Pipeline;
use super::fragment;
use super::packet::Packet;
use crate::conntrack::{ConnId, ConnTable, Dir, Signal, Tuple};
use crate::drop_reason::DropReason;
use crate::respond;
use crate::tables::{Generation, Party};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The tuples of one batch and their connections, in the order of the packets; kept for its capacity.
#[derive(Default)]
pub(super) struct Lookups {
    tuples: Vec<Tuple>,
    found: Vec<Option<(ConnId, Dir)>>,
}

impl Lookups {
    fn clear(&mut self) {
        self.tuples.clear();
        self.found.clear();
    }

    /// Looks all of them up at once, so that the waits for memory overlap.
    fn answer(&mut self, connections: &ConnTable) {
        self.found.resize(self.tuples.len(), None);
        connections.lookup_batch(&self.tuples, &mut self.found);
    }
}

impl Pipeline {
    pub(super) fn track(&mut self, packets: &mut [Packet]) {
        let mut lookups = std::mem::take(&mut self.lookups);
        lookups.clear();
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            let Some(ip) = packet.ip else {
                packet.drop(DropReason::BadHeader);
                continue;
            };
            if respond::is_icmp_error(&ip) {
                match self.related(packet, &ip) {
                    Some((tuple, connection)) => {
                        packet.related = true;
                        packet.tuple = Some(tuple);
                        packet.connection = Some(connection);
                    }
                    None => packet.drop(DropReason::IcmpUnrelated),
                }
                continue;
            }
            packet.tuple = tuple(&ip, packet.l4);
            packet.signal = if fragment::is_later(ip.l4) { Signal::Continuation } else { signal(packet.l4) };
            match &packet.tuple {
                Some(tuple) => lookups.tuples.push(*tuple),
                None => packet.drop(DropReason::BadHeader),
            }
        }
        lookups.answer(&self.connections);
        let asked = packets.iter_mut().filter(|packet| packet.is_live() && !packet.related);
        for (packet, found) in asked.zip(&lookups.found) {
            packet.connection = *found;
        }
        self.lookups = lookups;
    }

    /// The connection an ICMP error is about.
    fn related(&self, packet: &Packet, ip: &IpHeaders) -> Option<(Tuple, (ConnId, Dir))> {
        let generation = self.generation.as_deref()?;
        let tuple = quoted(generation, packet.source, ip, packet.frame.bytes())?;
        let connection = self.connections.lookup(&tuple)?;
        Some((tuple, connection))
    }
}

/// What identifies the connection that an ICMP error in `frame` is about, if `source` may speak of it. `embedded` vouches
/// that the quoted packet was sent by the error's receiver. A pod is nobody's router: of a packet that was not sent to it,
/// it has nothing to say, and what it says all the same would reach a peer that its own policy forbids.
pub(super) fn quoted(generation: &Generation, source: Party, ip: &IpHeaders, frame: &[u8]) -> Option<Tuple> {
    let quoted = respond::embedded(ip, frame)?;
    let from_router = || match source {
        Party::Pod(_) => false,
        // Another node is a router towards its pods.
        Party::Vtep(_) => generation.is_node_address(ip.src),
        Party::Node | Party::Outside | Party::Unreachable | Party::Nobody | Party::Conflict => true,
    };
    if ip.src != quoted.dst && !from_router() {
        return None;
    }
    match quoted.protocol {
        ICMP | ICMPV6 => {
            let (src, dst) = (quoted.src, quoted.dst);
            Tuple::icmp_echo(src, dst, quoted.protocol, quoted.src_port, quoted.is_echo_request)
        }
        protocol => Tuple::new(quoted.src, quoted.dst, protocol, quoted.src_port, quoted.dst_port),
    }
}

/// What identifies the connection of a packet.
fn tuple(ip: &IpHeaders, l4: L4) -> Option<Tuple> {
    match l4 {
        L4::Tcp { src_port, dst_port, .. }
        | L4::Udp { src_port, dst_port }
        | L4::Sctp { src_port, dst_port, .. } => Tuple::new(ip.src, ip.dst, ip.protocol, src_port, dst_port),
        // Echo is what has code 0: any other code is asked for, and allowed, by itself.
        L4::Icmp { icmp_type: icmp_type @ (0 | 8), code: 0, id } => {
            Tuple::icmp_echo(ip.src, ip.dst, ip.protocol, id, icmp_type == 8)
        }
        L4::Icmpv6 { icmp_type: icmp_type @ (128 | 129), code: 0, id } => {
            Tuple::icmp_echo(ip.src, ip.dst, ip.protocol, id, icmp_type == 128)
        }
        L4::Icmp { icmp_type, code, .. } | L4::Icmpv6 { icmp_type, code, .. } => {
            Tuple::new(ip.src, ip.dst, ip.protocol, 0, u16::from_be_bytes([icmp_type, code]))
        }
        L4::Other | L4::LaterFragment => Tuple::new(ip.src, ip.dst, ip.protocol, 0, 0),
    }
}

/// What a packet says to the state of its connection.
fn signal(l4: L4) -> Signal {
    match l4 {
        L4::Tcp { flags, .. } => Signal::Tcp { flags },
        L4::Udp { .. } => Signal::Udp,
        L4::Sctp { chunk, .. } => Signal::Sctp { chunk },
        L4::Icmp { icmp_type: icmp_type @ (0 | 8), code: 0, .. } => {
            Signal::IcmpEcho { request: icmp_type == 8 }
        }
        L4::Icmpv6 { icmp_type: icmp_type @ (128 | 129), code: 0, .. } => {
            Signal::IcmpEcho { request: icmp_type == 128 }
        }
        L4::Icmp { .. } | L4::Icmpv6 { .. } | L4::Other | L4::LaterFragment => Signal::Other,
    }
}

/// The classifier's view of a packet's L4 ports: for ICMP, type and code stand in the destination port.
pub(super) fn policy_ports(l4: L4) -> (u16, u16) {
    match l4 {
        L4::Tcp { src_port, dst_port, .. }
        | L4::Udp { src_port, dst_port }
        | L4::Sctp { src_port, dst_port, .. } => (src_port, dst_port),
        L4::Icmp { icmp_type, code, .. } | L4::Icmpv6 { icmp_type, code, .. } => {
            (0, u16::from_be_bytes([icmp_type, code]))
        }
        L4::Other | L4::LaterFragment => (0, 0),
    }
}
