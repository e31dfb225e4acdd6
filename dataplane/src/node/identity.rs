//! What this node is: addresses, MACs and MTUs, from the configuration and, where that is silent, from the own
//! Node object and the kernel.
//!
//! flannel writes a node's VTEP MAC and public address into annotations of its Node; weir takes them from there,
//! so an ordinary configuration names the node and little else.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use policy_compiler::{Cluster, NodeView};
use vxlan::fdb::Fdb;
use vxlan::mac::Mac;
use vxlan::mtu::{Family, tunnel_mtu};
use vxlan::vtep::Vtep;

use crate::config::Config;
use crate::sys::netlink::Netlink;
use crate::tables::{OwnNode, Underlay, gateway_address};

/// Everything about this node that ports and packets need.
#[derive(Debug, Clone)]
pub struct Identity {
    /// What packets are judged and forwarded by. Next hops on the underlay are not known to it.
    pub own: OwnNode,
    /// The gateway's addresses with the prefix length of the pod subnet.
    pub gateway: Vec<IpNet>,
    /// MTU of pods and of the node TAP: what fits through every underlay we have.
    pub pod_mtu: u16,
}

/// Why the node's identity cannot be told; each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The state has no Node of our name.
    #[error(
        "the state has no Node {name:?} (it has {known}); name this node in `node:` of the configuration, or add its Node object"
    )]
    NoNode {
        /// The name looked for.
        name: String,
        /// The nodes there are.
        known: String,
    },
    /// Neither the configuration nor the Node names an underlay address.
    #[error(
        "no underlay address: set underlay.address or underlay.address_v6, or give Node {node:?} the annotation flannel.alpha.coreos.com/public-ip"
    )]
    NoUnderlay {
        /// The node.
        node: String,
    },
    /// No VTEP MAC.
    #[error(
        "no VTEP MAC: set vtep.mac, or give Node {node:?} the annotation flannel.alpha.coreos.com/backend-data with a VtepMAC"
    )]
    NoVtepMac {
        /// The node.
        node: String,
    },
    /// No gateway address.
    #[error("no gateway address: set gateway.addresses, or give Node {node:?} a spec.podCIDR")]
    NoGateway {
        /// The node.
        node: String,
    },
    /// The address is on no interface of this host.
    #[error(
        "underlay address {address} is on no interface of this host (it has {present}); set underlay.address to one of them, or underlay.mtu if it comes later"
    )]
    NoInterface {
        /// The address looked for.
        address: IpAddr,
        /// Interfaces and addresses there are.
        present: String,
    },
    /// The MTU leaves no room for a packet in the tunnel.
    #[error("underlay MTU {mtu} is too small for VXLAN")]
    MtuTooSmall {
        /// The MTU.
        mtu: u32,
    },
}

impl Identity {
    /// Puts the node's identity together.
    ///
    /// # Errors
    /// Something is missing; see [`IdentityError`].
    pub fn resolve(config: &Config, cluster: &Cluster) -> Result<Self, IdentityError> {
        let node = cluster.nodes.iter().find(|node| node.name == config.node).ok_or_else(|| {
            let known: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
            IdentityError::NoNode {
                name: config.node.clone(),
                known: if known.is_empty() { "none".into() } else { known.join(", ") },
            }
        })?;
        let v4 = config.underlay.address.or(node.public_ip);
        let v6 = config.underlay.address_v6.or(node.public_ipv6);
        if v4.is_none() && v6.is_none() {
            return Err(IdentityError::NoUnderlay { node: node.name.clone() });
        }
        let underlay_v4 = v4.map(|address| underlay(config, address, Family::V4)).transpose()?;
        let underlay_v6 = v6.map(|address| underlay(config, address, Family::V6)).transpose()?;
        let pod_mtu = underlay_v4
            .map(|underlay| underlay.tunnel_mtu)
            .into_iter()
            .chain(underlay_v6.map(|underlay| underlay.tunnel_mtu))
            .min()
            .unwrap_or(1280);

        let mac_v6 = config.vtep.mac_v6.or(node.vtep_mac_v6.map(Mac));
        let mac = config
            .vtep
            .mac
            .or(node.vtep_mac.map(Mac))
            .or(mac_v6)
            .ok_or_else(|| IdentityError::NoVtepMac { node: node.name.clone() })?;
        let gateway = gateway_addresses(config, node)?;
        let own = OwnNode {
            name: node.name.clone(),
            pod_cidrs: node.pod_cidrs.clone(),
            addresses: own_addresses(node, &gateway, v4, v6),
            gateway_mac: config.gateway.mac,
            gateway_v4: gateway.iter().find_map(|net| match net.addr() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            }),
            gateway_v6: gateway.iter().find_map(|net| match net.addr() {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            }),
            vtep_mac: mac,
            vtep_mac_v6: mac_v6,
            underlay_v4,
            underlay_v6,
            underlay_neighbours: HashMap::default(),
            underlay_mac: Mac::ZERO,
        };
        Ok(Self { own, gateway, pod_mtu })
    }
}

/// Addresses that the configuration alone makes the node's own: to the compiler, beside those of the Node object.
pub fn configured_addresses(config: &Config) -> Vec<IpAddr> {
    let underlay = (config.underlay.address.map(IpAddr::V4), config.underlay.address_v6.map(IpAddr::V6));
    config.gateway.addresses.iter().map(IpNet::addr).chain(underlay.0).chain(underlay.1).collect()
}

/// The gateway has the first address of each pod subnet, as flannel's bridge does.
fn gateway_addresses(config: &Config, node: &NodeView) -> Result<Vec<IpNet>, IdentityError> {
    if !config.gateway.addresses.is_empty() {
        return Ok(config.gateway.addresses.clone());
    }
    let addresses: Vec<IpNet> = node.pod_cidrs.iter().filter_map(first_address).collect();
    if addresses.is_empty() {
        return Err(IdentityError::NoGateway { node: node.name.clone() });
    }
    Ok(addresses)
}

/// The gateway's address with the subnet's prefix length.
fn first_address(cidr: &IpNet) -> Option<IpNet> {
    IpNet::new(gateway_address(cidr)?, cidr.prefix_len()).ok()
}

/// Status addresses, underlay, gateway, and the VTEP's own (the subnet's address, which flannel.1 carries).
fn own_addresses(
    node: &NodeView,
    gateway: &[IpNet],
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
) -> HashSet<IpAddr, ahash::RandomState> {
    let mut addresses: HashSet<IpAddr, ahash::RandomState> = node.addresses.iter().copied().collect();
    addresses.extend(gateway.iter().map(IpNet::addr));
    addresses.extend(node.pod_cidrs.iter().map(IpNet::network));
    addresses.extend(v4.map(IpAddr::V4));
    addresses.extend(v6.map(IpAddr::V6));
    addresses
}

fn underlay<A: Copy + Into<IpAddr>>(
    config: &Config,
    address: A,
    family: Family,
) -> Result<Underlay<A>, IdentityError> {
    let mtu = match config.underlay.mtu {
        Some(mtu) => mtu,
        None => interface_mtu(config.underlay.interface.as_deref(), address.into())?,
    };
    let tunnel_mtu = tunnel_mtu(mtu, family).ok_or(IdentityError::MtuTooSmall { mtu: mtu.into() })?;
    Ok(Underlay { address, tunnel_mtu })
}

/// MTU of the named interface, or of the one that carries `address`.
fn interface_mtu(name: Option<&str>, address: IpAddr) -> Result<u16, IdentityError> {
    let mut present = Vec::new();
    if let Ok(netlink) = Netlink::open() {
        for link in netlink.links().unwrap_or_default() {
            let addresses = netlink.addresses(link.index).unwrap_or_default();
            if name == Some(&link.name)
                || (name.is_none() && addresses.iter().any(|net| net.addr() == address))
            {
                return Ok(u16::try_from(link.mtu).unwrap_or(u16::MAX));
            }
            present.extend(addresses.iter().map(|net| format!("{} on {}", net.addr(), link.name)));
        }
    }
    let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
    Err(IdentityError::NoInterface { address, present })
}

/// The other nodes' tunnel ends. A node without a VTEP MAC or underlay address has none; `weir status` shows it.
pub fn vteps(cluster: &Cluster, own: &str) -> Vec<Vtep> {
    cluster.nodes.iter().filter(|node| node.name != own).filter_map(vtep).collect()
}

/// Takes out every node that contradicts another or itself, and says why: both ends of a contradiction, as nobody
/// knows which is right. One node's wrong annotation must not hold back the policies of all.
pub(super) fn cut_contradictions(vteps: &mut Vec<Vtep>) -> Vec<String> {
    let mut problems = Vec::new();
    // Each turn takes one out at least.
    while let Err(error) = Fdb::new(vteps.clone()) {
        let count = vteps.len();
        vteps.retain(|vtep| !error.nodes().contains(&vtep.name.as_str()));
        problems.push(format!("{error}: no packet to or from there passes until that is mended"));
        if vteps.len() == count {
            break;
        }
    }
    problems
}

/// The tunnel end of one node.
pub(super) fn vtep(node: &NodeView) -> Option<Vtep> {
    let mac = node.vtep_mac.or(node.vtep_mac_v6)?;
    if node.public_ip.is_none() && node.public_ipv6.is_none() {
        return None;
    }
    Some(Vtep {
        name: node.name.clone(),
        mac: Mac(mac),
        mac_v6: node.vtep_mac_v6.map(Mac),
        underlay_v4: node.public_ip,
        underlay_v6: node.public_ipv6,
        pod_cidrs: node.pod_cidrs.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, number: u8, public_ip: &str) -> Vtep {
        Vtep {
            name: name.into(),
            mac: Mac([2, 0, 0, 0, 0, number]),
            mac_v6: None,
            underlay_v4: public_ip.parse().ok(),
            underlay_v6: None,
            pod_cidrs: vec![format!("10.244.{number}.0/24").parse().expect("cidr")],
        }
    }

    #[test]
    fn nodes_that_contradict_one_another_are_cut_off_and_no_others() {
        let mut vteps = vec![
            node("a", 1, "192.0.2.1"),
            node("old", 2, "192.0.2.2"),
            node("new", 3, "192.0.2.2"),
            Vtep { mac: Mac::ZERO, ..node("lying", 4, "192.0.2.4") },
            node("z", 5, "192.0.2.5"),
        ];
        let problems = cut_contradictions(&mut vteps);
        assert_eq!(vteps.iter().map(|vtep| vtep.name.as_str()).collect::<Vec<_>>(), ["a", "z"]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|problem| problem.contains("nodes old and new both have")));
        assert!(problems.iter().any(|problem| problem.contains("node lying")));
        assert!(cut_contradictions(&mut vteps).is_empty());
    }

    #[test]
    fn the_gateway_is_the_first_address_of_the_pod_subnet() {
        let cidr: IpNet = "10.244.1.0/24".parse().expect("cidr");
        assert_eq!(first_address(&cidr).map(|net| net.to_string()), Some("10.244.1.1/24".into()));
        let cidr: IpNet = "fd00:10:244:1::/64".parse().expect("cidr");
        assert_eq!(first_address(&cidr).map(|net| net.to_string()), Some("fd00:10:244:1::1/64".into()));
    }
}
