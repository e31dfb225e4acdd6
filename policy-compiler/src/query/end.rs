//! The ends a connection can have: pods, nodes, and the parts of the outside that policies tell apart.

use super::judge::Judge;
use crate::cluster::SubjectId;
use crate::model::{Model, Peer};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What an end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndKind {
    /// A pod that policies judge.
    Pod(SubjectId),
    /// A node, or a pod on the host network, which is its node.
    Node,
    /// Nobody of the cluster.
    Outside,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// For people: `ns/name`, `node a (192.0.2.1)`, an address, or a part of the outside.
    pub name: String,
    /// What it is.
    pub kind: EndKind,
    /// Its addresses, in the order the pod lists them.
    pub addresses: Vec<IpAddr>,
}

impl End {
    /// The pod that is judged at this end, if one is.
    pub fn subject(&self) -> Option<SubjectId> {
        match self.kind {
            EndKind::Pod(subject) => Some(subject),
            EndKind::Node | EndKind::Outside => None,
        }
    }

    /// Its first address of the family, 4 or 6.
    pub fn address(&self, family: u8) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| family_of(*address) == family)
    }
}

/// 4 or 6.
pub(super) const fn family_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 4 } else { 6 }
}

/// Everyone that the policies of any of these states can tell apart: no pod, but every node address and one
/// address for every part of the outside, named by its prefix. The same list holds for each of the states.
pub fn ends(judges: &[&Judge]) -> Vec<End> {
    let mut nodes: BTreeMap<IpAddr, String> = BTreeMap::new();
    let mut taken: BTreeSet<IpNet> = BTreeSet::new();
    let mut blocks: BTreeSet<IpNet> = BTreeSet::new();
    for judge in judges {
        let cluster = &judge.compiled().cluster;
        taken.extend(cluster.pod_addresses.keys().map(|&address| IpNet::from(address)));
        // What two pods claim is cut off: it stands for nothing around it.
        taken.extend(cluster.conflicts.iter().map(|(address, _)| IpNet::from(*address)));
        for node in &cluster.nodes {
            for &address in &node.addresses {
                nodes.entry(address).or_insert_with(|| format!("node {} ({address})", node.name));
            }
            // The first two addresses of a pod range are the node's own: VTEP and gateway.
            for cidr in &node.pod_cidrs {
                taken.extend(IpNet::new(cidr.network(), cidr.max_prefix_len().saturating_sub(1)));
            }
        }
        for (pod, address) in judge.host_pods() {
            nodes.entry(address).or_insert_with(|| format!("node of {pod} ({address})"));
        }
        blocks.extend(prefixes(judge.model()));
    }
    nodes.retain(|address, _| judges.iter().all(|judge| judge.subject_at(*address).is_none()));
    taken.extend(nodes.keys().map(|&address| IpNet::from(address)));
    let mut all: Vec<End> = nodes
        .into_iter()
        .map(|(address, name)| End { name, kind: EndKind::Node, addresses: vec![address] })
        .collect();
    blocks.extend([IpNet::from(IpAddr::from([0; 4])), IpNet::from(IpAddr::from([0_u16; 8]))].map(whole));
    let inner: Vec<IpNet> = blocks.iter().chain(&taken).copied().collect();
    for block in blocks {
        if let Some(address) = free_address(block, &inner) {
            let name =
                if block.prefix_len() == 0 { "outside".to_owned() } else { format!("outside in {block}") };
            all.push(End { name, kind: EndKind::Outside, addresses: vec![address] });
        }
    }
    all
}

/// The whole family of an address.
fn whole(net: IpNet) -> IpNet {
    net.supernet().map_or(net, whole)
}

/// Every prefix that some rule names.
fn prefixes(model: &Model) -> impl Iterator<Item = IpNet> {
    let rules = model.tiers.iter().flat_map(|tier| &tier.policies).flat_map(|policy| &policy.rules);
    let peers = rules.flat_map(|rule| rule.peers.listed()).flat_map(Peer::atoms);
    peers.flat_map(|peer| match peer {
        Peer::Addresses(block) => std::iter::once(block.cidr).chain(block.except.iter().copied()).collect(),
        _ => Vec::new(),
    })
}

/// An address of `block` that is in none of `inner` that are smaller than it. Each step leaves one of them
/// behind, so there are at most as many steps as prefixes.
fn free_address(block: IpNet, inner: &[IpNet]) -> Option<IpAddr> {
    let smaller: Vec<&IpNet> =
        inner.iter().filter(|net| net.prefix_len() > block.prefix_len() && block.contains(*net)).collect();
    let mut address = block.network();
    while let Some(hit) =
        smaller.iter().filter(|net| net.contains(&address)).min_by_key(|net| net.prefix_len())
    {
        address = next(hit.broadcast())?;
        if !block.contains(&address) {
            return None;
        }
    }
    Some(address)
}

fn next(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => IpAddr::V4(address.to_bits().checked_add(1)?.into()),
        IpAddr::V6(address) => IpAddr::V6(address.to_bits().checked_add(1)?.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::free_address;
    use ipnet::IpNet;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().flat_map(|text| text.parse()).collect()
    }

    #[test]
    fn a_part_of_the_outside_has_an_address_outside_all_smaller_parts() {
        let inner = nets(&["10.0.0.0/8", "10.0.0.0/16", "10.1.0.0/16", "10.2.0.1/32"]);
        let found = |block: &str| {
            nets(&[block]).first().and_then(|&block| free_address(block, &inner)).map(|ip| ip.to_string())
        };
        assert_eq!(found("0.0.0.0/0").as_deref(), Some("0.0.0.0"));
        assert_eq!(found("10.0.0.0/8").as_deref(), Some("10.2.0.0"));
        assert_eq!(found("10.0.0.0/15"), None);
        assert_eq!(found("10.2.0.0/31").as_deref(), Some("10.2.0.0"));
    }

    #[test]
    fn a_part_at_the_end_of_the_address_space_ends() {
        let inner = nets(&["255.255.255.254/31", "::/1", "8000::/1"]);
        for block in nets(&["255.255.255.254/31", "::/0"]) {
            let free = free_address(block, &inner);
            assert_eq!(free.is_some(), block.prefix_len() == 31, "{block}");
        }
    }
}
