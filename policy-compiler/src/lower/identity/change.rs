//! Changes in place: addresses that get another owner, atoms that are new.
//!
//! A new atom that holds of all or none of a class or an identity is added to it in place; only where it tells some
//! of its addresses from others these get another identity. No rule before the new ones knows the atom.

use super::{BLOCKS, Identities, Owner, SELECTORS, identity};
use crate::api::IpBlock;
use crate::lower::TooLarge;
use crate::lower::budget::Budget;
use crate::lower::marks::{CutOut, Mark, Prefix, blocks, mask, prefix};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl Identities {
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
