//! One generation: the compiled policy and every table a packet is looked up in, immutable and consistent.
//!
//! Built off the packet path from the compiler's output. Keys that a sender chooses (addresses) are hashed
//! with a key of this process.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use policy_compiler::{Classifier, Compiled, PodName, RuleTable, SubjectId};
use vxlan::fdb::{Fdb, FdbError, VtepId};
use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::vtep::Vtep;

use crate::conntrack::Owner;

/// Position of an endpoint in [`Generation::endpoints`]; means nothing in another generation.
pub type EndpointIndex = u32;

/// A live pod of this node.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Namespace and name.
    pub name: PodName,
    /// The pod's uid; its name where the state gives none.
    pub uid: String,
    /// Number that stays with this uid over generations; connections are bound to it.
    pub owner: Owner,
    /// The subject its policy is compiled for.
    pub subject: SubjectId,
    /// Its addresses, both families.
    pub addresses: Vec<IpAddr>,
}

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

/// Who stands at one end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Party {
    /// A pod of this node.
    Pod(EndpointIndex),
    /// This node itself.
    Node,
    /// Something behind another node's VTEP.
    Vtep(VtepId),
    /// Outside the cluster, reached through the node.
    Outside,
    /// A pod of another node, or an address of its pod subnets, to which no VTEP leads: that node is not ready.
    Unreachable,
    /// An address of this node's pod subnets that no live pod has.
    Nobody,
    /// An address that two live pods claim.
    Conflict,
}

/// Everything a packet is judged and forwarded by.
#[derive(Clone)]
pub struct Generation {
    /// 1 for the first, then upwards.
    pub number: u64,
    /// The compiled policy.
    pub classifier: Arc<dyn Classifier>,
    /// What a verdict's rule id stands for.
    pub rules: Arc<RuleTable>,
    /// The pods of this node.
    pub endpoints: Vec<Endpoint>,
    /// The other nodes' tunnel ends.
    pub fdb: Fdb,
    /// This node.
    pub own: OwnNode,
    node_addresses: HashSet<IpAddr, ahash::RandomState>,
    conflicts: HashSet<IpAddr, ahash::RandomState>,
    /// Per endpoint, the address that it cannot have.
    misplaced: Vec<Option<IpAddr>>,
    by_address: HashMap<IpAddr, EndpointIndex, ahash::RandomState>,
    by_name: HashMap<PodName, EndpointIndex, ahash::RandomState>,
    owners: HashSet<Owner, ahash::RandomState>,
    /// Pod subnets of the nodes that have no VTEP; few, as a rule none.
    unreachable: Vec<IpNet>,
    /// Pods of other nodes that are in no node's pod subnet.
    strays: HashSet<IpAddr, ahash::RandomState>,
}

/// Gives each pod uid a number that it keeps for the life of the process.
#[derive(Debug, Default)]
pub struct EndpointIds {
    numbers: HashMap<String, u32>,
    next: u32,
}

impl EndpointIds {
    /// The number of `uid`, the same each time.
    pub fn owner(&mut self, uid: &str) -> Owner {
        if let Some(&number) = self.numbers.get(uid) {
            return Owner(number);
        }
        // After 2^32 pods numbers come round again, past `Owner::NONE` and those still in use.
        self.next = self.next.wrapping_add(1);
        while Owner(self.next) == Owner::NONE || self.numbers.values().any(|number| *number == self.next) {
            self.next = self.next.wrapping_add(1);
        }
        self.numbers.insert(uid.to_owned(), self.next);
        Owner(self.next)
    }

    /// Forgets the uids that are not in `live`.
    fn retain(&mut self, live: &HashSet<&str>) {
        self.numbers.retain(|uid, _| live.contains(uid.as_str()));
    }
}

/// The address a node's pods have their gateway at: the one after the subnet's own, as flannel's bridge has it.
pub fn gateway_address(cidr: &IpNet) -> Option<IpAddr> {
    match cidr.network() {
        IpAddr::V4(network) => Some(IpAddr::V4(u32::from(network).checked_add(1)?.into())),
        IpAddr::V6(network) => Some(IpAddr::V6(u128::from(network).checked_add(1)?.into())),
    }
}

impl Generation {
    /// Builds generation `number` for the node `own`.
    ///
    /// # Errors
    /// Two nodes share a VTEP address, a VTEP MAC or a pod subnet.
    pub fn new(
        number: u64,
        compiled: &Compiled,
        own: OwnNode,
        vteps: Vec<Vtep>,
        ids: &mut EndpointIds,
    ) -> Result<Self, FdbError> {
        let fdb = Fdb::new(vteps)?;
        let endpoints: Vec<Endpoint> = compiled
            .cluster
            .subjects
            .iter()
            .enumerate()
            .map(|(position, subject)| {
                let uid = if subject.uid.is_empty() { subject.name.to_string() } else { subject.uid.clone() };
                Endpoint {
                    name: subject.name.clone(),
                    owner: ids.owner(&uid),
                    uid,
                    subject: SubjectId(position as u32),
                    addresses: subject.addresses.clone(),
                }
            })
            .collect();
        ids.retain(&endpoints.iter().map(|endpoint| endpoint.uid.as_str()).collect());
        let conflicts = compiled.cluster.conflicts.iter().map(|(address, _)| *address).collect();
        let mut by_address: HashMap<_, _, ahash::RandomState> = HashMap::default();
        let mut by_name: HashMap<_, _, ahash::RandomState> = HashMap::default();
        for (position, endpoint) in endpoints.iter().enumerate() {
            by_name.insert(endpoint.name.clone(), position as EndpointIndex);
            for address in &endpoint.addresses {
                // A pod that claims what is the node's, or what cannot be a pod of this node, does not get it.
                if own.may_be_pod(*address) {
                    by_address.insert(*address, position as EndpointIndex);
                }
            }
        }
        // The compiler knows of them, but for what this node has learned of itself since the compilation.
        let found = &compiled.cluster.misplaced;
        let found: HashMap<&PodName, IpAddr> =
            found.iter().map(|(name, address, _)| (name, *address)).collect();
        let misplaced = endpoints
            .iter()
            .map(|endpoint| {
                let mut addresses = endpoint.addresses.iter().copied();
                let own_finding = || addresses.find(|address| !own.may_be_pod(*address));
                found.get(&endpoint.name).copied().or_else(own_finding)
            })
            .collect();
        let owners = endpoints.iter().map(|endpoint| endpoint.owner).collect();
        let routed: HashSet<&str> = fdb.iter().map(|(_, vtep)| vtep.name.as_str()).collect();
        let others = compiled.cluster.nodes.iter().filter(|node| node.name != own.name);
        let unreachable = others
            .filter(|node| !routed.contains(node.name.as_str()))
            .flat_map(|node| node.pod_cidrs.iter().copied())
            .collect();
        let addresses = compiled.cluster.pod_addresses.keys().copied();
        let strays = addresses
            .filter(|address| !by_address.contains_key(address) && fdb.route(*address).is_none())
            .collect();
        let mut node_addresses: HashSet<IpAddr, ahash::RandomState> = own.addresses.clone();
        for node in &compiled.cluster.nodes {
            node_addresses.extend(node.addresses.iter().copied());
            node_addresses.extend(node.public_ip.map(IpAddr::V4));
            node_addresses.extend(node.public_ipv6.map(IpAddr::V6));
            // flannel.1 has the subnet's own address, the bridge the one after it: a kernel node takes VXLAN on both.
            for cidr in &node.pod_cidrs {
                node_addresses.insert(cidr.network());
                node_addresses.extend(gateway_address(cidr));
            }
        }
        Ok(Self {
            number,
            classifier: Arc::clone(&compiled.classifier),
            rules: Arc::clone(&compiled.rules),
            endpoints,
            fdb,
            own,
            node_addresses,
            conflicts,
            by_address,
            by_name,
            misplaced,
            owners,
            unreachable,
            strays,
        })
    }

    /// The same under another number, with these MACs of ours and of the next hops on the underlay.
    #[must_use]
    pub fn rerouted(&self, number: u64, next_hops: NextHops) -> Self {
        let mut other = Self { number, ..self.clone() };
        other.own.take_next_hops(next_hops);
        other
    }

    /// Who has `address`.
    pub fn party(&self, address: IpAddr) -> Party {
        if let Some(&endpoint) = self.by_address.get(&address) {
            let cut_off = self.conflicts.contains(&address) || self.misplaced_address(endpoint).is_some();
            return if cut_off { Party::Conflict } else { Party::Pod(endpoint) };
        }
        if self.own.addresses.contains(&address) {
            return Party::Node;
        }
        if self.conflicts.contains(&address) {
            return Party::Conflict;
        }
        if self.own.pod_cidrs.iter().any(|cidr| cidr.contains(&address)) {
            return Party::Nobody;
        }
        match self.fdb.route(address) {
            Some((vtep, _)) => Party::Vtep(vtep),
            // Policy knows these addresses as pods'. Were they outside, anybody out there could speak as them.
            None if self.strays.contains(&address) => Party::Unreachable,
            None if self.unreachable.iter().any(|cidr| cidr.contains(&address)) => Party::Unreachable,
            None => Party::Outside,
        }
    }

    /// The endpoint at `index`.
    pub fn endpoint(&self, index: EndpointIndex) -> Option<&Endpoint> {
        self.endpoints.get(index as usize)
    }

    /// True unless `owner` was a pod of this node that this generation does not have.
    pub fn is_live(&self, owner: Owner) -> bool {
        owner == Owner::NONE || self.owners.contains(&owner)
    }

    /// The endpoint called `name`.
    pub fn endpoint_named(&self, name: &PodName) -> Option<EndpointIndex> {
        self.by_name.get(name).copied()
    }

    /// True when `address` is any node's own address: where a pod's VXLAN must never go.
    pub fn is_node_address(&self, address: IpAddr) -> bool {
        self.node_addresses.contains(&address) || self.fdb.by_underlay(address).is_some()
    }

    /// Pods that show an address no pod of this node can have, with that address: they are cut off.
    pub fn misplaced(&self) -> impl Iterator<Item = (&PodName, IpAddr)> {
        let pods = self.endpoints.iter().zip(&self.misplaced);
        pods.filter_map(|(endpoint, address)| Some((&endpoint.name, (*address)?)))
    }

    fn misplaced_address(&self, index: EndpointIndex) -> Option<IpAddr> {
        self.misplaced.get(index as usize).copied().flatten()
    }

    /// True when an address of the endpoint is claimed by another live pod too, or is none it can have.
    pub fn is_cut_off(&self, index: EndpointIndex) -> bool {
        let addresses =
            self.endpoint(index).map(|endpoint| endpoint.addresses.as_slice()).unwrap_or_default();
        self.misplaced_address(index).is_some()
            || addresses.iter().any(|address| self.conflicts.contains(address))
    }
}
