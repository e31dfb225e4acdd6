//! The wires of a lab: namespaces of nodes and outside hosts, and the links between them.
//!
//! The underlay pair keeps the kernel's default offloads. Nodes forward; nothing is masqueraded: the outside
//! hosts have routes back to the pods, so that policies see pods' own addresses on both sides.

use std::io;

use dataplane::sys::netlink::{Link, Netlink, Route};
use dataplane::sys::netns::{Netns, sysctl_set};

use super::plan::{Family, OUTSIDE, Side, net};
use super::teardown::OwnedNetns;

/// Name of the underlay interface in a node.
pub const UNDERLAY: &str = "eth0";
/// Name of the interface towards the outside in a node.
const OUTSIDE_LINK: &str = "out0";
/// Name of the interface of an outside host, and of the bridge that stands for it.
const OUTSIDE_HOST_LINK: &str = "eth0";

/// Namespaces of the nodes and of the outside hosts.
#[derive(Debug)]
pub struct Topology {
    /// By [`Side`].
    pub nodes: [OwnedNetns; 2],
    /// As in [`OUTSIDE`].
    pub outside: [OwnedNetns; 2],
}

impl Topology {
    /// Makes namespaces and links.
    pub fn create(id: &str, keep: bool) -> io::Result<Self> {
        let make = |name: &str| namespace(id, name, keep);
        let nodes = [make(Side::A.name())?, make(Side::B.name())?];
        let [open, blocked] = OUTSIDE;
        let outside = [make(open.name)?, make(blocked.name)?];
        let topology = Self { nodes, outside };
        topology.connect_nodes()?;
        topology.connect_outside()?;
        for node in &topology.nodes {
            node.netns().run(|| {
                sysctl_set("net/ipv4/ip_forward", "1")?;
                sysctl_set("net/ipv6/conf/all/forwarding", "1")
            })??;
        }
        Ok(topology)
    }

    /// The namespace of a node.
    pub fn node(&self, side: Side) -> &OwnedNetns {
        let [a, b] = &self.nodes;
        match side {
            Side::A => a,
            Side::B => b,
        }
    }

    fn connect_nodes(&self) -> io::Result<()> {
        let far = self.node(Side::B).netns();
        within(self.node(Side::A).netns(), |netlink| netlink.add_veth(UNDERLAY, UNDERLAY, Some(far)))?;
        for side in Side::ALL {
            within(self.node(side).netns(), |netlink| {
                let link = find(netlink, UNDERLAY)?;
                netlink.add_address(link.index, net(side.underlay_v4(), 24))?;
                netlink.add_address(link.index, net(side.underlay_v6(), 64))?;
                netlink.set_up(link.index, true)
            })?;
        }
        Ok(())
    }

    /// The first outside host holds a bridge to which the nodes and the second one are connected.
    fn connect_outside(&self) -> io::Result<()> {
        let [hub, other] = &self.outside;
        let [hub_plan, other_plan] = OUTSIDE;
        within(hub.netns(), |netlink| {
            netlink.add_bridge(OUTSIDE_HOST_LINK)?;
            let bridge = find(netlink, OUTSIDE_HOST_LINK)?.index;
            for side in Side::ALL {
                netlink.add_veth(side.name(), OUTSIDE_LINK, Some(self.node(side).netns()))?;
            }
            netlink.add_veth(other_plan.name, OUTSIDE_HOST_LINK, Some(other.netns()))?;
            for name in [Side::A.name(), Side::B.name(), other_plan.name] {
                let port = find(netlink, name)?.index;
                netlink.set_master(port, Some(bridge))?;
                netlink.set_up(port, true)?;
            }
            Ok(())
        })?;
        for (host, plan) in [(hub, hub_plan), (other, other_plan)] {
            within(host.netns(), |netlink| {
                let link = find(netlink, OUTSIDE_HOST_LINK)?.index;
                netlink.add_address(link, net(plan.address(Family::V4), 24))?;
                netlink.add_address(link, net(plan.address(Family::V6), 64))?;
                netlink.set_up(link, true)?;
                for side in Side::ALL {
                    let [v4, v6] = side.pod_cidrs();
                    netlink.add_route(&Route::to(v4, link).via(side.outside_v4().into()))?;
                    netlink.add_route(&Route::to(v6, link).via(side.outside_v6().into()))?;
                }
                Ok(())
            })?;
        }
        for side in Side::ALL {
            within(self.node(side).netns(), |netlink| {
                let link = find(netlink, OUTSIDE_LINK)?.index;
                netlink.add_address(link, net(side.outside_v4(), 24))?;
                netlink.add_address(link, net(side.outside_v6(), 64))?;
                netlink.set_up(link, true)
            })?;
        }
        Ok(())
    }
}

/// Makes a namespace with loopback up, in which IPv6 addresses are usable at once.
pub fn namespace(id: &str, name: &str, keep: bool) -> io::Result<OwnedNetns> {
    let owned = OwnedNetns::create(format!("{id}-{name}"), keep)?;
    owned.netns().run(|| {
        // Duplicate address detection would hold link-local addresses back for a second, and with them
        // every neighbour solicitation. A kernel without IPv6 has no such file.
        for path in ["net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad"] {
            let _ = sysctl_set(path, "0");
        }
        let netlink = Netlink::open()?;
        netlink.set_up(find(&netlink, "lo")?.index, true)
    })??;
    Ok(owned)
}

/// Runs `f` with a netlink socket of that namespace.
pub fn within<T: Send>(netns: &Netns, f: impl FnOnce(&Netlink) -> io::Result<T> + Send) -> io::Result<T> {
    netns.run(|| f(&Netlink::open()?))?
}

/// The link of that name, which has to be there.
pub fn find(netlink: &Netlink, name: &str) -> io::Result<Link> {
    netlink
        .link(name)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no link {name}")))
}
