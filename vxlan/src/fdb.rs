//! The forwarding database: every VTEP of the cluster, configured from its Nodes.
//!
//! Nothing is learned and nothing is flooded (RFC 7348 section 4.2 is left out on purpose): a packet from an
//! address that is not in here is from nobody. Made once per generation, then only read, by every worker.
//!
//! | lookup | key | cost |
//! | --- | --- | --- |
//! | [`Fdb::by_underlay`] | outer source, chosen by anyone | one probe of a hash with a random key |
//! | [`Fdb::route`] | inner destination, chosen by a pod | binary search over CIDRs, 10 steps for 1,000 nodes |
//!
//! CIDRs may not overlap, so at most one holds an address and the longest prefix is the only one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ahash::RandomState;
use ipnet::IpNet;

use crate::mac::Mac;
use crate::vtep::Vtep;

/// A VTEP's place in its [`Fdb`]. It has no meaning in another one.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VtepId(pub u32);

/// All VTEPs of the cluster.
///
/// ```
/// use vxlan::{Fdb, Mac, Vtep};
///
/// let fdb = Fdb::new(vec![Vtep {
///     name: "node-b".to_owned(),
///     mac: Mac([0x0e, 0, 0, 0, 0, 2]),
///     mac_v6: None,
///     underlay_v4: Some([192, 0, 2, 2].into()),
///     underlay_v6: None,
///     pod_cidrs: vec!["10.42.1.0/24".parse()?],
/// }])?;
/// let (id, vtep) = fdb.route("10.42.1.7".parse()?).ok_or("no route")?;
/// assert_eq!(vtep.name, "node-b");
/// assert_eq!(fdb.by_underlay("192.0.2.2".parse()?), Some((id, vtep)));
/// assert_eq!(fdb.by_underlay("192.0.2.3".parse()?), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Fdb {
    vteps: Vec<Vtep>,
    underlay: HashMap<IpAddr, VtepId, RandomState>,
    routes_v4: Routes<Ipv4Addr>,
    routes_v6: Routes<Ipv6Addr>,
}

/// Why VTEPs do not make an [`Fdb`]. Each variant names the nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FdbError {
    /// Two nodes with one underlay address: what comes from there would be neither's.
    #[error("nodes {first} and {second} both have the underlay address {address}")]
    DuplicateUnderlay {
        /// The address.
        address: IpAddr,
        /// The node that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// Two nodes with one VTEP MAC.
    #[error("nodes {first} and {second} both have the VTEP MAC {mac}")]
    DuplicateMac {
        /// The MAC.
        mac: Mac,
        /// The node that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// A VTEP MAC that is no station's address.
    #[error("node {node} has the VTEP MAC {mac}, which is not a unicast address")]
    MacNotUnicast {
        /// The node.
        node: String,
        /// The MAC.
        mac: Mac,
    },
    /// Pod CIDRs that share addresses.
    #[error("pod CIDR {first_cidr} of node {first} overlaps pod CIDR {second_cidr} of node {second}")]
    OverlappingPodCidrs {
        /// The node of the lower CIDR.
        first: String,
        /// The lower CIDR.
        first_cidr: IpNet,
        /// The other node (or the same).
        second: String,
        /// The other CIDR.
        second_cidr: IpNet,
    },
    /// More nodes than identifiers.
    #[error("more than {} nodes", u32::MAX)]
    TooManyNodes,
}

impl FdbError {
    /// The nodes it is about.
    pub fn nodes(&self) -> Vec<&str> {
        match self {
            Self::DuplicateUnderlay { first, second, .. }
            | Self::DuplicateMac { first, second, .. }
            | Self::OverlappingPodCidrs { first, second, .. } => vec![first, second],
            Self::MacNotUnicast { node, .. } => vec![node],
            Self::TooManyNodes => Vec::new(),
        }
    }
}

impl Fdb {
    /// The database of these VTEPs.
    ///
    /// # Errors
    /// Two of them contradict one another.
    pub fn new(vteps: Vec<Vtep>) -> Result<Self, FdbError> {
        let mut underlay: HashMap<IpAddr, VtepId, RandomState> = HashMap::default();
        let mut macs: HashMap<Mac, VtepId, RandomState> = HashMap::default();
        let name_of =
            |id: VtepId| vteps.get(id.0 as usize).map_or_else(String::new, |vtep| vtep.name.clone());

        for (index, vtep) in vteps.iter().enumerate() {
            let id = VtepId(u32::try_from(index).map_err(|_| FdbError::TooManyNodes)?);
            let addresses = [vtep.underlay_v4.map(IpAddr::from), vtep.underlay_v6.map(IpAddr::from)];
            for address in addresses.into_iter().flatten() {
                if let Some(first) = underlay.insert(address, id) {
                    return Err(FdbError::DuplicateUnderlay {
                        address,
                        first: name_of(first),
                        second: vtep.name.clone(),
                    });
                }
            }
            for mac in [Some(vtep.mac), vtep.mac_v6].into_iter().flatten() {
                if mac == Mac::ZERO || !mac.is_unicast() {
                    return Err(FdbError::MacNotUnicast { node: vtep.name.clone(), mac });
                }
                // A node's two devices may share one MAC.
                if let Some(first) = macs.insert(mac, id).filter(|&first| first != id) {
                    return Err(FdbError::DuplicateMac {
                        mac,
                        first: name_of(first),
                        second: vtep.name.clone(),
                    });
                }
            }
        }

        let (routes_v4, routes_v6) = routes(&vteps)?;
        Ok(Self { vteps, underlay, routes_v4, routes_v6 })
    }

    /// The VTEP with exactly this underlay address.
    pub fn by_underlay(&self, outer_src: IpAddr) -> Option<(VtepId, &Vtep)> {
        self.entry(*self.underlay.get(&outer_src)?)
    }

    /// The VTEP whose pods have this address.
    pub fn route(&self, inner_dst: IpAddr) -> Option<(VtepId, &Vtep)> {
        let id = match inner_dst {
            IpAddr::V4(address) => self.routes_v4.find(address),
            IpAddr::V6(address) => self.routes_v6.find(address),
        }?;
        self.entry(id)
    }

    /// The VTEP at this place.
    pub fn get(&self, id: VtepId) -> Option<&Vtep> {
        self.vteps.get(id.0 as usize)
    }

    /// All VTEPs, in the order they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (VtepId, &Vtep)> {
        self.vteps.iter().enumerate().map(|(index, vtep)| (VtepId(index as u32), vtep))
    }

    /// Number of VTEPs.
    pub fn len(&self) -> usize {
        self.vteps.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.vteps.is_empty()
    }

    fn entry(&self, id: VtepId) -> Option<(VtepId, &Vtep)> {
        self.get(id).map(|vtep| (id, vtep))
    }
}

/// Disjoint address ranges in ascending order. The first addresses lie alone: they are what the search reads.
#[derive(Debug, Clone)]
struct Routes<A> {
    first: Vec<A>,
    last: Vec<(A, VtepId)>,
}

impl<A> Default for Routes<A> {
    fn default() -> Self {
        Self { first: Vec::new(), last: Vec::new() }
    }
}

impl<A: Ord + Copy> Routes<A> {
    fn push(&mut self, first: A, last: A, id: VtepId) {
        self.first.push(first);
        self.last.push((last, id));
    }

    fn find(&self, address: A) -> Option<VtepId> {
        let position = self.first.partition_point(|&first| first <= address).checked_sub(1)?;
        let &(last, id) = self.last.get(position)?;
        (address <= last).then_some(id)
    }
}

fn routes(vteps: &[Vtep]) -> Result<(Routes<Ipv4Addr>, Routes<Ipv6Addr>), FdbError> {
    let mut cidrs: Vec<(IpNet, VtepId, &Vtep)> = vteps
        .iter()
        .enumerate()
        .flat_map(|(index, vtep)| {
            vtep.pod_cidrs.iter().map(move |cidr| (cidr.trunc(), VtepId(index as u32), vtep))
        })
        .collect();
    cidrs.sort_by_key(|&(cidr, ..)| (cidr.network(), cidr.prefix_len()));

    // In this order a CIDR that holds others stands directly before the first of them.
    for ((cidr, _, vtep), (next_cidr, _, next_vtep)) in cidrs.iter().zip(cidrs.iter().skip(1)) {
        if cidr.contains(next_cidr) {
            return Err(FdbError::OverlappingPodCidrs {
                first: vtep.name.clone(),
                first_cidr: *cidr,
                second: next_vtep.name.clone(),
                second_cidr: *next_cidr,
            });
        }
    }

    let (mut v4, mut v6) = (Routes::default(), Routes::default());
    for (cidr, id, _) in cidrs {
        match cidr {
            IpNet::V4(cidr) => v4.push(cidr.network(), cidr.broadcast(), id),
            IpNet::V6(cidr) => v6.push(cidr.network(), cidr.broadcast(), id),
        }
    }
    Ok((v4, v6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(number: u8) -> Vtep {
        Vtep {
            name: format!("node-{number}"),
            mac: Mac([2, 0, 0, 0, 4, number]),
            mac_v6: Some(Mac([2, 0, 0, 0, 6, number])),
            underlay_v4: Some(Ipv4Addr::new(192, 0, 2, number)),
            underlay_v6: Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into())),
            pod_cidrs: vec![
                format!("10.42.{number}.0/24").parse().unwrap(),
                format!("2001:db8:42:{number:x}::/64").parse().unwrap(),
            ],
        }
    }

    fn name(found: Option<(VtepId, &Vtep)>) -> Option<&str> {
        found.map(|(_, vtep)| vtep.name.as_str())
    }

    #[test]
    fn addresses_at_both_edges_of_a_cidr_are_routed_and_those_beside_it_are_not() {
        let fdb = Fdb::new(vec![node(7), node(2), node(4)]).unwrap();
        let route = |address: &str| name(fdb.route(address.parse().unwrap()));
        assert_eq!(route("10.42.2.0"), Some("node-2"));
        assert_eq!(route("10.42.2.255"), Some("node-2"));
        assert_eq!(route("10.42.3.0"), None);
        assert_eq!(route("10.42.1.255"), None);
        assert_eq!(route("10.42.7.9"), Some("node-7"));
        assert_eq!(route("0.0.0.0"), None);
        assert_eq!(route("255.255.255.255"), None);
        assert_eq!(route("2001:db8:42:4::"), Some("node-4"));
        assert_eq!(route("2001:db8:42:4:ffff:ffff:ffff:ffff"), Some("node-4"));
        assert_eq!(route("2001:db8:42:5::"), None);
        assert_eq!(route("::ffff:10.42.2.1"), None);
    }

    #[test]
    fn rfc7348_s7_outer_source_must_be_exactly_a_vtep_address() {
        let fdb = Fdb::new(vec![node(1), node(2)]).unwrap();
        assert_eq!(name(fdb.by_underlay("192.0.2.2".parse().unwrap())), Some("node-2"));
        assert_eq!(name(fdb.by_underlay("2001:db8::1".parse().unwrap())), Some("node-1"));
        assert_eq!(name(fdb.by_underlay("192.0.2.3".parse().unwrap())), None);
        assert_eq!(name(fdb.by_underlay("::ffff:192.0.2.2".parse().unwrap())), None);
    }

    #[test]
    fn empty_database_knows_nobody() {
        let fdb = Fdb::new(Vec::new()).unwrap();
        assert!(fdb.is_empty());
        assert_eq!(fdb.route("10.42.0.1".parse().unwrap()), None);
        assert_eq!(fdb.by_underlay("192.0.2.1".parse().unwrap()), None);
        assert_eq!(fdb.get(VtepId(0)), None);
    }

    #[test]
    fn contradictions_name_both_nodes() {
        let same_underlay = Vtep { underlay_v4: node(1).underlay_v4, ..node(2) };
        let same_mac = Vtep { mac_v6: Some(node(1).mac), ..node(2) };
        let overlapping = Vtep { pod_cidrs: vec!["10.42.0.0/16".parse().unwrap()], ..node(2) };
        let equal = Vtep { pod_cidrs: node(1).pod_cidrs, ..node(2) };
        for (second, text) in [
            (same_underlay, "nodes node-1 and node-2 both have the underlay address 192.0.2.1"),
            (same_mac, "nodes node-1 and node-2 both have the VTEP MAC 02:00:00:00:04:01"),
            (
                overlapping,
                "pod CIDR 10.42.0.0/16 of node node-2 overlaps pod CIDR 10.42.1.0/24 of node node-1",
            ),
            (equal, "pod CIDR 10.42.1.0/24 of node node-1 overlaps pod CIDR 10.42.1.0/24 of node node-2"),
        ] {
            assert_eq!(Fdb::new(vec![node(1), second]).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn group_and_zero_macs_are_rejected_and_a_node_may_use_one_mac_twice() {
        for mac in [Mac::ZERO, Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
            assert!(matches!(Fdb::new(vec![Vtep { mac, ..node(1) }]), Err(FdbError::MacNotUnicast { .. })));
        }
        assert!(Fdb::new(vec![Vtep { mac_v6: Some(node(1).mac), ..node(1) }]).is_ok());
    }

    #[test]
    fn cidr_with_host_bits_covers_its_whole_network() {
        let vtep = Vtep { pod_cidrs: vec!["10.42.9.77/24".parse().unwrap()], ..node(9) };
        let fdb = Fdb::new(vec![vtep]).unwrap();
        assert_eq!(name(fdb.route("10.42.9.1".parse().unwrap())), Some("node-9"));
    }

    proptest! {
        #[test]
        fn route_agrees_with_asking_every_vtep(
            numbers in proptest::collection::btree_set(any::<u8>(), 0..20),
            third: u8,
            last: u8,
        ) {
            let fdb = Fdb::new(numbers.into_iter().map(node).collect()).unwrap();
            for address in [
                IpAddr::from([10, 42, third, last]),
                IpAddr::from([0x2001, 0xdb8, 0x42, u16::from(third), 0, 0, 0, u16::from(last)]),
            ] {
                let asked = fdb.iter().find(|(_, vtep)| vtep.owns(address));
                prop_assert_eq!(fdb.route(address), asked);
            }
        }
    }
}
