//! All identities at once, from the view and the catalogue: prefixes are marked, then walked from the outermost inwards.

use super::{BLOCKS, Identities, Owner, PodClasses, identity};
use crate::api::{IpBlock, Labels};
use crate::cluster::View;
use crate::lower::TooLarge;
use crate::lower::budget::Budget;
use crate::lower::catalogue::Catalogue;
use crate::lower::marks::{Mark, Prefix, blocks, mask, prefix};
use crate::model::Peer;
use ipnet::IpNet;
use std::collections::BTreeSet;

impl Identities {
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

    fn mark(&mut self, net: IpNet) -> &mut Mark {
        let (family, prefix) = prefix(net);
        self.families[family].marks.entry(prefix).or_default()
    }

    /// A block that is cut out of itself holds nothing.
    pub(super) fn mark_block(&mut self, atom: usize, block: &IpBlock) -> bool {
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
}
