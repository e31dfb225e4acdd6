//! Who is who around a [`super::world::World`]: addresses, MACs, pods, nodes, and the one policy many tests use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use policy_compiler::{Direction, Key, NodeView, PodName, Subject};
use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::vtep::Vtep;

use crate::tables::{OwnNode, Underlay};

pub(super) const BLUE_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 0x0a]);
pub(super) const GREEN_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 0x0b]);
pub(super) const GHOST_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 0x66]);
pub(super) const GATEWAY_MAC: Mac = Mac([0x0a, 0x58, 0, 0, 1, 1]);
pub(super) const OWN_VTEP: Mac = Mac([0x0e, 0, 0, 0, 0xa, 4]);
pub(super) const OWN_VTEP_6: Mac = Mac([0x0e, 0, 0, 0, 0xa, 6]);
pub(super) const B_VTEP: Mac = Mac([0x0e, 0, 0, 0, 0xb, 4]);
pub(super) const C_VTEP: Mac = Mac([0x0e, 0, 0, 0, 0xc, 4]);
pub(super) const C_VTEP_6: Mac = Mac([0x0e, 0, 0, 0, 0xc, 6]);
pub(super) const A_NIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xa]);
pub(super) const B_NIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xb]);
pub(super) const C_NIC: Mac = Mac([0x52, 0x54, 0, 0, 0, 0xc]);

pub(super) const A_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
pub(super) const B_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
pub(super) const A_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xc0, 0, 0, 0, 0, 0, 1);
pub(super) const C_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xc0, 0, 0, 0, 0, 0, 3);

/// Largest inner packet on the IPv4 underlay and on the IPv6 underlay.
pub(super) const TUNNEL_MTU_4: u16 = 1450;
pub(super) const TUNNEL_MTU_6: u16 = 1430;

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn in_subnet(family: Family, node: u8, host: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 244, node, host).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, host.into()).into(),
    }
}

pub(super) fn gateway(family: Family) -> IpAddr {
    in_subnet(family, 1, 1)
}

pub(super) fn blue(family: Family) -> IpAddr {
    in_subnet(family, 1, 10)
}

pub(super) fn green(family: Family) -> IpAddr {
    in_subnet(family, 1, 11)
}

/// Known, without a port.
pub(super) fn grey(family: Family) -> IpAddr {
    in_subnet(family, 1, 12)
}

/// In our subnet and no pod's.
pub(super) fn nobody(family: Family) -> IpAddr {
    in_subnet(family, 1, 99)
}

/// A pod of node-b.
pub(super) fn bee(family: Family) -> IpAddr {
    in_subnet(family, 2, 10)
}

/// Another pod of node-b.
pub(super) fn bug(family: Family) -> IpAddr {
    in_subnet(family, 2, 11)
}

/// node-b itself, as its pods know it.
pub(super) fn b_gateway(family: Family) -> IpAddr {
    in_subnet(family, 2, 1)
}

/// A pod of node-d, which no VTEP leads to.
pub(super) fn dark(family: Family) -> IpAddr {
    in_subnet(family, 4, 10)
}

/// A pod of another node that is in no node's subnet.
pub(super) fn stray(family: Family) -> IpAddr {
    in_subnet(family, 200, 10)
}

/// A pod of node-c.
pub(super) fn sea(family: Family) -> IpAddr {
    in_subnet(family, 3, 10)
}

/// Somewhere in the Internet.
pub(super) fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 9).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 9, 0, 0, 0, 9).into(),
    }
}

/// The node's own address on the underlay.
pub(super) fn node(family: Family) -> IpAddr {
    match family {
        Family::V4 => A_V4.into(),
        Family::V6 => A_V6.into(),
    }
}

pub(super) fn pod(name: &str) -> PodName {
    PodName { namespace: "default".into(), name: name.into() }
}

pub(super) fn subject(name: &str, uid: &str, addresses: &[IpAddr]) -> Subject {
    Subject { name: pod(name), uid: uid.into(), addresses: addresses.to_vec(), node: "node-a".into() }
}

/// No pod may be reached but by the own node: what a NetworkPolicy that selects all pods and allows nothing becomes.
pub(super) fn default_deny(key: &Key) -> bool {
    key.direction == Direction::Egress
        || FAMILIES.iter().any(|&family| [gateway(family), node(family)].contains(&key.src))
}

pub(super) fn initial_pods() -> Vec<Subject> {
    let [v4, v6] = FAMILIES;
    vec![
        subject("blue", "uid-blue", &[blue(v4), blue(v6)]),
        subject("green", "uid-green", &[green(v4), green(v6)]),
        subject("grey", "uid-grey", &[grey(v4), grey(v6)]),
    ]
}

pub(super) fn own_node() -> OwnNode {
    let v4_and_v6 = |pick: fn(Family) -> IpAddr| FAMILIES.map(pick);
    let mut neighbours = std::collections::HashMap::default();
    neighbours.insert(B_V4.into(), B_NIC);
    neighbours.insert(C_V6.into(), C_NIC);
    OwnNode {
        name: "node-a".into(),
        pod_cidrs: subnets(1),
        addresses: [v4_and_v6(gateway), v4_and_v6(node), v4_and_v6(|family| in_subnet(family, 1, 0))]
            .into_iter()
            .flatten()
            .collect(),
        gateway_mac: GATEWAY_MAC,
        gateway_v4: Some(Ipv4Addr::new(10, 244, 1, 1)),
        gateway_v6: Some(Ipv6Addr::new(0xfd00, 0x10, 0x244, 1, 0, 0, 0, 1)),
        vtep_mac: OWN_VTEP,
        vtep_mac_v6: Some(OWN_VTEP_6),
        underlay_v4: Some(Underlay { address: A_V4, tunnel_mtu: TUNNEL_MTU_4 }),
        underlay_v6: Some(Underlay { address: A_V6, tunnel_mtu: TUNNEL_MTU_6 }),
        underlay_neighbours: neighbours,
        underlay_mac: A_NIC,
    }
}

pub(super) fn vteps() -> Vec<Vtep> {
    vec![
        Vtep {
            name: "node-b".into(),
            mac: B_VTEP,
            mac_v6: None,
            underlay_v4: Some(B_V4),
            underlay_v6: None,
            pod_cidrs: subnets(2),
        },
        Vtep {
            name: "node-c".into(),
            mac: C_VTEP,
            mac_v6: Some(C_VTEP_6),
            underlay_v4: None,
            underlay_v6: Some(C_V6),
            pod_cidrs: subnets(3),
        },
    ]
}

/// The other nodes, as the compiler shows them.
pub(super) fn nodes() -> Vec<NodeView> {
    let node = |vtep: Vtep| NodeView {
        name: vtep.name,
        addresses: Vec::new(),
        pod_cidrs: vtep.pod_cidrs,
        vtep_mac: Some(vtep.mac.0),
        vtep_mac_v6: vtep.mac_v6.map(|mac| mac.0),
        public_ip: vtep.underlay_v4,
        public_ipv6: vtep.underlay_v6,
        vni: None,
        vni_v6: None,
    };
    let dark = NodeView {
        name: "node-d".into(),
        addresses: Vec::new(),
        pod_cidrs: subnets(4),
        vtep_mac: None,
        vtep_mac_v6: None,
        public_ip: None,
        public_ipv6: None,
        vni: None,
        vni_v6: None,
    };
    vteps().into_iter().map(node).chain([dark]).collect()
}

fn subnets(node: u8) -> Vec<ipnet::IpNet> {
    let cidr = |family, prefix| ipnet::IpNet::new(in_subnet(family, node, 0), prefix).expect("a prefix");
    vec![cidr(Family::V4, 24), cidr(Family::V6, 64)]
}
