//! Rules that would blow up the products: looked up by each pair of prefixes around a packet's addresses.
//!
//! A rule stands once, at its own two prefixes, so memory is linear on any rule set. A packet walks the prefixes around
//! its source that have such rules, and tries those around its destination of a length they are paired with; a prefix
//! whose best rule is worse than what is found already is passed over. Slower than products, and not constant: the
//! nesting on both sides bounds the probes. Only asked where a set has such rules; most have none.
//! Bytes: 32 a class on either side, 43 a pair, and the lists.

use super::lists::Lists;
use super::pairs::{PairTable, Slot, key};
use super::prefixes::{Prefix, PrefixTree};
use super::record::{Fields, Record};
#[cfg(target_arch = "x86_64")]
use crate::classifier::arch::Avx512;
use ahash::AHashMap;

/// Words of a set of prefix lengths: 0 to 128.
const WORDS: usize = 3;
/// Lengths that the words can hold.
const LENGTHS: usize = WORDS * 64;

/// Rows of sixteen that hold a prefix of every length.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 9;

/// A rule and its prefixes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainRule {
    pub(super) record: Record,
    pub(super) src: Prefix,
    pub(super) dst: Prefix,
}

/// By class of the source.
#[derive(Debug, Clone, Copy)]
struct Source {
    /// Best id of the rules at this very prefix.
    best: u32,
    /// Class of the next shorter prefix with rules, or 0.
    above: u32,
    /// Lengths of destination prefixes it is paired with.
    lengths: [u64; WORDS],
}

/// By class of the destination.
#[derive(Debug, Clone, Copy)]
struct Destination {
    above: u32,
    length: u8,
}

/// The pairs of one family.
#[derive(Debug)]
pub(super) struct Chains {
    /// By class: the nearest one, itself or around it, with rules.
    src_near: Vec<u32>,
    dst_near: Vec<u32>,
    sources: Vec<Source>,
    destinations: Vec<Destination>,
    pairs: PairTable,
}

impl Chains {
    /// The pairs of these rules, ids ascending; their prefixes are in the trees.
    pub(super) fn new(
        rules: &[ChainRule],
        src_tree: &PrefixTree,
        dst_tree: &PrefixTree,
        lists: &mut Lists,
    ) -> Self {
        let unused = Source { best: u32::MAX, above: 0, lengths: [0; WORDS] };
        let mut chains = Self {
            src_near: vec![0; src_tree.classes()],
            dst_near: vec![0; dst_tree.classes()],
            sources: vec![unused; src_tree.classes()],
            destinations: vec![Destination { above: 0, length: 0 }; dst_tree.classes()],
            pairs: PairTable::new(&[]),
        };
        let mut at: AHashMap<(u32, u32), Vec<Record>> = AHashMap::new();
        for rule in rules {
            let (Some(src), Some(dst)) = (src_tree.class(rule.src), dst_tree.class(rule.dst)) else {
                continue;
            };
            at.entry((src, dst)).or_default().push(rule.record);
            if let Some(source) = chains.sources.get_mut(src as usize) {
                source.best = source.best.min(rule.record.id());
                if let Some(word) = source.lengths.get_mut(usize::from(rule.dst.len / 64)) {
                    *word |= 1 << (rule.dst.len % 64);
                }
            }
            if let Some(destination) = chains.destinations.get_mut(dst as usize) {
                destination.length = rule.dst.len;
            }
            for (near, class) in [(&mut chains.src_near, src), (&mut chains.dst_near, dst)] {
                if let Some(near) = near.get_mut(class as usize) {
                    *near = class;
                }
            }
        }
        let src_above = nearest(&mut chains.src_near, src_tree);
        for (source, above) in chains.sources.iter_mut().zip(src_above) {
            source.above = above;
        }
        let dst_above = nearest(&mut chains.dst_near, dst_tree);
        for (destination, above) in chains.destinations.iter_mut().zip(dst_above) {
            destination.above = above;
        }
        let mut at: Vec<_> = at.into_iter().collect();
        at.sort_unstable_by_key(|&(pair, _)| pair);
        let pairs: Vec<_> = at
            .iter()
            .filter_map(|((src, dst), records)| {
                let (&first, rest) = records.split_first()?;
                Some((key(*src, *dst), first, lists.push(rest)))
            })
            .collect();
        chains.pairs = PairTable::new(&pairs);
        chains
    }

    /// The first rule that matches a packet of these classes, if its id is below `below`; else `below`.
    pub(super) fn first(&self, lists: &Lists, classes: (u32, u32), fields: Fields, below: u32) -> u32 {
        self.walk(classes, below, |slot, below| {
            if slot.first.matches(fields, 0) {
                return slot.first.id();
            }
            lists.first(slot.rest, fields, 0, below)
        })
    }

    /// The same among rules that `skip` does not name.
    pub(super) fn first_but(
        &self,
        lists: &Lists,
        classes: (u32, u32),
        fields: Fields,
        below: u32,
        skip: impl Fn(u32) -> bool + Copy,
    ) -> u32 {
        self.walk(classes, below, |slot, below| {
            if slot.first.matches(fields, 0) && !skip(slot.first.id()) {
                return slot.first.id();
            }
            lists.first_but(slot.rest, fields, 0, below, skip)
        })
    }

    /// [`Chains::first`], sixteen pairs in step: those of one prefix around the source with all around the destination.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn first_in_step(
        &self,
        v: Avx512,
        lists: &Lists,
        (src, dst): (u32, u32),
        fields: Fields,
        mut below: u32,
    ) -> u32 {
        // Classes around the destination, sixteen a row; what is empty is no class's number.
        let (mut rows, mut count) = ([[u32::MAX; 16]; ROWS], 0_usize);
        let mut class = self.dst_near.get(dst as usize).copied().unwrap_or(0);
        while let (Some(destination), Some(row)) =
            (self.destinations.get(class as usize).filter(|_| class != 0), rows.get_mut(count / 16))
        {
            row[count % 16] = class;
            count += 1;
            class = destination.above;
        }
        let mut class = self.src_near.get(src as usize).copied().unwrap_or(0);
        while let Some(source) = self.sources.get(class as usize).filter(|_| class != 0) {
            if source.best < below {
                for row in rows.iter().take(count.div_ceil(16)) {
                    let dst = v.load(row);
                    let position = self.pairs.positions(v, v.splat(class), dst);
                    let mut left = self.pairs.worth_a_look(v, position, (v.splat(class), dst), below);
                    if left != 0 {
                        let mut positions = [0; 16];
                        v.store(position, &mut positions);
                        while left != 0 {
                            let slot = self.pairs.slot(positions[left.trailing_zeros() as usize % 16]);
                            left &= left - 1;
                            if slot.first.id() < below {
                                let matched = slot.first.matches(fields, 0);
                                below = if matched {
                                    slot.first.id()
                                } else {
                                    lists.first_in_step(v, slot.rest, fields, 0, below)
                                };
                            }
                        }
                    }
                }
            }
            class = source.above;
        }
        below
    }

    /// Looks at the pairs of prefixes around a packet whose first rule is better than what is found so far, those of
    /// short prefixes first: they have most rules, and so the best, and what comes after is passed over sooner.
    #[inline(always)]
    fn walk(&self, (src, dst): (u32, u32), mut below: u32, look: impl Fn(&Slot, u32) -> u32) -> u32 {
        let mut around = [0_u32; LENGTHS];
        let mut lengths = [0_u64; WORDS];
        let mut class = self.dst_near.get(dst as usize).copied().unwrap_or(0);
        while let Some(destination) = self.destinations.get(class as usize).filter(|_| class != 0) {
            let length = usize::from(destination.length);
            if let (Some(place), Some(word)) = (around.get_mut(length), lengths.get_mut(length / 64)) {
                *place = class;
                *word |= 1 << (length % 64);
            }
            class = destination.above;
        }
        let (mut sources, mut count) = ([0_u32; LENGTHS], 0);
        let mut class = self.src_near.get(src as usize).copied().unwrap_or(0);
        while let (Some(source), Some(place)) =
            (self.sources.get(class as usize).filter(|_| class != 0), sources.get_mut(count))
        {
            *place = class;
            count += 1;
            class = source.above;
        }
        for &class in sources.iter().take(count).rev() {
            let Some(source) = self.sources.get(class as usize).filter(|source| source.best < below) else {
                continue;
            };
            for (word, (paired, here)) in source.lengths.iter().zip(&lengths).enumerate() {
                let mut left = paired & here;
                while left != 0 {
                    let length = word * 64 + left.trailing_zeros() as usize;
                    left &= left - 1;
                    let pair = key(class, around.get(length).copied().unwrap_or(0));
                    let slot = self.pairs.slot(self.pairs.position(pair));
                    if slot.is(pair) && slot.first.id() < below {
                        below = look(slot, below);
                    }
                }
            }
        }
        below
    }

    /// Bytes for so many rules and classes at most, without lists.
    pub(super) fn bytes_at_most(rules: usize, src_classes: usize, dst_classes: usize) -> usize {
        size_of::<Self>()
            + src_classes * (size_of::<Source>() + 4)
            + dst_classes * (size_of::<Destination>() + 4)
            + PairTable::bytes(rules)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&self.src_near[..])
            + size_of_val(&self.dst_near[..])
            + size_of_val(&self.sources[..])
            + size_of_val(&self.destinations[..])
            + self.pairs.memory_bytes()
    }
}

/// Fills in, for classes without rules of their own, the nearest one around that has some. What is returned is the
/// nearest one around each class, itself left out.
fn nearest(near: &mut [u32], tree: &PrefixTree) -> Vec<u32> {
    let mut above = vec![0; near.len()];
    // Whatever is around a class has a smaller number: it is done already.
    for class in 1..near.len() {
        let parent = tree.parent(class as u32) as usize;
        let around = near.get(parent).copied().unwrap_or(0);
        if let (Some(above), Some(near)) = (above.get_mut(class), near.get_mut(class)) {
            *above = around;
            if *near == 0 {
                *near = around;
            }
        }
    }
    above
}
