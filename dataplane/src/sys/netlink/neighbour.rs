//! Neighbours: what the kernel has found out, and permanent entries of the neighbour table and of a vxlan device's FDB.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use super::address::family;
use super::{Netlink, REPLACE};

/// A neighbour of a link, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its address.
    pub ip: IpAddr,
    /// Its MAC, while the kernel would send there (`NUD_VALID`).
    pub mac: Option<[u8; 6]>,
    /// Whether the kernel has heard of it of late, or is asking, or never asks. Otherwise it wants to be
    /// [asked for](Netlink::ask_for_neighbour).
    pub fresh: bool,
}

impl Netlink {
    /// The neighbours of a link, both families.
    pub fn neighbours(&self, index: u32) -> io::Result<Vec<Neighbour>> {
        let messages = self.dump("list neighbours", Message::GetNeighbour(NeighbourMessage::default()))?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                Message::NewNeighbour(message) if message.header.ifindex == index => neighbour_of(message),
                _ => None,
            })
            .collect())
    }

    /// Has the kernel find out the MAC of `ip`, as if it had a packet to send there.
    pub fn ask_for_neighbour(&self, index: u32, ip: IpAddr) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(ip);
        message.header.ifindex = index;
        message.header.flags = NeighbourFlags::Use;
        message.attributes = vec![NeighbourAttribute::Destination(ip.into())];
        self.request(
            || format!("ask for neighbour {ip} of link {index}"),
            Message::NewNeighbour(message),
            NLM_F_CREATE,
        )
        .map(drop)
    }

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

fn neighbour_of(message: &NeighbourMessage) -> Option<Neighbour> {
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => ip = Some((*address).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => ip = Some((*address).into()),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let (valid, fresh) = match message.header.state {
        NeighbourState::Reachable
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Permanent
        | NeighbourState::Noarp => (true, true),
        NeighbourState::Stale => (true, false),
        NeighbourState::Incomplete => (false, true),
        _ => (false, false),
    };
    Some(Neighbour { ip: ip?, mac: mac.filter(|_| valid), fresh })
}
