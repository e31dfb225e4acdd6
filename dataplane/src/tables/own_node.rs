//! This node, as its tables know it: subnets, addresses, MACs and underlays.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use vxlan::mac::Mac;
use vxlan::mtu::Family;

/// What this node is in the cluster.
#[derive(Debug, Clone)]
pub struct OwnNode {
    /// The Node object's name.
    pub name: String,
    /// The subnets its pods have their addresses from.
    pub pod_cidrs: Vec<IpNet>,
    /// Every address that is the node itself: status addresses, gateway, VTEP.
    pub addresses: HashSet<IpAddr, ahash::RandomState>,
    /// The MAC pods know their gateway by: that of the node TAP.
    pub gateway_mac: Mac,
    /// The gateway's addresses.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The gateway's IPv6 address.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Source of inner frames on the IPv4 underlay (flannel's VtepMAC), and weir's MAC towards the node.
    pub vtep_mac: Mac,
    /// The same on the IPv6 underlay (flannel's second device), where there is one.
    pub vtep_mac_v6: Option<Mac>,
    /// The IPv4 underlay, where there is one.
    pub underlay_v4: Option<Underlay<Ipv4Addr>>,
    /// The IPv6 underlay, where there is one.
    pub underlay_v6: Option<Underlay<Ipv6Addr>>,
    /// Next-hop MACs of other VTEPs, for an underlay whose outer frames weir builds itself.
    pub underlay_neighbours: HashMap<IpAddr, Mac, ahash::RandomState>,
    /// Source MAC of such frames.
    pub underlay_mac: Mac,
}

/// What outer frames that weir itself builds have in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHops {
    /// Our own MAC on the underlay.
    pub own: Mac,
    /// For VTEPs' underlay addresses, the MAC of whoever is next on the way there.
    pub peers: HashMap<IpAddr, Mac, ahash::RandomState>,
}

/// One address family of the underlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Underlay<A> {
    /// Our own address on it.
    pub address: A,
    /// Largest inner IP packet that fits into one outer packet.
    pub tunnel_mtu: u16,
}

impl OwnNode {
    /// Has outer frames carry these MACs.
    pub fn take_next_hops(&mut self, NextHops { own, peers }: NextHops) {
        self.underlay_mac = own;
        self.underlay_neighbours = peers;
    }

    /// False for the node's own addresses, and for those outside its pod subnets where it has any of that family.
    pub fn may_be_pod(&self, address: IpAddr) -> bool {
        let mut subnets =
            self.pod_cidrs.iter().filter(|cidr| cidr.addr().is_ipv4() == address.is_ipv4()).peekable();
        let inside = subnets.peek().is_none() || subnets.any(|cidr| cidr.contains(&address));
        inside && !self.addresses.contains(&address)
    }

    /// True for the addresses pods use as their gateway.
    pub fn is_gateway(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.gateway_v4 == Some(address),
            IpAddr::V6(address) => self.gateway_v6 == Some(address),
        }
    }

    /// The gateway's address in the family of `peer`.
    pub fn gateway_for(&self, peer: IpAddr) -> Option<IpAddr> {
        match peer {
            IpAddr::V4(_) => self.gateway_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        }
    }

    /// True for our own addresses on the underlay.
    pub fn is_underlay(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.underlay_v4.is_some_and(|underlay| underlay.address == address),
            IpAddr::V6(address) => self.underlay_v6.is_some_and(|underlay| underlay.address == address),
        }
    }

    /// The tunnel MTU on an underlay of `family`; `None` where there is no such underlay.
    pub fn tunnel_mtu(&self, family: Family) -> Option<u16> {
        match family {
            Family::V4 => self.underlay_v4.map(|underlay| underlay.tunnel_mtu),
            Family::V6 => self.underlay_v6.map(|underlay| underlay.tunnel_mtu),
        }
    }
}
