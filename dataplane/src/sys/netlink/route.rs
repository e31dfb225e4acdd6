//! Routes of the main table.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType, RouteVia,
};

use super::address::family;
use super::{Netlink, REPLACE, os_error};

/// A unicast route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to; host bits are cleared.
    pub dst: IpNet,
    /// The next hop; none for what is on the link itself.
    pub via: Option<IpAddr>,
    /// Index of the link it leaves by.
    pub dev: u32,
    /// The next hop is on the link though no prefix says so, as flannel's is.
    pub onlink: bool,
    /// The source address the host takes for it.
    pub src: Option<IpAddr>,
    /// Largest packet along it.
    pub mtu: Option<u32>,
}

impl Route {
    /// A route to `dst` by the link `dev`, with nothing else said.
    pub fn to(dst: IpNet, dev: u32) -> Self {
        Self { dst, via: None, dev, onlink: false, src: None, mtu: None }
    }

    /// The same by the next hop `via`.
    #[must_use]
    pub fn via(self, via: IpAddr) -> Self {
        Self { via: Some(via), ..self }
    }
}

/// Where the host would send a packet next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// Index of the link.
    pub dev: u32,
    /// The neighbour on that link: a router, or the destination itself.
    pub neighbour: IpAddr,
}

impl Netlink {
    /// Where the host sends what goes from its own address `src` to `dst`; `None` where it has no unicast route.
    pub fn next_hop(&self, dst: IpAddr, src: IpAddr) -> io::Result<Option<NextHop>> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(dst);
        let whole = if dst.is_ipv4() { 32 } else { 128 };
        message.header.destination_prefix_length = whole;
        message.header.source_prefix_length = whole;
        message.attributes =
            vec![RouteAttribute::Destination(dst.into()), RouteAttribute::Source(src.into())];
        let answers =
            match self.request(|| format!("look up the route to {dst}"), Message::GetRoute(message), 0) {
                Ok(answers) => answers,
                Err(error) => {
                    return match os_error(&error) {
                        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) => {
                            Ok(None)
                        }
                        _ => Err(error),
                    };
                }
            };
        Ok(answers.iter().find_map(|answer| match answer {
            Message::NewRoute(route) if route.header.kind == RouteType::Unicast => next_hop_of(route, dst),
            _ => None,
        }))
    }

    /// Adds the route, in place of one to the same destination.
    pub fn add_route(&self, route: &Route) -> io::Result<()> {
        let dst = route.dst.trunc();
        let mut message = RouteMessage::default();
        message.header.address_family = family(dst.addr());
        message.header.destination_prefix_length = dst.prefix_len();
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Static;
        message.header.scope =
            if route.via.is_some() || dst.addr().is_ipv6() { RouteScope::Universe } else { RouteScope::Link };
        message.header.kind = RouteType::Unicast;
        if route.onlink {
            message.header.flags = RouteFlags::Onlink;
        }
        let attributes = &mut message.attributes;
        // A default route has no destination attribute.
        if dst.prefix_len() > 0 {
            attributes.push(RouteAttribute::Destination(dst.addr().into()));
        }
        attributes.extend(route.via.map(|via| RouteAttribute::Gateway(via.into())));
        attributes.push(RouteAttribute::Oif(route.dev));
        attributes.extend(route.src.map(|src| RouteAttribute::PrefSource(src.into())));
        attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
        self.request(
            || format!("add a route to {dst} by link {}", route.dev),
            Message::NewRoute(message),
            REPLACE,
        )
        .map(drop)
    }
}

fn next_hop_of(route: &RouteMessage, dst: IpAddr) -> Option<NextHop> {
    let (mut dev, mut neighbour) = (None, dst);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => dev = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address))
            | RouteAttribute::Via(RouteVia::Inet(address)) => {
                neighbour = (*address).into();
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(address))
            | RouteAttribute::Via(RouteVia::Inet6(address)) => neighbour = (*address).into(),
            _ => {}
        }
    }
    Some(NextHop { dev: dev?, neighbour })
}
