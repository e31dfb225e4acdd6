//! v1 Node: addresses, pod CIDRs, and where flannel says its VTEP is.

use super::meta::Meta;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What flannel's annotations say about a node's VTEP. A part that is missing or unusable is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Flannel {
    /// `VtepMAC` of `backend-data`: the MAC of the device on the IPv4 underlay.
    pub vtep_mac: Option<[u8; 6]>,
    /// `VNI` of `backend-data`.
    pub vni: Option<u32>,
    /// `VtepMAC` of `backend-v6-data`: the MAC of the device on the IPv6 underlay.
    pub vtep_mac_v6: Option<[u8; 6]>,
    /// `VNI` of `backend-v6-data`.
    pub vni_v6: Option<u32>,
    /// `public-ip-overwrite`, else `public-ip`.
    pub public_ip: Option<Ipv4Addr>,
    /// `public-ipv6-overwrite`, else `public-ipv6`.
    pub public_ipv6: Option<Ipv6Addr>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name and labels.
    pub meta: Meta,
    /// `status.addresses` of type InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`, else `spec.podCIDR`.
    pub pod_cidrs: Vec<IpNet>,
    /// Flannel's annotations.
    pub flannel: Flannel,
}
