//! One generation: the compiled policy and every table a packet is looked up in, immutable and consistent.
//!
//! Built off the packet path from the compiler's output. Keys that a sender chooses (addresses) are hashed
//! with a key of this process.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use policy_compiler::{Classifier, Compiled, PodName, RuleTable, SubjectId};
use vxlan::fdb::{Fdb, FdbError, VtepId};
use vxlan::vtep::Vtep;

use super::addresses::Addresses;
use super::own_node::{NextHops, OwnNode};
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
    /// Those who have an address of their own, as far as they are of this node.
    parties: Addresses<Party>,
    /// Per endpoint, the address that it cannot have.
    misplaced: Vec<Option<IpAddr>>,
    /// Per endpoint, whether it is cut off.
    cut_off: Vec<bool>,
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
        let by_name: HashMap<_, _, ahash::RandomState> = (0..)
            .zip(&endpoints)
            .map(|(position, endpoint): (EndpointIndex, _)| (endpoint.name.clone(), position))
            .collect();
        // The compiler knows of them, but for what this node has learned of itself since the compilation.
        let found = &compiled.cluster.misplaced;
        let found: HashMap<&PodName, IpAddr> =
            found.iter().map(|(name, address, _)| (name, *address)).collect();
        let misplaced: Vec<Option<IpAddr>> = endpoints
            .iter()
            .map(|endpoint| {
                let mut addresses = endpoint.addresses.iter().copied();
                let own_finding = || addresses.find(|address| !own.may_be_pod(*address));
                found.get(&endpoint.name).copied().or_else(own_finding)
            })
            .collect();
        let conflicts: HashSet<IpAddr> =
            compiled.cluster.conflicts.iter().map(|(address, _)| *address).collect();
        let cut_off: Vec<bool> = endpoints
            .iter()
            .zip(&misplaced)
            .map(|(endpoint, misplaced)| {
                misplaced.is_some() || endpoint.addresses.iter().any(|address| conflicts.contains(address))
            })
            .collect();
        // Later ones take precedence.
        let mut parties: Addresses<Party> =
            conflicts.iter().map(|address| (*address, Party::Conflict)).collect();
        parties.extend(own.addresses.iter().map(|address| (*address, Party::Node)));
        for (position, endpoint) in endpoints.iter().enumerate() {
            let is_misplaced = misplaced.get(position).is_none_or(Option::is_some);
            // A pod that claims what is the node's, or what cannot be a pod of this node, does not get it.
            for &address in endpoint.addresses.iter().filter(|address| own.may_be_pod(**address)) {
                let contested = is_misplaced || conflicts.contains(&address);
                let party = if contested { Party::Conflict } else { Party::Pod(position as EndpointIndex) };
                parties.insert(address, party);
            }
        }
        let owners = endpoints.iter().map(|endpoint| endpoint.owner).collect();
        let routed: HashSet<&str> = fdb.iter().map(|(_, vtep)| vtep.name.as_str()).collect();
        let others = compiled.cluster.nodes.iter().filter(|node| node.name != own.name);
        let unreachable = others
            .filter(|node| !routed.contains(node.name.as_str()))
            .flat_map(|node| node.pod_cidrs.iter().copied())
            .collect();
        let addresses = compiled.cluster.pod_addresses.keys().copied();
        let strays = addresses
            .filter(|address| parties.get(*address).is_none() && fdb.route(*address).is_none())
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
            parties,
            by_name,
            misplaced,
            cut_off,
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
    #[inline]
    pub fn party(&self, address: IpAddr) -> Party {
        self.parties.get(address).unwrap_or_else(|| self.nameless(address))
    }

    /// Who has an address that is nobody's own.
    fn nameless(&self, address: IpAddr) -> Party {
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

    /// True when an address of the endpoint is claimed by another live pod too, or is none it can have.
    pub fn is_cut_off(&self, index: EndpointIndex) -> bool {
        self.cut_off.get(index as usize).copied().unwrap_or_default()
    }
}
