//! Links: what there is, and the kinds weir and its labs make (veth, bridge, dummy, vxlan).

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp,
    XdpAttached,
};

use super::{CREATE, Netlink, os_error};
use crate::sys::netns::Netns;

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Interface index, of this namespace.
    pub index: u32,
    /// Interface name.
    pub name: String,
    /// Hardware address; zero for a link without one.
    pub mac: [u8; 6],
    /// Largest packet, without the Ethernet header.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Something is at the other end: of a TAP, a process that holds it.
    pub carrier: bool,
    /// Driver (`veth`, `tun`, `vxlan`, …); none for loopback and hardware.
    pub kind: Option<String>,
    /// Index of the bridge or bond it belongs to.
    pub master: Option<u32>,
    /// An XDP program is attached to it.
    pub xdp: bool,
}

/// A vxlan device as flannel makes it: configured neighbours, no learning, no flooding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vxlan<'a> {
    /// Interface name, `flannel.1`.
    pub name: &'a str,
    /// VXLAN network identifier, 24 bits.
    pub vni: u32,
    /// UDP port it listens on and sends to; flannel's is 8472.
    pub port: u16,
    /// Own address on the underlay; its family is that of the outer header.
    pub local: IpAddr,
    /// Index of the underlay interface.
    pub dev_index: u32,
    /// Whether it learns from what it receives.
    pub learning: bool,
    /// The VtepMAC; the kernel takes a random one where none is given.
    pub mac: Option<[u8; 6]>,
}

impl Netlink {
    /// The link called `name`.
    pub fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let message = with(0, vec![LinkAttribute::IfName(name.to_owned())]);
        self.find_link(&format!("look for link {name}"), message)
    }

    /// The link with that index.
    pub fn link_by_index(&self, index: u32) -> io::Result<Option<Link>> {
        self.find_link(&format!("look for link {index}"), with(index, Vec::new()))
    }

    /// All links of the namespace.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        let messages = self.dump("list links", Message::GetLink(LinkMessage::default()))?;
        Ok(messages.iter().filter_map(link_of).collect())
    }

    /// Takes the link up or down.
    pub fn set_up(&self, index: u32, up: bool) -> io::Result<()> {
        let mut message = with(index, Vec::new());
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        let what = if up { "up" } else { "down" };
        self.set_link(|| format!("set link {index} {what}"), message)
    }

    /// Gives the link a hardware address.
    pub fn set_mac(&self, index: u32, mac: [u8; 6]) -> io::Result<()> {
        let message = with(index, vec![LinkAttribute::Address(mac.to_vec())]);
        self.set_link(|| format!("set the MAC of link {index}"), message)
    }

    /// Sets the largest packet of the link.
    pub fn set_mtu(&self, index: u32, mtu: u32) -> io::Result<()> {
        let message = with(index, vec![LinkAttribute::Mtu(mtu)]);
        self.set_link(|| format!("set the MTU of link {index} to {mtu}"), message)
    }

    /// Sets how long a TCP super-packet may be that the stack hands to the link. Below 64 KiB this holds for IPv4 too.
    pub fn set_gso_max(&self, index: u32, bytes: u32) -> io::Result<()> {
        let message = with(index, vec![LinkAttribute::GsoMaxSize(bytes)]);
        self.set_link(|| format!("set the longest super-packet of link {index} to {bytes}"), message)
    }

    /// Makes the link a port of the bridge `master`, or of none.
    pub fn set_master(&self, index: u32, master: Option<u32>) -> io::Result<()> {
        let message = with(index, vec![LinkAttribute::Controller(master.unwrap_or(0))]);
        self.set_link(|| format!("set the master of link {index}"), message)
    }

    /// Moves the link into another namespace, where it arrives down and without addresses.
    pub fn set_netns(&self, index: u32, netns: &Netns) -> io::Result<()> {
        let message = with(index, vec![LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd())]);
        self.set_link(|| format!("move link {index} to another namespace"), message)
    }

    /// Renames the link, which must be down on kernels before 6.2.
    pub fn rename(&self, index: u32, name: &str) -> io::Result<()> {
        let message = with(index, vec![LinkAttribute::IfName(name.to_owned())]);
        self.set_link(|| format!("rename link {index} to {name}"), message)
    }

    /// Removes the link; for a veth, its peer goes too.
    pub fn delete_link(&self, index: u32) -> io::Result<()> {
        self.request(|| format!("remove link {index}"), Message::DelLink(with(index, Vec::new())), 0)
            .map(drop)
    }

    /// Makes a veth pair, its peer in `peer_netns` from the first moment where one is given.
    pub fn add_veth(&self, name: &str, peer_name: &str, peer_netns: Option<&Netns>) -> io::Result<()> {
        let mut peer = with(0, vec![LinkAttribute::IfName(peer_name.to_owned())]);
        if let Some(netns) = peer_netns {
            peer.attributes.push(LinkAttribute::NetNsFd(netns.as_fd().as_raw_fd()));
        }
        self.add_link(name, InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(peer))), None)
    }

    /// Makes a bridge.
    pub fn add_bridge(&self, name: &str) -> io::Result<()> {
        self.add_link(name, InfoKind::Bridge, None, None)
    }

    /// Makes a dummy link, which swallows what is sent to it.
    pub fn add_dummy(&self, name: &str) -> io::Result<()> {
        self.add_link(name, InfoKind::Dummy, None, None)
    }

    /// Makes a vxlan device.
    pub fn add_vxlan(&self, vxlan: &Vxlan<'_>) -> io::Result<()> {
        let local = match vxlan.local {
            IpAddr::V4(address) => InfoVxlan::Local(address),
            IpAddr::V6(address) => InfoVxlan::Local6(address),
        };
        let data = vec![
            InfoVxlan::Id(vxlan.vni),
            InfoVxlan::Link(vxlan.dev_index),
            local,
            InfoVxlan::Port(vxlan.port),
            InfoVxlan::Learning(vxlan.learning),
        ];
        self.add_link(vxlan.name, InfoKind::Vxlan, Some(InfoData::Vxlan(data)), vxlan.mac)
    }

    /// How many queues a link was made with, for receiving and for sending; fewer may be in use. None where it is gone or
    /// does not say.
    pub fn queues(&self, index: u32) -> io::Result<Option<(u32, u32)>> {
        let what = || format!("look for the queues of link {index}");
        let link = self.request(what, Message::GetLink(with(index, Vec::new())), 0)?;
        let Some(Message::NewLink(link)) = link.first() else { return Ok(None) };
        let find = |wanted: fn(&LinkAttribute) -> Option<u32>| link.attributes.iter().find_map(wanted);
        let rx = find(|attribute| match attribute {
            LinkAttribute::NumRxQueues(count) => Some(*count),
            _ => None,
        });
        let tx = find(|attribute| match attribute {
            LinkAttribute::NumTxQueues(count) => Some(*count),
            _ => None,
        });
        Ok(rx.zip(tx))
    }

    /// The MAC of a veth's peer, in whichever namespace it lives; none for a link that is no veth.
    ///
    /// The peer's namespace is named by the id under which this one knows it, so no path to it is needed.
    ///
    /// # Errors
    /// The link is gone, or its peer's namespace may not be asked (`CAP_NET_ADMIN` there).
    pub fn peer_mac(&self, index: u32) -> io::Result<Option<[u8; 6]>> {
        let what = || format!("look for the peer of link {index}");
        let own = self.request(what, Message::GetLink(with(index, Vec::new())), 0)?;
        let Some(Message::NewLink(own)) = own.first() else { return Ok(None) };
        if link_of_message(own).and_then(|link| link.kind).as_deref() != Some("veth") {
            return Ok(None);
        }
        let (mut peer, mut netns) = (None, None);
        for attribute in &own.attributes {
            match *attribute {
                LinkAttribute::Link(index) if index != 0 => peer = Some(index),
                LinkAttribute::LinkNetNsId(id) => netns = Some(id),
                _ => {}
            }
        }
        let Some(peer) = peer else { return Ok(None) };
        let target = netns.map(LinkAttribute::IfNetnsId).into_iter().collect();
        Ok(self.find_link(&what(), with(peer, target))?.map(|link| link.mac))
    }

    fn find_link(&self, what: &str, message: LinkMessage) -> io::Result<Option<Link>> {
        match self.request(|| what.to_owned(), Message::GetLink(message), 0) {
            Ok(answers) => Ok(answers.iter().find_map(link_of)),
            Err(error) if os_error(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_link(&self, what: impl FnOnce() -> String, message: LinkMessage) -> io::Result<()> {
        self.request(what, Message::SetLink(message), 0).map(drop)
    }

    fn add_link(
        &self,
        name: &str,
        kind: InfoKind,
        data: Option<InfoData>,
        mac: Option<[u8; 6]>,
    ) -> io::Result<()> {
        let what = format!("make {kind} link {name}");
        let mut about = vec![LinkInfo::Kind(kind)];
        about.extend(data.map(LinkInfo::Data));
        let mut attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(about)];
        attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        self.request(|| what, Message::NewLink(with(0, attributes)), CREATE).map(drop)
    }
}

fn with(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn link_of(message: &Message) -> Option<Link> {
    match message {
        Message::NewLink(message) => link_of_message(message),
        _ => None,
    }
}

fn link_of_message(message: &LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: false,
        kind: None,
        master: None,
        xdp: false,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().unwrap_or([0; 6]),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier != 0,
            LinkAttribute::Controller(index) => link.master = Some(*index),
            LinkAttribute::Xdp(about) => {
                link.xdp = about.iter().any(
                    |entry| matches!(entry, LinkXdp::Attached(attached) if *attached != XdpAttached::None),
                );
            }
            LinkAttribute::LinkInfo(about) => {
                link.kind = about.iter().find_map(|entry| match entry {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}
