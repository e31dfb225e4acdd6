//! Routes of the main table.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};

use super::address::family;
use super::{Netlink, REPLACE};

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

impl Netlink {
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
