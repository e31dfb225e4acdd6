//! Addresses → identities: classes of addresses that no rule can tell apart.
//!
//! Input: every prefix that matters (ipBlocks, their excepts, pod and node addresses). They are walked in order
//! of address and length, which is the depth-first order of the binary trie they form; what an address is in is
//! inherited from the prefix around it. Output: identities with the peers that match them, and the prefixes with
//! the identity of what no longer prefix takes away.
//!
//! Pods share an identity when the same peers match them, the same ipBlocks hold their addresses and the names
//! that egress rules use stand for the same ports: one more pod of a known kind is one more prefix.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::{Catalogue, Numbering};
use crate::cluster::View;
use crate::model::{Direction, Peer};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Who owns the addresses of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// No live pod.
    Nobody,
    /// Live pods of one class.
    Pods(PodClass),
    /// Pods that are cut off, by position in the view's list.
    CutOff(usize),
}

/// What rules see of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct PodClass {
    /// Numbers of the peers that match it.
    peers: Vec<usize>,
    /// What port names stand for: number of the name, number of the range.
    names: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    owner: Owner,
    /// Numbers of the ipBlocks that hold the addresses.
    blocks: Vec<usize>,
    /// Nodes whose own address it is, by position in the list given.
    nodes: Vec<usize>,
}

/// An identity, ready to be matched.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) cut_off: Option<usize>,
    pub(crate) nodes: Vec<usize>,
    /// The peers that match.
    pub(crate) peers: Bits,
    /// Ranges that names stand for.
    pub(crate) names: Vec<(usize, usize)>,
    /// Number of the distinct `names`.
    pub(crate) profile: usize,
}

/// Prefix with its identity: address bits left-aligned, length.
pub(crate) type Prefix = (u128, u8, usize);

#[derive(Debug)]
pub(crate) struct Identities {
    pub(crate) seen: Vec<Seen>,
    /// IPv4, shortest first. The first is 0.0.0.0/0.
    pub(crate) v4: Vec<Prefix>,
    /// IPv6, shortest first. The first is ::/0.
    pub(crate) v6: Vec<Prefix>,
}

/// What stands at a prefix.
#[derive(Debug, Default)]
struct Mark {
    enter: Vec<usize>,
    leave: Vec<usize>,
    owner: Option<Owner>,
    nodes: Vec<usize>,
}

type Marks = BTreeMap<(u128, u8), Mark>;

/// `nodes`: those whose own addresses matter.
pub(crate) fn build(
    view: &View<'_>,
    catalogue: &mut Catalogue<'_>,
    nodes: &[&str],
    ceiling: usize,
) -> Result<Identities, TooLarge> {
    let mut families = [Marks::new(), Marks::new()];
    for marks in &mut families {
        marks.entry((0, 0)).or_default();
    }
    for (number, peer) in catalogue.peers.things().iter().enumerate() {
        let Peer::Addresses(block) = peer else { continue };
        mark(&mut families, block.cidr).enter.push(number);
        for &except in &block.except {
            mark(&mut families, except).leave.push(number);
        }
    }
    let classes = pod_classes(view, catalogue);
    for (&address, &(position, cut_off)) in &view.owners {
        let class = classes.get(position).cloned().unwrap_or_default();
        mark(&mut families, IpNet::from(address)).owner =
            Some(cut_off.map_or(Owner::Pods(class), Owner::CutOff));
    }
    for (position, node) in nodes.iter().enumerate() {
        for &address in view.own_node.get(node).into_iter().flatten() {
            mark(&mut families, IpNet::from(address)).nodes.push(position);
        }
    }
    let mut identities: Numbering<Identity> = Numbering::new();
    let mut budget = ceiling;
    let [v4, v6] = families.map(|marks| walk(marks, &mut identities, &mut budget));
    let (v4, v6) = (v4?, v6?);
    let peers = catalogue.peers.len();
    let needed = identities.len().saturating_mul(Bits::bytes(peers));
    if needed > ceiling {
        return Err(TooLarge { part: "identities", needed });
    }
    let mut profiles: Numbering<Vec<(usize, usize)>> = Numbering::new();
    let seen = identities.things().iter().map(|identity| see(identity, peers, &mut profiles)).collect();
    Ok(Identities { seen, v4, v6 })
}

fn mark(families: &mut [Marks; 2], net: IpNet) -> &mut Mark {
    let [v4, v6] = families;
    match net.network() {
        IpAddr::V4(address) => v4.entry((u128::from(address.to_bits()) << 96, net.prefix_len())).or_default(),
        IpAddr::V6(address) => v6.entry((address.to_bits(), net.prefix_len())).or_default(),
    }
}

/// The class of every live pod. Selectors are tried once per distinct namespace and labels, not per pod.
fn pod_classes(view: &View<'_>, catalogue: &mut Catalogue<'_>) -> Vec<PodClass> {
    // A name counts for the other end only in egress rules; ingress rules look it up on the subject.
    let egress = catalogue.entries.iter().filter(|entry| entry.rule.direction == Direction::Egress);
    let used: BTreeSet<usize> =
        egress.flat_map(|entry| &entry.ports).flat_map(|ports| ports.names.clone()).collect();
    let mut matched = BTreeMap::new();
    let mut classes = Vec::with_capacity(view.pods.len());
    for live in &view.pods {
        let peers = matched.entry(live.looks()).or_insert_with(|| {
            let matches = |peer: &&Peer| matches!(peer, Peer::Pods(some) if some.matches(&live.attributes()));
            let peers = catalogue.peers.things().iter().enumerate();
            peers.filter(|(_, peer)| matches(peer)).map(|(number, _)| number).collect::<Vec<usize>>()
        });
        let mut names = Vec::new();
        if !live.pod.named_ports.is_empty() && !used.is_empty() {
            names = resolve(live.pod, catalogue);
            names.retain(|(name, _)| used.contains(name));
        }
        classes.push(PodClass { peers: peers.clone(), names });
    }
    classes
}

/// What the names that rules use stand for on a pod.
pub(crate) fn resolve(pod: &crate::api::Pod, catalogue: &mut Catalogue<'_>) -> Vec<(usize, usize)> {
    let mut resolved = Vec::new();
    for (number, &(protocol, name)) in catalogue.names.things().iter().enumerate() {
        for port in
            pod.named_ports.iter().filter(|port| port.name == name && port.protocol == protocol.number())
        {
            resolved.push((number, catalogue.ranges.number((protocol, port.port, port.port))));
        }
    }
    resolved
}

/// Walks the prefixes in trie order. `budget`: bytes that inherited sets may take.
fn walk(
    marks: Marks,
    identities: &mut Numbering<Identity>,
    budget: &mut usize,
) -> Result<Vec<Prefix>, TooLarge> {
    // The prefixes around the current one, outermost first: address, length, blocks, identity.
    let mut around: Vec<(u128, u8, Vec<usize>, usize)> = Vec::new();
    let mut prefixes = Vec::with_capacity(marks.len());
    for ((address, len), mark) in marks {
        while around.last().is_some_and(|&(outer, outer_len, ..)| !covers(outer, outer_len, address)) {
            around.pop();
        }
        let inherited = around.last().map(|(_, _, blocks, _)| &blocks[..]).unwrap_or_default();
        let mut blocks: Vec<usize> =
            inherited.iter().copied().filter(|block| !mark.leave.contains(block)).chain(mark.enter).collect();
        blocks.sort_unstable();
        let bytes = blocks.len() * size_of::<usize>();
        *budget =
            budget.checked_sub(bytes).ok_or(TooLarge { part: "overlapping ipBlocks", needed: usize::MAX })?;
        let owner = mark.owner.unwrap_or(Owner::Nobody);
        let identity = Identity { owner, blocks: blocks.clone(), nodes: mark.nodes };
        let number = identities.number(identity);
        let same_as_around = around.last().is_some_and(|&(_, _, _, outer)| outer == number);
        if !same_as_around {
            prefixes.push((address, len, number));
        }
        around.push((address, len, blocks, number));
    }
    prefixes.sort_by_key(|&(_, len, _)| len);
    Ok(prefixes)
}

fn covers(outer: u128, len: u8, address: u128) -> bool {
    // A shift by the full width is no shift in Rust; the prefix of length 0 covers everything.
    (outer ^ address).checked_shr(128_u32.saturating_sub(u32::from(len))).unwrap_or(0) == 0
}

fn see(identity: &Identity, peers: usize, profiles: &mut Numbering<Vec<(usize, usize)>>) -> Seen {
    let mut matching = Bits::none(peers);
    for &block in &identity.blocks {
        matching.set(block);
    }
    let mut seen =
        Seen { cut_off: None, nodes: identity.nodes.clone(), peers: matching, names: Vec::new(), profile: 0 };
    match &identity.owner {
        Owner::Nobody => {}
        Owner::CutOff(position) => seen.cut_off = Some(*position),
        Owner::Pods(class) => {
            for &peer in &class.peers {
                seen.peers.set(peer);
            }
            seen.names.clone_from(&class.names);
        }
    }
    seen.profile = profiles.number(seen.names.clone());
    seen
}
