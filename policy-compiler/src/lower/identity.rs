//! Addresses → identities: classes of addresses that no rule can tell apart.
//!
//! Every prefix that matters (blocks, their excepts, pod and node addresses) is marked. What an address is in is inherited
//! from the prefix around it; what no longer prefix takes away has the prefix's identity, and so has the trie.
//!
//! Pods are of one *class* when the same atoms hold of them and the names that rules use stand for the same ports; of one
//! identity when the same blocks hold their addresses too: one more pod of a known kind is one more prefix. Nodes that no
//! selector tells apart share an identity as well: which of them is a subject's own is asked by address.
//!
//! A new atom that holds of all or none of a class or an identity is added to it in place; only where it tells some
//! of its addresses from others these get another identity. No rule before the new ones knows the atom.

use super::TooLarge;
use super::budget::Budget;
use super::catalogue::{Catalogue, Resolved};
use super::marks::{CutOut, Family, Mark, Prefix, blocks, mask, prefix};
use crate::api::{IpBlock, Labels};
use crate::classifier::numbering::Numbering;
use crate::classifier::trie::{Trie, TrieTable};
use crate::cluster::View;
use crate::model::Peer;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Who owns the addresses of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// No live pod.
    Nobody,
    /// Live pods of this class.
    Pods(usize),
    /// Pods that are cut off, by position in the view's list.
    CutOff(usize),
}

/// What is said of lists of blocks that are too long together.
const BLOCKS: &str = "overlapping ipBlocks";

/// What is said of lists of selectors that are too long together.
pub(crate) const SELECTORS: &str = "selectors of pods";

/// What rules see of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct PodClass {
    /// Numbers of the atoms that hold, sorted.
    pub(crate) atoms: Vec<usize>,
    /// What port names stand for.
    pub(crate) names: Vec<Resolved>,
}

impl PodClass {
    /// Words of its lists: those of a name are two.
    fn words(&self) -> usize {
        self.atoms.len() + 2 * self.names.len()
    }
}

/// What rules see of all pods, once for all of which they see the same.
#[derive(Debug, Default)]
pub(crate) struct PodClasses {
    pub(crate) distinct: Vec<PodClass>,
    /// The position in `distinct` of each pod's.
    pub(crate) of_pod: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Identity {
    owner: Owner,
    /// Numbers of the blocks that hold the addresses, sorted.
    blocks: Vec<usize>,
    /// Numbers of the selectors of nodes that match one whose addresses they are.
    nodes: Vec<usize>,
    /// They are a node's on which subjects run.
    own: bool,
}

impl Identity {
    fn words(&self) -> usize {
        self.blocks.len() + self.nodes.len()
    }
}

/// An identity, ready to be matched.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) cut_off: Option<usize>,
    /// The addresses are some subject's own node's.
    pub(crate) own: bool,
    /// The atoms that hold, sorted.
    atoms: Vec<usize>,
    /// Ports that names stand for.
    pub(crate) names: Vec<Resolved>,
    /// Number of the distinct `names`; 0 is none.
    pub(crate) profile: usize,
}

impl Seen {
    pub(crate) fn has(&self, atom: usize) -> bool {
        self.atoms.binary_search(&atom).is_ok()
    }

    pub(crate) fn atoms(&self) -> &[usize] {
        &self.atoms
    }
}

/// All prefixes, classes and identities.
#[derive(Debug)]
pub(crate) struct Identities {
    families: [Family; 2],
    classes: Numbering<PodClass>,
    /// Pods of each class.
    class_pods: Vec<usize>,
    free_classes: Vec<usize>,
    /// What tells identities apart, by number.
    kinds: Numbering<Identity>,
    /// Prefixes of each identity; the first has one more, so that it stays.
    prefixes: Vec<usize>,
    free: Vec<usize>,
    profiles: Numbering<Vec<Resolved>>,
    /// By identity. Number 0 is what nothing is known of.
    pub(crate) seen: Vec<Seen>,
    /// Identities that are new since somebody asked.
    new: BTreeSet<usize>,
    /// Words of the lists of classes and identities in use. Those in a [`Numbering`] are there twice.
    words: usize,
}

impl Identities {
    fn new() -> Self {
        let mut kinds = Numbering::new();
        kinds.number(Identity { owner: Owner::Nobody, blocks: Vec::new(), nodes: Vec::new(), own: false });
        let mut profiles = Numbering::new();
        profiles.number(Vec::new());
        Self {
            families: [Family::new(true), Family::new(false)],
            classes: Numbering::new(),
            class_pods: Vec::new(),
            free_classes: Vec::new(),
            kinds,
            prefixes: vec![1],
            free: Vec::new(),
            profiles,
            seen: vec![Seen::default()],
            new: BTreeSet::new(),
            words: 0,
        }
    }

    /// `own`: the nodes that subjects run on. The class of each of the view's pods is returned.
    pub(crate) fn build(
        view: &View<'_>,
        catalogue: &Catalogue,
        classes: PodClasses,
        own: &BTreeSet<&str>,
        budget: &mut Budget,
    ) -> Result<(Self, Vec<usize>), TooLarge> {
        let mut built = Self::new();
        for (number, atom) in catalogue.atoms.things().iter().enumerate() {
            let Peer::Addresses(block) = atom else { continue };
            built.mark_block(number, block);
        }
        let classes = built.add_classes(classes);
        for (&address, &(position, cut_off)) in &view.owners {
            let class = classes.get(position).copied().unwrap_or(0);
            built.mark(IpNet::from(address)).owner = Some(cut_off.map_or(Owner::Pods(class), Owner::CutOff));
        }
        built.mark_nodes(view, catalogue, own);
        built.walk(budget)?;
        for family in &mut built.families {
            family.build(budget)?;
        }
        for number in 0..built.kinds.len() {
            built.see(number);
            built.fits(budget)?;
        }
        built.new.clear();
        Ok((built, classes))
    }

    fn add_classes(&mut self, classes: PodClasses) -> Vec<usize> {
        let numbers: Vec<usize> =
            classes.distinct.into_iter().map(|class| self.number_of_class(class)).collect();
        let number = |position: &usize| numbers.get(*position).copied().unwrap_or(0);
        let of_pod: Vec<usize> = classes.of_pod.iter().map(number).collect();
        for &class in &of_pod {
            self.count_pod(class);
        }
        of_pod
    }

    /// Bytes of the lists of what holds of pods and addresses.
    pub(crate) fn list_bytes(&self) -> usize {
        self.words.saturating_mul(size_of::<usize>())
    }

    fn fits(&self, budget: &Budget) -> Result<(), TooLarge> {
        budget.holds(self.list_bytes(), BLOCKS)
    }

    pub(crate) fn tries(&self) -> [&Trie; 2] {
        let [v4, v6] = &self.families;
        [&v4.trie, &v6.trie]
    }

    /// The tries as they are now, for readers.
    pub(crate) fn copy_tries(&mut self) -> [TrieTable; 2] {
        let [v4, v6] = &mut self.families;
        [v4.trie.copy(), v6.trie.copy()]
    }

    /// How many identities came since [`Self::take_new`].
    pub(crate) fn new_count(&self) -> usize {
        self.new.len()
    }

    /// Identities that came since this was last asked.
    pub(crate) fn take_new(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.new)
    }

    fn mark(&mut self, net: IpNet) -> &mut Mark {
        let (family, prefix) = prefix(net);
        self.families[family].marks.entry(prefix).or_default()
    }

    /// A block that is cut out of itself holds nothing.
    fn mark_block(&mut self, atom: usize, block: &IpBlock) -> bool {
        if block.except.iter().any(|except| except.contains(&block.cidr)) {
            return false;
        }
        self.mark(block.cidr).enter.push(atom);
        for &except in &block.except {
            self.mark(except).leave.push(atom);
        }
        true
    }

    fn mark_nodes(&mut self, view: &View<'_>, catalogue: &Catalogue, own: &BTreeSet<&str>) {
        let none = Labels::new();
        for (name, addresses) in &view.own_node {
            let labels = view.node_labels.get(name).copied().unwrap_or(&none);
            let atoms = catalogue.atoms.things().iter().enumerate();
            let matching =
                atoms.filter(|(_, atom)| matches!(atom, Peer::Nodes(some) if some.matches(labels)));
            let matching: Vec<usize> = matching.map(|(number, _)| number).collect();
            for &address in addresses {
                let mark = self.mark(IpNet::from(address));
                mark.nodes.extend(&matching);
                mark.nodes.sort_unstable();
                mark.nodes.dedup();
                mark.own |= own.contains(name);
            }
        }
    }

    /// Gives every prefix its identity.
    fn walk(&mut self, budget: &mut Budget) -> Result<(), TooLarge> {
        let Self { families, kinds, prefixes, words, .. } = self;
        for family in families {
            // The prefixes around the current one, outermost first: prefix, blocks.
            let mut around: Vec<(Prefix, Vec<usize>)> = Vec::new();
            for (&(address, len), mark) in &mut family.marks {
                while around.last().is_some_and(|&((outer, len), _)| (outer ^ address) & mask(len) != 0) {
                    around.pop();
                }
                let inherited = around.last().map(|(_, blocks)| &blocks[..]).unwrap_or_default();
                budget.toil(1 + inherited.len() + mark.leave.len(), BLOCKS)?;
                let blocks = blocks(inherited, mark);
                let identity = identity(mark, blocks.clone());
                let (before, length) = (kinds.len(), identity.words());
                mark.identity = kinds.number(identity);
                if kinds.len() > before {
                    *words += 2 * length;
                    budget.holds(words.saturating_mul(size_of::<usize>()), BLOCKS)?;
                }
                prefixes.resize(prefixes.len().max(kinds.len()), 0);
                if let Some(count) = prefixes.get_mut(mark.identity) {
                    *count += 1;
                }
                around.push(((address, len), blocks));
            }
        }
        Ok(())
    }

    /// The number of an identity for one more prefix.
    fn take(&mut self, identity: Identity) -> usize {
        let known = self.kinds.find(&identity);
        if known.is_none() {
            self.words += 2 * identity.words();
        }
        let number = known.unwrap_or_else(|| self.kinds.reuse(identity, &mut self.free));
        self.prefixes.resize(self.prefixes.len().max(number + 1), 0);
        if let Some(count) = self.prefixes.get_mut(number) {
            *count += 1;
        }
        if known.is_none() {
            self.see(number);
        }
        number
    }

    /// A prefix has another identity now.
    fn give_back(&mut self, number: usize) {
        let Some(count) = self.prefixes.get_mut(number) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.words = self.words.saturating_sub(2 * self.kinds.get(number).map_or(0, Identity::words));
            self.kinds.forget(number);
            self.free.push(number);
            self.new.remove(&number);
        }
    }

    fn see(&mut self, number: usize) {
        let Some(identity) = self.kinds.get(number) else { return };
        let mut seen = Seen { own: identity.own, ..Seen::default() };
        seen.atoms.extend(identity.blocks.iter().chain(&identity.nodes));
        match identity.owner {
            Owner::Nobody => {}
            Owner::CutOff(position) => seen.cut_off = Some(position),
            Owner::Pods(class) => {
                if let Some(class) = self.classes.get(class) {
                    seen.atoms.extend(&class.atoms);
                    seen.names.clone_from(&class.names);
                }
            }
        }
        seen.atoms.sort_unstable();
        seen.profile = self.profiles.number(seen.names.clone());
        if number >= self.seen.len() {
            self.seen.resize(number + 1, Seen::default());
        }
        self.words += seen.atoms.len();
        if let Some(slot) = self.seen.get_mut(number) {
            self.words = self.words.saturating_sub(slot.atoms.len());
            *slot = seen;
        }
        self.new.insert(number);
    }

    /// The class of one more pod.
    pub(crate) fn add_to_class(&mut self, class: PodClass) -> usize {
        let number = self.number_of_class(class);
        self.count_pod(number);
        number
    }

    fn number_of_class(&mut self, class: PodClass) -> usize {
        if let Some(number) = self.classes.find(&class) {
            return number;
        }
        self.words += 2 * class.words();
        self.classes.reuse(class, &mut self.free_classes)
    }

    fn count_pod(&mut self, class: usize) {
        self.class_pods.resize(self.class_pods.len().max(class + 1), 0);
        if let Some(pods) = self.class_pods.get_mut(class) {
            *pods += 1;
        }
    }

    /// A pod is no longer of a class.
    pub(crate) fn remove_from_class(&mut self, class: usize) {
        let Some(pods) = self.class_pods.get_mut(class) else { return };
        *pods = pods.saturating_sub(1);
        if *pods == 0 {
            self.words = self.words.saturating_sub(2 * self.classes.get(class).map_or(0, PodClass::words));
            self.classes.forget(class);
            self.free_classes.push(class);
        }
    }

    pub(crate) fn class(&self, number: usize) -> Option<&PodClass> {
        self.classes.get(number)
    }

    pub(crate) fn class_size(&self, number: usize) -> usize {
        self.class_pods.get(number).copied().unwrap_or(0)
    }

    /// Adds a new atom to classes, and so to all their identities. No rule of a row there is knows the atom.
    pub(crate) fn add_to_classes(
        &mut self,
        classes: &BTreeSet<usize>,
        atom: usize,
        budget: &mut Budget,
    ) -> Result<(), TooLarge> {
        if classes.is_empty() {
            return Ok(());
        }
        for &class in classes {
            if let Some(mut grown) = self.classes.get(class).cloned() {
                budget.toil(3 * grown.words(), SELECTORS)?;
                // Higher than all before it.
                grown.atoms.push(atom);
                self.words += 2;
                self.classes.rename(class, grown);
            }
        }
        budget.toil(self.kinds.len(), SELECTORS)?;
        for (identity, seen) in self.kinds.things().iter().zip(&mut self.seen) {
            if matches!(identity.owner, Owner::Pods(class) if classes.contains(&class))
                && let Err(place) = seen.atoms.binary_search(&atom)
            {
                self.words += 1;
                seen.atoms.insert(place, atom);
            }
        }
        self.fits(budget)
    }

    /// Gives an address to somebody else, or to nobody.
    pub(crate) fn set_owner(
        &mut self,
        address: IpAddr,
        owner: Option<Owner>,
        budget: &mut Budget,
    ) -> Result<(), TooLarge> {
        let (number, place) = prefix(IpNet::from(address));
        let around = self.families[number].around(place).map_or(0, |mark| mark.identity);
        let mark = self.families[number].marks.entry(place);
        let known = matches!(mark, std::collections::btree_map::Entry::Occupied(_));
        let mark = mark.or_default();
        let before = known.then_some(mark.identity);
        mark.owner = owner;
        if mark.is_empty() {
            self.families[number].marks.remove(&place);
            if let Some(before) = before {
                if before != around {
                    self.families[number].insert(place, around, budget)?;
                }
                self.give_back(before);
            }
            return Ok(());
        }
        let inherited = self.kinds.get(around).map(|identity| &identity.blocks[..]).unwrap_or_default();
        budget.toil(1 + inherited.len() + mark.leave.len(), BLOCKS)?;
        let wanted = identity(mark, blocks(inherited, mark));
        let after = self.take(wanted);
        if let Some(mark) = self.families[number].marks.get_mut(&place) {
            mark.identity = after;
        }
        if before != Some(after) {
            self.families[number].insert(place, after, budget)?;
        }
        if let Some(before) = before {
            self.give_back(before);
        }
        Ok(())
    }

    /// Adds a new atom that is a block. No rule of a row there is knows the atom.
    pub(crate) fn add_block(
        &mut self,
        atom: usize,
        block: &IpBlock,
        budget: &mut Budget,
    ) -> Result<(), TooLarge> {
        let (number, cidr) = prefix(block.cidr);
        budget.toil(block.except.len(), BLOCKS)?;
        for net in std::iter::once(&block.cidr).chain(&block.except) {
            let (number, place) = prefix(*net);
            let family = &mut self.families[number];
            if !family.marks.contains_key(&place) {
                let identity = family.around(place).map_or(0, |mark| mark.identity);
                family.marks.insert(place, Mark { identity, ..Mark::default() });
                if let Some(count) = self.prefixes.get_mut(identity) {
                    *count += 1;
                }
            }
        }
        if !self.mark_block(atom, block) {
            return Ok(());
        }
        let excepts = block.except.iter().map(|except| prefix(*except));
        let excepts = excepts.filter(|(family, _)| *family == number).map(|(_, except)| except);
        let mut outside = CutOut::new(excepts.collect());
        let last = cidr.0 | !mask(cidr.1);
        let mut inside: Vec<(Prefix, usize)> = Vec::new();
        let mut holding: BTreeMap<usize, usize> = BTreeMap::new();
        for (&place, mark) in self.families[number].marks.range(cidr..=(last, 128)) {
            budget.toil(1, BLOCKS)?;
            if !outside.holds(place) {
                inside.push((place, mark.identity));
                *holding.entry(mark.identity).or_default() += 1;
            }
        }
        let mut others: BTreeMap<usize, usize> = BTreeMap::new();
        for (&old, &count) in &holding {
            let Some(mut grown) = self.kinds.get(old).cloned() else { continue };
            budget.toil(3 * grown.words(), BLOCKS)?;
            // Higher than all before it.
            grown.blocks.push(atom);
            if self.prefixes.get(old) == Some(&count) {
                self.words += 2;
                self.kinds.rename(old, grown);
                if let Some(seen) = self.seen.get_mut(old)
                    && let Err(place) = seen.atoms.binary_search(&atom)
                {
                    self.words += 1;
                    seen.atoms.insert(place, atom);
                }
            } else {
                others.insert(old, self.take(grown));
            }
        }
        self.fits(budget)?;
        if others.is_empty() {
            return Ok(());
        }
        for (place, old) in inside {
            let Some(&new) = others.get(&old) else { continue };
            if let Some(mark) = self.families[number].marks.get_mut(&place) {
                mark.identity = new;
            }
            if let Some(count) = self.prefixes.get_mut(new) {
                *count += 1;
            }
            self.give_back(old);
        }
        // Each was taken once too often: for being there at all.
        for &new in others.values() {
            self.give_back(new);
        }
        let mut prefixes: Vec<(u8, u128, usize)> = self.families[number]
            .marks
            .range(cidr..=(last, 128))
            .map(|(&(address, len), mark)| (len, address, mark.identity))
            .collect();
        prefixes.sort_unstable();
        let family = &mut self.families[number];
        prefixes
            .into_iter()
            .try_for_each(|(len, address, identity)| family.insert((address, len), identity, budget))
    }
}

fn identity(mark: &Mark, blocks: Vec<usize>) -> Identity {
    Identity { owner: mark.owner.unwrap_or(Owner::Nobody), blocks, nodes: mark.nodes.clone(), own: mark.own }
}
