//! Addresses of links.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};

use super::{Netlink, REPLACE};

impl Netlink {
    /// Gives the link an address; `net` keeps its host bits. One that is there already is no error.
    ///
    /// IPv6 addresses are usable at once: duplicate address detection would hold them back for a second.
    pub fn add_address(&self, index: u32, net: IpNet) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(net.addr());
        message.header.prefix_len = net.prefix_len();
        message.header.index = index;
        message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
        if net.addr().is_ipv6() {
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.request(|| format!("add {net} to link {index}"), Message::NewAddress(message), REPLACE).map(drop)
    }

    /// The link's addresses with their prefixes, in the kernel's order, link-local ones among them.
    pub fn addresses(&self, index: u32) -> io::Result<Vec<IpNet>> {
        let messages = self.dump("list addresses", Message::GetAddress(AddressMessage::default()))?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                Message::NewAddress(message) if message.header.index == index => address_of(message),
                _ => None,
            })
            .collect())
    }
}

pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// On a point-to-point link `IFA_ADDRESS` is the far end and `IFA_LOCAL` the own one; elsewhere they are
/// equal, and IPv6 sends only the first.
fn address_of(message: &AddressMessage) -> Option<IpNet> {
    let (mut local, mut address) = (None, None);
    for attribute in &message.attributes {
        match *attribute {
            AddressAttribute::Local(own) => local = Some(own),
            AddressAttribute::Address(any) => address = Some(any),
            _ => {}
        }
    }
    IpNet::new(local.or(address)?, message.header.prefix_len).ok()
}
