//! Opening ports: the gateway TAP, the underlay, and the pods' interfaces with their addresses.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use crossbeam::channel::Sender;
use ipnet::IpNet;
use vxlan::mac::Mac;

use super::Event;
use super::identity::Identity;
use super::next_hops::Resolver;
use crate::config::{Attachment, AttachmentKind, Config, Segmentation, Underlay, UnderlayKind};
use crate::pipeline::Role;
use crate::ports::af_packet::AfPacketPort;
use crate::ports::af_xdp::{AfXdpConfig, AfXdpPort};
use crate::ports::raw::{self, AfPacketUnderlay, PortHold, RawConfig};
use crate::ports::tap::{TapConfig, TapPort};
use crate::ports::udp::{UdpConfig, UdpUnderlay};
use crate::ports::{Capabilities, Port};
use crate::sys::netlink::{Netlink, Route};
use crate::sys::netns::Netns;
use crate::sys::steering;

/// A port and what the kernel said about its interface.
pub(super) struct Opened {
    /// A queue for each worker.
    pub(super) queues: Vec<Box<dyn Port>>,
    /// MAC of the pod's end, where it is known.
    pub(super) mac: Option<Mac>,
}

/// Longest super-packet that a pod's stack is to make. As one train of segments of 1,398 bytes, each with its headers,
/// it fits one datagram; whole, with the outer headers, it fits what length fields can say. A longer one is cut.
const GSO_MAX_BYTES: u32 = 61_000;

impl Opened {
    /// What the queues take, all of them the same.
    pub(super) fn capabilities(&self) -> Capabilities {
        capabilities(&self.queues)
    }
}

/// What a port's queues take, all of them the same.
pub(super) fn capabilities(queues: &[Box<dyn Port>]) -> Capabilities {
    queues.first().map(|queue| queue.capabilities()).unwrap_or_default()
}

fn boxed<P: Port + 'static>(queues: Vec<P>) -> Vec<Box<dyn Port>> {
    queues.into_iter().map(|queue| -> Box<dyn Port> { Box::new(queue) }).collect()
}

fn first<P>(queues: &[P]) -> io::Result<&P> {
    queues.first().ok_or_else(|| io::Error::other("opened without a queue"))
}

/// The TAP in the host namespace, with the gateway's addresses, up. It outlives the process, so that routes
/// over it survive a restart; without weir it is silent.
pub(super) fn gateway(config: &Config, identity: &Identity, mtu: u16, queues: usize) -> io::Result<Opened> {
    let wanted = TapConfig {
        persistent: true,
        mac: Some(config.gateway.mac.0),
        mtu: Some(mtu.into()),
        ..TapConfig::named(&config.gateway.interface)
    };
    let ports = TapPort::open_queues(&wanted, queues)?;
    let netlink = Netlink::open()?;
    let index = first(&ports)?.info().index;
    for net in &identity.gateway {
        netlink.add_address(index, *net)?;
    }
    netlink.set_up(index, true)?;
    Ok(Opened { queues: boxed(ports), mac: Some(config.gateway.mac) })
}

/// The underlay, and what has to last as long as it.
pub(super) struct OpenedUnderlay {
    /// What the status calls it.
    pub(super) name: String,
    /// A queue for each worker.
    pub(super) queues: Vec<Box<dyn Port>>,
    /// What the pipeline has to do with its frames.
    pub(super) role: Role,
    /// Of a raw underlay: who finds the next hops.
    pub(super) resolver: Option<Resolver>,
    /// Of a raw underlay: what keeps the kernel from answering on the UDP port.
    pub(super) hold: Option<PortHold>,
}

/// The underlay. Where weir finds the next hops itself, `events` hears of changes.
pub(super) fn underlay(
    config: &Config,
    identity: &Identity,
    queues: usize,
    events: &Sender<Event>,
) -> io::Result<OpenedUnderlay> {
    match config.underlay.kind {
        UnderlayKind::Udp => {
            let queues = datagrams(config, identity, queues)?;
            let name = format!("udp:{}", config.underlay.port);
            Ok(OpenedUnderlay { name, queues, role: Role::UnderlayDatagram, resolver: None, hold: None })
        }
        UnderlayKind::AfPacket | UnderlayKind::AfXdp => whole_frames(config, identity, queues, events),
    }
}

/// A raw underlay on the one interface that has its addresses.
fn whole_frames(
    config: &Config,
    identity: &Identity,
    queues: usize,
    events: &Sender<Event>,
) -> io::Result<OpenedUnderlay> {
    let own = &identity.own;
    let v4 = own.underlay_v4.map(|underlay| underlay.address.into());
    let v6 = own.underlay_v6.map(|underlay| underlay.address.into());
    let locals: Vec<IpAddr> = v4.into_iter().chain(v6).collect();
    let hold = PortHold::take(&locals, config.underlay.port)?;
    let interface = raw::interface_of(config.underlay.interface.as_deref(), &locals)?;
    let name = interface.clone();
    let port = config.underlay.port;
    let (queues, info) = if config.underlay.kind == UnderlayKind::AfXdp {
        let wanted = AfXdpConfig { interface, locals: locals.clone(), port };
        let ports = AfXdpPort::open_queues(&wanted, queues)?;
        let info = first(&ports)?.info();
        (boxed(ports), info)
    } else {
        let Underlay { ring, transmit_ring, .. } = config.underlay;
        let wanted = RawConfig { interface, locals: locals.clone(), port, ring, transmit_ring };
        let ports = AfPacketUnderlay::open_queues(&wanted, queues)?;
        let info = first(&ports)?.info();
        (boxed(ports), info)
    };
    let events = events.clone();
    let tell = move || {
        // The control thread has ended: nobody is left to tell.
        let _ = events.send(Event::NextHopsChanged);
    };
    let resolver = Resolver::new(info.index, Mac(info.mac), locals, tell)?;
    let (resolver, hold) = (Some(resolver), Some(hold));
    Ok(OpenedUnderlay { name, queues, role: Role::UnderlayFrame, resolver, hold })
}

/// The underlay's sockets.
fn datagrams(config: &Config, identity: &Identity, queues: usize) -> io::Result<Vec<Box<dyn Port>>> {
    let own = &identity.own;
    let wanted = UdpConfig {
        local_v4: own.underlay_v4.map(|underlay| underlay.address),
        local_v6: own.underlay_v6.map(|underlay| underlay.address),
        port: config.underlay.port,
        source_ports: config.underlay.source_ports.into(),
        checksum: config.underlay.checksum,
        affinity: steering::is_possible(),
        whole: config.underlay.segmentation == Segmentation::Auto,
    };
    UdpUnderlay::open_queues(&wanted, queues).map(boxed)
}

/// A pod's interface. A TAP made here has no addresses yet: see [`configure_pod`]. Nothing of the node's own is
/// taken for one.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] where the interface or namespace is not there (yet); anything else is a refusal.
pub(super) fn attachment(
    attachment: &Attachment,
    identity: Option<&Identity>,
    queues: usize,
) -> io::Result<Opened> {
    let mtu = identity.map(|identity| identity.pod_mtu);
    match attachment.kind {
        AttachmentKind::Tap => {
            let made_here = attachment.create;
            let wanted = TapConfig {
                netns: attachment.netns.clone(),
                persistent: made_here,
                mac: attachment.mac.filter(|_| made_here).map(|mac| mac.0),
                mtu: mtu.filter(|_| made_here).map(u32::from),
                must_exist: !made_here,
                up: made_here,
                ..TapConfig::named(&attachment.interface)
            };
            let ports = TapPort::open_queues(&wanted, queues)?;
            let info = first(&ports)?.info();
            // A TAP's own MAC is the pod's where the pod's kernel has the TAP; behind a TAP in our own namespace
            // is someone else (a virtual machine), whose MAC is given or learned.
            let mac = attachment.mac.or_else(|| attachment.netns.as_ref().map(|_| Mac(info.mac)));
            Ok(Opened { queues: boxed(ports), mac })
        }
        AttachmentKind::AfPacket => {
            spare_the_node(&attachment.interface, identity)?;
            let ports = AfPacketPort::open_queues(&attachment.interface, None, queues)?;
            let peer = first(&ports)?.info().peer_mac.map(Mac);
            Ok(Opened { queues: boxed(ports), mac: attachment.mac.or(peer) })
        }
    }
}

/// Refuses an interface that the node itself speaks through: the drop behind the tap, which outlives weir, would
/// take the node off its network.
///
/// The host end of a pod's veth may carry an address of the pod subnet (the `ptp` plugin gives it the gateway's).
/// As long as nobody knows which addresses are the node's, any but a link-local one counts as one.
fn spare_the_node(interface: &str, identity: Option<&Identity>) -> io::Result<()> {
    let netlink = Netlink::open()?;
    let Some(link) = netlink.link(interface)? else { return Ok(()) };
    if link.mac == [0; 6] {
        let text = format!("{interface} has no MAC: it is no pod's interface");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let is_nodes = |address: IpAddr| match (address, identity.map(|identity| &identity.own)) {
        _ if address.is_loopback() => true,
        (_, Some(own)) => {
            own.addresses.contains(&address) && !own.pod_cidrs.iter().any(|cidr| cidr.contains(&address))
        }
        (IpAddr::V4(address), None) => !address.is_link_local(),
        (IpAddr::V6(address), None) => !address.is_unicast_link_local(),
    };
    match netlink.addresses(link.index)?.iter().map(IpNet::addr).find(|address| is_nodes(*address)) {
        None => Ok(()),
        Some(address) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{interface} has the node's own address {address}, and weir would keep all that arrives there from \
                 the node: name the host end of a pod's veth"
            ),
        )),
    }
}

/// Gives a TAP that weir made in a pod's namespace what a CNI plugin would: MTU, the pod's addresses, the default
/// routes over the gateway.
pub(super) fn configure_pod(
    netns: &Path,
    interface: &str,
    addresses: &[IpAddr],
    identity: &Identity,
) -> io::Result<()> {
    let own = &identity.own;
    let pod_mtu = identity.pod_mtu;
    Netns::open(netns)?.run(|| {
        let netlink = Netlink::open()?;
        let link = netlink
            .link(interface)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no interface {interface}")))?;
        netlink.set_mtu(link.index, pod_mtu.into())?;
        netlink.set_gso_max(link.index, GSO_MAX_BYTES)?;
        let present = netlink.addresses(link.index)?;
        for address in addresses {
            let net = with_prefix(*address, &own.pod_cidrs);
            if !present.contains(&net) {
                netlink.add_address(link.index, net)?;
            }
        }
        netlink.set_up(link.index, true)?;
        for address in addresses {
            let Some(gateway) = own.gateway_for(*address) else { continue };
            let all = match address {
                IpAddr::V4(_) => IpNet::V4(ipnet::Ipv4Net::default()),
                IpAddr::V6(_) => IpNet::V6(ipnet::Ipv6Net::default()),
            };
            let mut route = Route::to(all, link.index).via(gateway);
            route.onlink = true;
            netlink.add_route(&route)?;
        }
        Ok(())
    })?
}

/// Takes away a TAP that weir made.
pub(super) fn remove_tap(netns: Option<&Path>, interface: &str) -> io::Result<()> {
    let remove = || -> io::Result<()> {
        let netlink = Netlink::open()?;
        match netlink.link(interface)? {
            Some(link) => netlink.delete_link(link.index),
            None => Ok(()),
        }
    };
    match netns {
        Some(path) => Netns::open(path)?.run(remove)?,
        None => remove(),
    }
}

/// An address with the prefix length of the pod subnet it is from, or a host prefix.
fn with_prefix(address: IpAddr, cidrs: &[IpNet]) -> IpNet {
    cidrs
        .iter()
        .find(|cidr| cidr.contains(&address))
        .and_then(|cidr| IpNet::new(address, cidr.prefix_len()).ok())
        .unwrap_or_else(|| IpNet::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_own_interface_is_not_taken_for_a_pods() {
        let refused = spare_the_node("lo", None).expect_err("lo was taken");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("lo "), "{refused}");
    }
}
