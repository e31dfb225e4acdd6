//! What may leave the node, said without the pipeline's help.
//!
//! A frame leaves only where its destination is, and its source only came from where that is. It belongs to a connection
//! that the policy allows from its opening packet on: either the policy allows the frame itself, or it answers one
//! that came in before and was allowed (whether or not it then found its way: a TTL of 0 comes after policy). ICMP
//! errors need what they quote to be such a connection, later fragments some connection of their ends.

use std::collections::HashSet;
use std::net::IpAddr;

use dataplane::conntrack::Tuple;
use dataplane::respond::{embedded, is_icmp_error, is_ndp};
use vxlan::wire::headers::{IpHeaders, L4, Network, parse};

use super::Place;
use super::node::{MTU, Node, V4, V6};

const SYN_ACK_RST_FIN: u8 = 0x17;
const SYN: u8 = 0x02;

/// A frame that left, inner where it left through the tunnel.
pub(super) struct Sent {
    pub(super) place: Place,
    pub(super) bytes: Vec<u8>,
    pub(super) is_super_packet: bool,
}

/// The connections that the policy allowed so far.
#[derive(Default)]
pub(super) struct Oracle {
    opened: HashSet<Tuple>,
}

impl Oracle {
    /// Takes note of a frame that came in at `from`, inner where it came through the tunnel.
    pub(super) fn arrives(&mut self, node: &Node, from: Place, bytes: &[u8], is_super_packet: bool) {
        let Ok(headers) = parse(bytes, is_super_packet) else { return };
        if let Network::Ip(ip) = headers.net
            && place_of(ip.src) == from
        {
            self.opens(node, &ip);
        }
    }

    /// Holds what left in one batch, which came in at `from`, to the rules.
    pub(super) fn check(&mut self, node: &Node, from: Place, sent: &[Sent]) {
        let mut others = Vec::new();
        for frame in sent {
            let headers = parse(&frame.bytes, frame.is_super_packet);
            let Ok(headers) = headers else { panic!("no packet is sent: {headers:?} {:02x?}", frame.bytes) };
            let ip = match headers.net {
                Network::Arp => {
                    assert!(frame.place == from, "ARP is answered, never forwarded");
                    continue;
                }
                Network::Ip(ip) => ip,
            };
            // What a pod sends to itself goes back to it.
            let to_itself = place_of(ip.dst) == from && place_of(ip.src) == from;
            if frame.place == from && !(to_itself && from != Place::Node) {
                assert!(is_ndp(&ip) || is_own_error(&ip), "sent back to where it came from: {ip:?}");
                continue;
            }
            assert!(!is_ndp(&ip), "neighbour discovery is never forwarded");
            assert!(frame.is_super_packet || ip.ip_len <= u32::from(MTU), "{} bytes of IP", ip.ip_len);
            assert!(place_of(ip.dst) == frame.place, "{} left to {:?}", ip.dst, frame.place);
            if !is_icmp_error(&ip) {
                assert!(place_of(ip.src) == from, "{} came from {from:?}", ip.src);
            }
            if !self.opens(node, &ip) {
                others.push((ip, frame));
            }
        }
        for (ip, frame) in others {
            let known =
                |tuple: Tuple| self.opened.contains(&tuple) || self.opened.contains(&tuple.reversed());
            let fits = if ip.l4 == L4::LaterFragment {
                self.opened.iter().any(|tuple| {
                    let ends = (tuple.src(), tuple.dst());
                    tuple.protocol() == ip.protocol && (ends == (ip.src, ip.dst) || ends == (ip.dst, ip.src))
                })
            } else if is_icmp_error(&ip) {
                embedded(&ip, &frame.bytes)
                    .and_then(|quoted| {
                        let (src, dst, id) = (quoted.src, quoted.dst, quoted.src_port);
                        match quoted.protocol {
                            1 | 58 => Tuple::icmp_echo(src, dst, quoted.protocol, id, quoted.is_echo_request),
                            protocol => Tuple::new(src, dst, protocol, id, quoted.dst_port),
                        }
                    })
                    .is_some_and(known)
            } else {
                tuple(&ip).is_some_and(known)
            };
            assert!(fits, "left to {:?} from {from:?} against the policy: {ip:?}", frame.place);
        }
    }

    /// Whether the packet is of a connection the policy allows in this direction; then that is open.
    fn opens(&mut self, node: &Node, ip: &IpHeaders) -> bool {
        if ip.l4 == L4::LaterFragment || is_icmp_error(ip) {
            return false;
        }
        let Some(tuple) = tuple(ip) else { return false };
        if self.opened.contains(&tuple) {
            return true;
        }
        let starts = match ip.l4 {
            L4::Tcp { flags, .. } => flags & SYN_ACK_RST_FIN == SYN,
            L4::Icmp { icmp_type: 0, code: 0, .. } | L4::Icmpv6 { icmp_type: 129, code: 0, .. } => false,
            _ => true,
        };
        // From the overlay the node takes only answers.
        let to_node = place_of(ip.src) == Place::Underlay && place_of(ip.dst) == Place::Node;
        let allowed = starts && !to_node && node.allows(ip.src, ip.dst, ip.protocol, ports(ip.l4));
        if allowed {
            self.opened.insert(tuple);
        }
        allowed
    }
}

/// weir's own word to the sender, from the gateway.
fn is_own_error(ip: &IpHeaders) -> bool {
    is_icmp_error(ip) && [IpAddr::from(V4[4]), IpAddr::from(V6[4])].contains(&ip.src)
}

/// Behind which port an address is.
fn place_of(address: IpAddr) -> Place {
    let ours =
        |position: usize| address == IpAddr::from(V4[position]) || address == IpAddr::from(V6[position]);
    let in_b = match address {
        IpAddr::V4(address) => address.octets()[..3] == [10, 244, 2],
        IpAddr::V6(address) => address.segments()[..4] == [0xfd00, 0x244, 2, 0],
    };
    match () {
        () if ours(0) => Place::Blue,
        () if ours(1) => Place::Green,
        () if in_b => Place::Underlay,
        () => Place::Node,
    }
}

/// As the classifier has them: type and code of ICMP are its destination port.
fn ports(l4: L4) -> (u16, u16) {
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

fn tuple(ip: &IpHeaders) -> Option<Tuple> {
    match ip.l4 {
        // With any other code it is no echo.
        L4::Icmp { icmp_type: kind @ (0 | 8), code: 0, id }
        | L4::Icmpv6 { icmp_type: kind @ (128 | 129), code: 0, id } => {
            Tuple::icmp_echo(ip.src, ip.dst, ip.protocol, id, matches!(kind, 8 | 128))
        }
        l4 => {
            let (src_port, dst_port) = ports(l4);
            Tuple::new(ip.src, ip.dst, ip.protocol, src_port, dst_port)
        }
    }
}
