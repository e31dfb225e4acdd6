//! Addresses → identities: classes of addresses that no rule can tell apart.
//!
//! Every prefix that matters (blocks, their excepts, pod and node addresses) is marked. What an address is in is inherited
//! from the prefix around it; what no longer prefix takes away has the prefix's identity, and so has the trie.
//!
//! Pods are of one *class* when the same atoms hold of them and the names that rules use stand for the same ports; of one
//! identity when the same blocks hold their addresses too: one more pod of a known kind is one more prefix. Nodes that no
//! selector tells apart share an identity as well: which of them is a subject's own is asked by address.
//!
//! Here is what classes and identities are, and how they come and go. `build` makes all of them at once, `change` those
//! that a pod or an atom brings.

mod build;
mod change;

use super::TooLarge;
use super::budget::Budget;
use super::catalogue::Resolved;
use super::marks::{Family, Mark};
use crate::classifier::numbering::Numbering;
use crate::classifier::trie::{Trie, TrieTable};
use std::collections::BTreeSet;

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
}

fn identity(mark: &Mark, blocks: Vec<usize>) -> Identity {
    Identity { owner: mark.owner.unwrap_or(Owner::Nobody), blocks, nodes: mark.nodes.clone(), own: mark.own }
}
