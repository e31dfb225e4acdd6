//! A VTEP (RFC 7348 section 4): the tunnel end of one node, as flannel's Node annotations describe it.
//!
//! Flannel has one device per underlay family. `flannel.N` carries IPv4 pods over the IPv4 underlay, its MAC
//! is the annotation `backend-data`; `flannel-v6.N` carries IPv6 pods over the IPv6 underlay, its MAC is
//! `backend-v6-data`. Where one of the two nodes lacks an underlay family, the other family carries both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::mac::Mac;
use crate::mtu::Family;

/// The tunnel end of one node.
///
/// ```
/// use vxlan::{Family, Mac, Vtep};
///
/// let vtep = Vtep {
///     name: "node-b".to_owned(),
///     mac: Mac([0x0e, 0, 0, 0, 0, 2]),
///     mac_v6: None,
///     underlay_v4: Some([192, 0, 2, 2].into()),
///     underlay_v6: None,
///     pod_cidrs: vec!["10.42.1.0/24".parse()?, "2001:db8:42:1::/64".parse()?],
/// };
/// assert!(vtep.owns("10.42.1.7".parse()?));
/// // No IPv6 underlay: IPv6 rides inside IPv4.
/// let path = vtep.path(Family::V6, true, true).ok_or("unreachable")?;
/// assert_eq!(path.underlay, Family::V4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vtep {
    /// The node's name.
    pub name: String,
    /// `VtepMAC` of the device on the IPv4 underlay (`backend-data`).
    pub mac: Mac,
    /// `VtepMAC` of the device on the IPv6 underlay (`backend-v6-data`).
    pub mac_v6: Option<Mac>,
    /// The node's IPv4 underlay address (`public-ip`).
    pub underlay_v4: Option<Ipv4Addr>,
    /// The node's IPv6 underlay address (`public-ipv6`).
    pub underlay_v6: Option<Ipv6Addr>,
    /// The addresses of the node's pods (`spec.podCIDRs`).
    pub pod_cidrs: Vec<IpNet>,
}

/// How packets of one family reach a VTEP.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct TunnelPath {
    /// The outer destination.
    pub peer: IpAddr,
    /// The destination MAC of the inner frame.
    pub inner_dst_mac: Mac,
    /// The family of the outer header, and so of the device on which the peer receives.
    pub underlay: Family,
}

impl Vtep {
    /// Is `address` in one of the node's pod CIDRs?
    pub fn owns(&self, address: IpAddr) -> bool {
        self.pod_cidrs.iter().any(|cidr| cidr.contains(&address))
    }

    /// How a packet of `inner_family` goes to this VTEP from a node whose own underlay has the families
    /// `have_v4` and `have_v6`. The own family is preferred, as flannel has it; the other one is taken where
    /// there is no way else.
    pub fn path(&self, inner_family: Family, have_v4: bool, have_v6: bool) -> Option<TunnelPath> {
        let over_v4 = || {
            let peer = self.underlay_v4.filter(|_| have_v4)?;
            Some(TunnelPath { peer: peer.into(), inner_dst_mac: self.mac, underlay: Family::V4 })
        };
        let over_v6 = || {
            // Without backend-v6-data the node has no device there, whatever addresses it has.
            let peer = self.underlay_v6.filter(|_| have_v6)?;
            Some(TunnelPath { peer: peer.into(), inner_dst_mac: self.mac_v6?, underlay: Family::V6 })
        };
        match inner_family {
            Family::V4 => over_v4().or_else(over_v6),
            Family::V6 => over_v6().or_else(over_v4),
        }
    }

    /// Is `mac` one that inner frames of this VTEP come from?
    pub fn accepts_inner_mac(&self, mac: Mac) -> bool {
        mac == self.mac || Some(mac) == self.mac_v6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC_4: Mac = Mac([2, 0, 0, 0, 0, 4]);
    const MAC_6: Mac = Mac([2, 0, 0, 0, 0, 6]);

    fn dual() -> Vtep {
        Vtep {
            name: "b".to_owned(),
            mac: MAC_4,
            mac_v6: Some(MAC_6),
            underlay_v4: Some(Ipv4Addr::new(192, 0, 2, 2)),
            underlay_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
            pod_cidrs: vec!["10.42.1.0/24".parse().unwrap(), "2001:db8:42:1::/64".parse().unwrap()],
        }
    }

    fn chosen(vtep: &Vtep, inner: Family, v4: bool, v6: bool) -> Option<(Family, Mac)> {
        vtep.path(inner, v4, v6).map(|path| {
            assert_eq!(Family::from(path.peer), path.underlay);
            (path.underlay, path.inner_dst_mac)
        })
    }

    #[test]
    fn each_family_takes_its_own_underlay_where_both_nodes_have_it() {
        assert_eq!(chosen(&dual(), Family::V4, true, true), Some((Family::V4, MAC_4)));
        assert_eq!(chosen(&dual(), Family::V6, true, true), Some((Family::V6, MAC_6)));
    }

    #[test]
    fn ipv6_rides_inside_ipv4_where_either_node_lacks_an_ipv6_underlay() {
        assert_eq!(chosen(&dual(), Family::V6, true, false), Some((Family::V4, MAC_4)));
        let peer_without = Vtep { underlay_v6: None, ..dual() };
        assert_eq!(chosen(&peer_without, Family::V6, true, true), Some((Family::V4, MAC_4)));
        let peer_without_device = Vtep { mac_v6: None, ..dual() };
        assert_eq!(chosen(&peer_without_device, Family::V6, true, true), Some((Family::V4, MAC_4)));
    }

    #[test]
    fn ipv4_rides_inside_ipv6_where_there_is_nothing_else() {
        assert_eq!(chosen(&dual(), Family::V4, false, true), Some((Family::V6, MAC_6)));
        assert_eq!(chosen(&dual(), Family::V4, false, false), None);
    }

    #[test]
    fn only_the_two_vtep_macs_are_accepted_inside() {
        assert!(dual().accepts_inner_mac(MAC_4) && dual().accepts_inner_mac(MAC_6));
        assert!(!dual().accepts_inner_mac(Mac::BROADCAST));
        assert!(!Vtep { mac_v6: None, ..dual() }.accepts_inner_mac(MAC_6));
    }

    #[test]
    fn ipv4_mapped_address_is_not_owned_by_the_ipv4_cidr() {
        assert!(dual().owns("10.42.1.255".parse().unwrap()));
        assert!(dual().owns("2001:db8:42:1::5".parse().unwrap()));
        assert!(!dual().owns("::ffff:10.42.1.7".parse().unwrap()));
        assert!(!dual().owns("10.42.2.1".parse().unwrap()));
    }
}
