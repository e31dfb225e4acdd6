//! Messages by which one pod could configure another, or the node: they are never forwarded.

use vxlan::mtu::Family;
use vxlan::wire::headers::{IpHeaders, L4};

const DHCPV4_SERVER: u16 = 67;
const DHCPV4_CLIENT: u16 = 68;
const DHCPV6_SERVER: u16 = 547;
const DHCPV6_CLIENT: u16 = 546;

/// True for the ports of DHCP, of either family and side.
pub const fn is_dhcp(port: u16) -> bool {
    matches!(port, DHCPV4_SERVER | DHCPV4_CLIENT | DHCPV6_CLIENT | DHCPV6_SERVER)
}

/// True for what only a router or configuration server may say (CVE-2020-10749): ICMP redirects of either
/// family, router advertisements (ICMPv6; RFC 1256 for IPv4), and the server side of DHCP. `bytes` is the
/// frame.
///
/// A client believes a DHCP message by its destination port and its type, so the type counts as well as the
/// source port. The headers are those behind all extension headers, and of a fragmented packet the first
/// fragment holds them whole, so neither hides a message.
pub fn is_rogue_control(headers: &IpHeaders, bytes: &[u8]) -> bool {
    match headers.l4 {
        // Redirect, router advertisement.
        L4::Icmp { icmp_type, .. } => matches!(icmp_type, 5 | 9),
        L4::Icmpv6 { icmp_type, .. } => matches!(icmp_type, 134 | 137),
        L4::Udp { src_port, dst_port } => {
            let message = usize::from(headers.l4_offset).checked_add(8).and_then(|at| bytes.get(at).copied());
            match headers.family {
                // BOOTREPLY
                Family::V4 => src_port == DHCPV4_SERVER || dst_port == DHCPV4_CLIENT && message == Some(2),
                // ADVERTISE, REPLY, RECONFIGURE
                Family::V6 => {
                    src_port == DHCPV6_SERVER
                        || dst_port == DHCPV6_CLIENT && matches!(message, Some(2 | 7 | 10))
                }
            }
        }
        _ => false,
    }
}
