//! Addresses → identities: classes of addresses that no rule can tell apart.
//!
//! Input: every prefix that matters (blocks, their excepts, pod and node addresses). They are walked in order
//! of address and length, which is the depth-first order of the binary trie they form; what an address is in is
//! inherited from the prefix around it. Output: identities with the atoms that hold of them, and the prefixes with
//! the identity of what no longer prefix takes away.
//!
//! Pods share an identity when the same atoms hold of them, the same blocks hold their addresses and the names
//! that rules use stand for the same ports: one more pod of a known kind is one more prefix. Nodes that no selector
//! tells apart share one as well: which of them is a subject's own is asked by address.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::{Catalogue, Numbering, Resolved};
use crate::api::Labels;
use crate::cluster::View;
use crate::model::Peer;
use ipnet::IpNet;
use std::collections::BTreeMap;
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
    /// Numbers of the atoms that hold.
    atoms: Vec<usize>,
    /// What port names stand for.
    names: Vec<Resolved>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    owner: Owner,
    /// Numbers of the blocks that hold the addresses.
    blocks: Vec<usize>,
    /// Numbers of the selectors of nodes that match one whose addresses they are.
    nodes: Vec<usize>,
    /// They are a node's on which subjects run.
    own: bool,
}

/// An identity, ready to be matched.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) cut_off: Option<usize>,
    /// The addresses are some subject's own node's.
    pub(crate) own: bool,
    /// The atoms that hold.
    pub(crate) atoms: Bits,
    /// Ports that names stand for.
    pub(crate) names: Vec<Resolved>,
    /// Number of the distinct `names`; 0 is none.
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
    own: bool,
}

type Marks = BTreeMap<(u128, u8), Mark>;

/// `own`: the nodes that subjects run on.
pub(crate) fn build(
    view: &View<'_>,
    catalogue: &mut Catalogue<'_>,
    own: &[&str],
    ceiling: usize,
) -> Result<Identities, TooLarge> {
    let mut families = [Marks::new(), Marks::new()];
    for marks in &mut families {
        marks.entry((0, 0)).or_default();
    }
    for (number, atom) in catalogue.atoms.things().iter().enumerate() {
        let Peer::Addresses(block) = atom else { continue };
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
    mark_nodes(view, catalogue, own, &mut families);
    let mut identities: Numbering<Identity> = Numbering::new();
    // Number 0 is what nothing is known of.
    identities.number(Identity { owner: Owner::Nobody, blocks: Vec::new(), nodes: Vec::new(), own: false });
    let mut budget = ceiling;
    let [v4, v6] = families.map(|marks| walk(marks, &mut identities, &mut budget));
    let (v4, v6) = (v4?, v6?);
    let atoms = catalogue.atoms.len();
    // Once per identity and once per atom.
    let needed = identities.len().saturating_mul(Bits::bytes(atoms)).saturating_mul(2);
    if needed > ceiling {
        return Err(TooLarge { part: "identities", needed });
    }
    let mut profiles: Numbering<Vec<Resolved>> = Numbering::new();
    profiles.number(Vec::new());
    let seen = identities.things().iter().map(|identity| see(identity, atoms, &mut profiles)).collect();
    Ok(Identities { seen, v4, v6 })
}

fn mark_nodes(view: &View<'_>, catalogue: &Catalogue<'_>, own: &[&str], families: &mut [Marks; 2]) {
    let none = Labels::new();
    for (name, addresses) in &view.own_node {
        let labels = view.node_labels.get(name).copied().unwrap_or(&none);
        let atoms = catalogue.atoms.things().iter().enumerate();
        let matching = atoms.filter(|(_, atom)| matches!(atom, Peer::Nodes(some) if some.matches(labels)));
        let matching: Vec<usize> = matching.map(|(number, _)| number).collect();
        for &address in addresses {
            let mark = mark(families, IpNet::from(address));
            mark.nodes.extend(&matching);
            mark.nodes.sort_unstable();
            mark.nodes.dedup();
            mark.own |= own.contains(name);
        }
    }
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
    let mut matched = BTreeMap::new();
    let mut classes = Vec::with_capacity(view.pods.len());
    for live in &view.pods {
        let atoms = matched.entry(live.looks()).or_insert_with(|| {
            let matches = |atom: &&Peer| matches!(atom, Peer::Pods(some) if some.matches(&live.attributes()));
            let atoms = catalogue.atoms.things().iter().enumerate();
            atoms.filter(|(_, atom)| matches(atom)).map(|(number, _)| number).collect::<Vec<usize>>()
        });
        classes.push(PodClass { atoms: atoms.clone(), names: catalogue.resolve(live.pod) });
    }
    classes
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
        let identity = Identity { owner, blocks: blocks.clone(), nodes: mark.nodes, own: mark.own };
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

fn see(identity: &Identity, atoms: usize, profiles: &mut Numbering<Vec<Resolved>>) -> Seen {
    let mut holding = Bits::none(atoms);
    for &atom in identity.blocks.iter().chain(&identity.nodes) {
        holding.set(atom);
    }
    let mut seen = Seen { cut_off: None, own: identity.own, atoms: holding, names: Vec::new(), profile: 0 };
    match &identity.owner {
        Owner::Nobody => {}
        Owner::CutOff(position) => seen.cut_off = Some(*position),
        Owner::Pods(class) => {
            for &atom in &class.atoms {
                seen.atoms.set(atom);
            }
            seen.names.clone_from(&class.names);
        }
    }
    seen.profile = profiles.number(seen.names.clone());
    seen
}
