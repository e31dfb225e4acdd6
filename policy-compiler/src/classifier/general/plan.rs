//! Which rule goes where, and what that will take: decided by counting, before anything is built.
//!
//! A prefix is *short* up to eight bits, otherwise *long*. Crossing all sources with all destinations would explode, and
//! only because of short prefixes; pairs of long ones stay about as many as the rules. So:
//!
//! | source, destination | place | copies of a rule |
//! | --- | --- | --- |
//! | long, long | a pair of classes | classes inside the one × classes inside the other |
//! | short, long | the destination's class | classes inside the destination |
//! | long, short | the source's class | classes inside the source |
//! | short, short | `wide` | 1 |
//!
//! Where copies come to more than a few per rule, those with most go to `chains`, which takes any rule once: that
//! is the bound on memory whatever the rules. Rules that `wide` refuses go there too.

use super::prefixes::{Prefix, PrefixTree};
use super::record::Record;
use super::wide::{Wide, WideRule};
use crate::ruleset::Rule;

/// Bits of a short prefix at most.
const SHORT: u8 = 8;
/// Copies of rules, for each rule of the set, and beyond.
const COPIES: usize = 4;
const COPIES_FREE: usize = 1 << 14;

/// A rule of one family, taken apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) id: u32,
    pub(super) src: Prefix,
    pub(super) dst: Prefix,
    pub(super) rule: &'a Rule,
}

impl<'a> Entry<'a> {
    pub(super) fn new(id: u32, rule: &'a Rule) -> Self {
        Self { id, src: Prefix::of(rule.src()), dst: Prefix::of(rule.dst()), rule }
    }

    /// The record of the rule where one short prefix, or none, is still to be compared.
    pub(super) fn record(&self, short: Option<Prefix>) -> Record {
        Record::new(self.rule, self.id, short)
    }
}

/// Where a rule goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Pair,
    BySource,
    ByDestination,
    Wide,
    Chain,
}

/// The rules of one family with their places.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) places: Vec<Place>,
    pub(super) src_tree: PrefixTree,
    pub(super) dst_tree: PrefixTree,
    pub(super) wide: Option<Wide>,
    /// Copies of the rules at all places but `wide`.
    pub(super) copies: Vec<usize>,
}

impl Plan {
    /// Decides for rules of one family, ids ascending.
    pub(super) fn new(entries: &[Entry<'_>]) -> Self {
        let long = |prefix: fn(&Entry<'_>) -> Prefix| {
            PrefixTree::new(entries.iter().map(prefix).filter(|prefix| prefix.len > SHORT).collect())
        };
        let (src_tree, dst_tree) = (long(|entry| entry.src), long(|entry| entry.dst));
        let mut places: Vec<Place> = entries
            .iter()
            .map(|entry| match (entry.src.len > SHORT, entry.dst.len > SHORT) {
                (true, true) => Place::Pair,
                (true, false) => Place::BySource,
                (false, true) => Place::ByDestination,
                (false, false) => Place::Wide,
            })
            .collect();
        let mut copies: Vec<usize> = entries
            .iter()
            .zip(&places)
            .map(|(entry, place)| {
                let (src, dst) = (src_tree.inside(entry.src).len(), dst_tree.inside(entry.dst).len());
                match place {
                    Place::Pair => src.saturating_mul(dst),
                    Place::BySource => src,
                    Place::ByDestination => dst,
                    Place::Wide | Place::Chain => 1,
                }
            })
            .collect();
        limit(&mut places, &mut copies);
        let wide_rules: Vec<_> = entries
            .iter()
            .zip(&places)
            .filter(|(_, place)| **place == Place::Wide)
            .map(|(entry, _)| WideRule { record: entry.record(None), src: entry.src, dst: entry.dst })
            .collect();
        let wide = if wide_rules.is_empty() { None } else { Wide::new(wide_rules) };
        if wide.is_none() {
            for place in places.iter_mut().filter(|place| **place == Place::Wide) {
                *place = Place::Chain;
            }
        }
        let mut plan = Self { places, src_tree, dst_tree, wide, copies };
        plan.add_short_prefixes(entries);
        plan
    }

    /// Chains find short prefixes by class as well. They lie around all others, so nothing else is inside of more.
    fn add_short_prefixes(&mut self, entries: &[Entry<'_>]) {
        let chained = || {
            entries
                .iter()
                .zip(&self.places)
                .filter(|(_, place)| **place == Place::Chain)
                .map(|(entry, _)| entry)
        };
        let with = |prefix: fn(&Entry<'_>) -> Prefix| {
            chained().any(|entry| prefix(entry).len <= SHORT).then(|| {
                let long = entries.iter().map(prefix).filter(|prefix| prefix.len > SHORT);
                PrefixTree::new(long.chain(chained().map(prefix)).collect())
            })
        };
        let (src, dst) = (with(|entry| entry.src), with(|entry| entry.dst));
        if let Some(tree) = src {
            self.src_tree = tree;
        }
        if let Some(tree) = dst {
            self.dst_tree = tree;
        }
    }

    /// Bytes at most of everything but the address tables.
    pub(super) fn bytes_at_most(&self) -> usize {
        let copies: usize = self.copies.iter().sum();
        let chained = self.places.iter().filter(|place| **place == Place::Chain).count();
        let (src, dst) = (self.src_tree.classes(), self.dst_tree.classes());
        // Built already, within bounds of its own.
        let wide = self.wide.as_ref().map_or(0, Wide::memory_bytes);
        let chains = super::chains::Chains::bytes_at_most(chained, src, dst);
        let direct = (src + dst) * (size_of::<Record>() + 4);
        let pairs = super::pairs::PairTable::bytes(copies);
        direct + pairs + super::lists::Lists::bytes_at_most(copies) + wide + chains
    }
}

/// Sends the rules with most copies to `chains` until what is left is within bounds.
fn limit(places: &mut [Place], copies: &mut [usize]) {
    let bound = copies.len().saturating_mul(COPIES).saturating_add(COPIES_FREE);
    let mut total = copies.iter().fold(0, |total: usize, &copies| total.saturating_add(copies));
    if total <= bound {
        return;
    }
    let mut by_copies: Vec<usize> = (0..copies.len()).collect();
    by_copies.sort_by_key(|&entry| std::cmp::Reverse(copies.get(entry).copied().unwrap_or(0)));
    // Summed again from the smallest: the first sum may have saturated.
    total = 0;
    for &entry in by_copies.iter().rev() {
        let (Some(copies), Some(place)) = (copies.get_mut(entry), places.get_mut(entry)) else { continue };
        total = total.saturating_add(*copies);
        if total > bound && *place != Place::Wide {
            *place = Place::Chain;
            *copies = 1;
        }
    }
}
