//! A node as flannel sets it up on plain Linux: vxlan devices, a bridge, three entries for each other node.
//!
//! ```text
//!  pods' veths ─ cni0 ─ IP forwarding ─ flannel.1    (IPv4 pods, IPv4 underlay) ─ eth0
//!                                     └ flannel-v6.1 (IPv6 pods, IPv6 underlay) ─ eth0
//! ```
//!
//! Device attributes and entries are flannel 0.28's: VNI 1, port 8472, learning off, the subnet's first address
//! on the device, and for each remote node a neighbour, an FDB entry and an onlink route. It enforces no
//! NetworkPolicy, as flannel does not.

use std::io;
use std::net::IpAddr;

use dataplane::sys::netlink::{Netlink, Route, Vxlan};

use super::plan::{Side, net};
use super::pods::Pod;
use super::topology::{Topology, UNDERLAY, find, within};

const BRIDGE: &str = "cni0";
const VNI: u32 = 1;
const PORT: u16 = 8472;

/// Makes devices, bridge and entries in the node's namespace, and connects its pods.
pub fn build(topology: &Topology, side: Side, pods: &[&Pod], mtu: u32) -> io::Result<()> {
    let node = topology.node(side).netns();
    within(node, |netlink| {
        let dev_index = find(netlink, UNDERLAY)?.index;
        let v4 = Tunnel {
            name: "flannel.1",
            local: side.underlay_v4().into(),
            own: side.pod_v4(0).into(),
            mac: side.vtep_mac(),
            far_underlay: side.other().underlay_v4().into(),
            far_own: side.other().pod_v4(0).into(),
            far_mac: side.other().vtep_mac(),
            prefix: 24,
        };
        let v6 = Tunnel {
            name: "flannel-v6.1",
            local: side.underlay_v6().into(),
            own: side.pod_v6(0).into(),
            mac: side.vtep_mac_v6(),
            far_underlay: side.other().underlay_v6().into(),
            far_own: side.other().pod_v6(0).into(),
            far_mac: side.other().vtep_mac_v6(),
            prefix: 64,
        };
        v4.build(netlink, dev_index)?;
        v6.build(netlink, dev_index)?;
        netlink.add_bridge(BRIDGE)?;
        let bridge = find(netlink, BRIDGE)?.index;
        netlink.set_mtu(bridge, mtu)?;
        netlink.add_address(bridge, net(side.pod_v4(1), 24))?;
        netlink.add_address(bridge, net(side.pod_v6(1), 64))?;
        netlink.set_up(bridge, true)
    })?;
    for pod in pods {
        pod.connect(node)?;
        within(node, |netlink| {
            let bridge = find(netlink, BRIDGE)?.index;
            let link = find(netlink, &pod.host_link())?.index;
            netlink.set_mtu(link, mtu)?;
            netlink.set_master(link, Some(bridge))
        })?;
        pod.configure(mtu)?;
    }
    Ok(())
}

/// One vxlan device and its entries for the other node.
struct Tunnel {
    name: &'static str,
    local: IpAddr,
    own: IpAddr,
    mac: [u8; 6],
    far_underlay: IpAddr,
    far_own: IpAddr,
    far_mac: [u8; 6],
    prefix: u8,
}

impl Tunnel {
    fn build(&self, netlink: &Netlink, dev_index: u32) -> io::Result<()> {
        netlink.add_vxlan(&Vxlan {
            name: self.name,
            vni: VNI,
            port: PORT,
            local: self.local,
            dev_index,
            learning: false,
            mac: Some(self.mac),
        })?;
        let device = find(netlink, self.name)?.index;
        netlink.add_address(device, net(self.own, if self.own.is_ipv4() { 32 } else { 128 }))?;
        netlink.set_up(device, true)?;
        netlink.add_neighbour(device, self.far_own, self.far_mac)?;
        netlink.add_fdb(device, self.far_mac, self.far_underlay)?;
        let route = Route::to(net(self.far_own, self.prefix), device).via(self.far_own);
        netlink.add_route(&Route { onlink: true, ..route })
    }
}
