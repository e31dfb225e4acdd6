//! What a lab consists of: nodes, pods and outside hosts with their names and addresses. Data only.
//!
//! ```text
//!                    outside 198.51.100.10, outside-blocked 198.51.100.66 (2001:db8:51::a, ::42)
//!                      │ 198.51.100.1                │ 198.51.100.2
//!  pods 10.244.1.0/24 ─ node-a ── 192.0.2.0/24 ── node-b ─ pods 10.244.2.0/24
//!  fd00:10:244:1::/64              2001:db8::/64            fd00:10:244:2::/64
//! ```
//!
//! Addresses are those set aside for documentation (RFC 5737, RFC 3849); pods' are flannel's usual ones.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;
use vxlan::Mac;

/// One of the two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// `node-a`, which always can run weir.
    #[serde(rename = "node-a")]
    A,
    /// `node-b`, its peer.
    #[serde(rename = "node-b")]
    B,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The node's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "node-a",
            Self::B => "node-b",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }

    /// IPv4 address on the underlay.
    pub const fn underlay_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number())
    }

    /// IPv6 address on the underlay.
    pub const fn underlay_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.number() as u16)
    }

    /// IPv4 address towards the outside hosts.
    pub const fn outside_v4(self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number())
    }

    /// IPv6 address towards the outside hosts.
    pub const fn outside_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, self.number() as u16)
    }

    /// The IPv4 address of this node's pod subnet with that last byte: 0 is the VTEP's, 1 the gateway's.
    pub const fn pod_v4(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number(), host)
    }

    /// The IPv6 address of this node's pod subnet with that last group.
    pub const fn pod_v6(self, host: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, 0x10, 0x244, self.number() as u16, 0, 0, 0, host as u16)
    }

    /// The pods' subnets.
    pub fn pod_cidrs(self) -> [IpNet; 2] {
        [net(self.pod_v4(0), 24), net(self.pod_v6(0), 64)]
    }

    /// MAC of the VTEP on the IPv4 underlay (`flannel.1`).
    pub const fn vtep_mac(self) -> [u8; 6] {
        [0x0a, 0x58, 0, 0, 4, self.number()]
    }

    /// MAC of the VTEP on the IPv6 underlay (`flannel-v6.1`).
    pub const fn vtep_mac_v6(self) -> [u8; 6] {
        [0x0a, 0x58, 0, 0, 6, self.number()]
    }
}

/// Address family of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Family {
    /// IPv4.
    #[serde(rename = "ipv4")]
    V4,
    /// IPv6.
    #[serde(rename = "ipv6")]
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPlan {
    /// Its Kubernetes namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Labels, key and value.
    pub labels: Vec<(String, String)>,
    /// The node it is on.
    pub side: Side,
    /// Last byte of both its addresses, from 10 to 254.
    pub host: u8,
}

impl PodPlan {
    /// A pod `namespace/name` with one label.
    pub fn new(side: Side, host: u8, namespace: &str, name: &str, label: (&str, &str)) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels: vec![(label.0.to_owned(), label.1.to_owned())],
            side,
            host,
        }
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Its address in a family.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.side.pod_v4(self.host).into(),
            Family::V6 => self.side.pod_v6(self.host).into(),
        }
    }

    /// Its MAC: locally administered, of its own.
    pub fn mac(&self) -> [u8; 6] {
        [0x0a, 0x58, 0x0a, 0xf4, self.side.number(), self.host]
    }
}

/// A host outside the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutsidePlan {
    /// Its name.
    pub name: &'static str,
    /// Last part of both its addresses.
    pub host: u8,
}

/// The outside hosts: one in the `ipBlock` of the policies, one in its `except`.
pub const OUTSIDE: [OutsidePlan; 2] =
    [OutsidePlan { name: "outside", host: 10 }, OutsidePlan { name: "outside-blocked", host: 66 }];

impl OutsidePlan {
    /// Its address in a family.
    pub fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => Ipv4Addr::new(198, 51, 100, self.host).into(),
            Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, u16::from(self.host)).into(),
        }
    }
}

/// The pods of the demonstration: each kind on both nodes, so that every pair exists within a node and across.
pub fn default_pods() -> Vec<PodPlan> {
    vec![
        PodPlan::new(Side::A, 10, "shop", "frontend", ("app", "frontend")),
        PodPlan::new(Side::A, 11, "shop", "backend-2", ("app", "backend")),
        PodPlan::new(Side::A, 12, "default", "intruder", ("app", "intruder")),
        PodPlan::new(Side::B, 10, "shop", "backend", ("app", "backend")),
        PodPlan::new(Side::B, 11, "shop", "frontend-2", ("app", "frontend")),
        PodPlan::new(Side::B, 12, "kube-system", "dns", ("k8s-app", "kube-dns")),
        PodPlan::new(Side::B, 13, "default", "intruder-2", ("app", "intruder")),
    ]
}

/// An address with its prefix length; the lengths of this lab are constants that fit.
pub(super) fn net(address: impl Into<IpAddr>, prefix: u8) -> IpNet {
    match address.into() {
        IpAddr::V4(v4) => Ipv4Net::new(v4, prefix).map_or_else(|_| IpNet::from(IpAddr::V4(v4)), IpNet::from),
        IpAddr::V6(v6) => Ipv6Net::new(v6, prefix).map_or_else(|_| IpNet::from(IpAddr::V6(v6)), IpNet::from),
    }
}

/// `aa:bb:cc:dd:ee:ff`.
pub fn mac_text(mac: [u8; 6]) -> String {
    Mac(mac).to_string()
}
