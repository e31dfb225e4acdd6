//! Configured neighbours: permanent entries of the neighbour table and of a vxlan device's FDB.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};

use super::address::family;
use super::{Netlink, REPLACE};

impl Netlink {
    /// Says for good that `ip` has `mac` on the link, in place of an earlier entry.
    pub fn add_neighbour(&self, index: u32, ip: IpAddr, mac: [u8; 6]) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.attributes = vec![
            NeighbourAttribute::Destination(ip.into()),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.request(
            || format!("add neighbour {ip} to link {index}"),
            Message::NewNeighbour(message),
            REPLACE,
        )
        .map(drop)
    }

    /// Says for good which VTEP has `mac`: `bridge fdb replace MAC dev X dst IP self permanent`.
    pub fn add_fdb(&self, index: u32, mac: [u8; 6], dst: IpAddr) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = index;
        message.header.state = NeighbourState::Permanent;
        message.header.flags = NeighbourFlags::Own;
        message.attributes = vec![
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
            NeighbourAttribute::Destination(dst.into()),
        ];
        self.request(|| format!("add VTEP {dst} to link {index}"), Message::NewNeighbour(message), REPLACE)
            .map(drop)
    }
}
