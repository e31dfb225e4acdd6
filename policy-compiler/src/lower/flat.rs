//! Rows × identities → cells: the flat engine's tables.
//!
//! For each row and identity the rules that match the address are collected; equal collections of a row share a
//! cell, equal cells of all rows are stored once. A cell holds one packed verdict per port class, found by
//! walking the collected rules tier by tier with sets of classes. What the tables will take is computed before
//! they are built; cells, whose number shows only on the way, are counted as they come.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::{Catalogue, Entry, side};
use super::identity::{Identities, Prefix, Seen};
use super::port_class::PortClasses;
use super::rows::{FixedRules, Row, Rows};
use crate::classifier::RuleId;
use crate::classifier::flat::{Flat, FlatSubject, pack};
use crate::classifier::port_table::{self, PortTable};
use crate::classifier::trie::{BLOCK_BYTES, ROOT_BYTES, Trie};
use crate::cluster::View;
use crate::model::{Action, Direction, RuleAction};
use ahash::AHashMap;

pub(crate) fn build(
    view: &View<'_>,
    catalogue: &Catalogue<'_>,
    identities: &Identities,
    rows: &Rows<'_>,
    classes: &PortClasses,
    ceiling: usize,
) -> Result<Flat, TooLarge> {
    let matrix_bytes = rows.list.len().saturating_mul(identities.seen.len()).saturating_mul(4);
    let parts = [
        ("verdict matrix", matrix_bytes),
        ("IPv4 trie", trie_bytes(&identities.v4)),
        ("IPv6 trie", trie_bytes(&identities.v6)),
        ("port table", port_table::MAX_BYTES),
        ("subjects", rows.subjects.len() * size_of::<FlatSubject>()),
    ];
    let needed = parts.iter().fold(0_usize, |sum, (_, bytes)| sum.saturating_add(*bytes));
    if needed > ceiling {
        let part = parts.iter().max_by_key(|(_, bytes)| *bytes).map_or("tables", |(part, _)| *part);
        return Err(TooLarge { part, needed });
    }
    let mut cells = Cells {
        catalogue,
        classes,
        fixed: &rows.fixed,
        known: AHashMap::new(),
        data: Vec::new(),
        fixed_bytes: needed,
        ceiling,
    };
    let mut matrix = Vec::with_capacity(rows.list.len() * identities.seen.len());
    for row in &rows.list {
        cells.row(row, &identities.seen, &mut matrix)?;
    }
    let subjects = view.subjects.iter().zip(&rows.subjects).filter_map(|(&position, &[egress, ingress])| {
        let live = view.pods.get(position)?;
        let mut own = [None; 2];
        if live.cut_off.is_none() {
            for (slot, &address) in own.iter_mut().zip(&live.pod.pod_ips) {
                *slot = Some(address);
            }
        }
        Some(FlatSubject { own, egress: u32::try_from(egress).ok()?, ingress: u32::try_from(ingress).ok()? })
    });
    Ok(Flat {
        subjects: subjects.collect(),
        v4: trie(&identities.v4, |bits| ((bits >> 96) as u32).to_be_bytes())?,
        v6: trie(&identities.v6, u128::to_be_bytes)?,
        ports: PortTable::new(&classes.tables),
        identities: identities.seen.len(),
        matrix,
        cells: cells.data,
        self_traffic: rows.fixed.self_traffic,
    })
}

/// What a trie of these prefixes takes at most: blocks before equal ones are shared.
fn trie_bytes(prefixes: &[Prefix]) -> usize {
    let mut blocks = 0_usize;
    for level in (16_u8..128).step_by(8) {
        let mut heads: Vec<u128> = prefixes
            .iter()
            .filter(|(_, len, _)| *len > level)
            .map(|(address, ..)| address >> (128 - u32::from(level)))
            .collect();
        if heads.is_empty() {
            break;
        }
        heads.sort_unstable();
        heads.dedup();
        blocks += heads.len();
    }
    ROOT_BYTES.saturating_add(blocks.saturating_mul(BLOCK_BYTES))
}

fn trie<const N: usize>(prefixes: &[Prefix], bytes: impl Fn(u128) -> [u8; N]) -> Result<Trie, TooLarge> {
    let mut trie = Trie::new(0);
    for &(address, len, identity) in prefixes {
        let inserted =
            u32::try_from(identity).ok().and_then(|identity| trie.insert(&bytes(address), len, identity));
        inserted.ok_or(TooLarge { part: "trie", needed: usize::MAX })?;
    }
    trie.compact();
    Ok(trie)
}

/// The cells made so far.
struct Cells<'a, 'm> {
    catalogue: &'a Catalogue<'m>,
    classes: &'a PortClasses,
    fixed: &'a FixedRules,
    known: AHashMap<Box<[u32]>, u32>,
    data: Vec<u32>,
    /// What all other tables take.
    fixed_bytes: usize,
    ceiling: usize,
}

/// Everything of an identity that matters to a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Signature {
    /// One verdict for all ports.
    Whole(u32),
    /// Rules that match the address, as positions in their tiers; the profile where names matter.
    Rules { matching: Vec<Vec<usize>>, profile: Option<usize> },
}

impl Cells<'_, '_> {
    fn row(&mut self, row: &Row, seen: &[Seen], matrix: &mut Vec<u32>) -> Result<(), TooLarge> {
        let mut known: AHashMap<Signature, u32> = AHashMap::new();
        for identity in seen {
            let signature = self.signature(row, identity);
            let start = if let Some(&start) = known.get(&signature) {
                start
            } else {
                let start = self.intern(self.cell(row, identity, &signature))?;
                known.insert(signature, start);
                start
            };
            matrix.push(start);
        }
        Ok(())
    }

    fn signature(&self, row: &Row, seen: &Seen) -> Signature {
        let at = side(row.direction);
        if let Some(rule) = row.cut_off {
            return Signature::Whole(pack(Action::Deny, rule));
        }
        if let Some(rules) = seen.cut_off.and_then(|position| self.fixed.cut_off.get(position)) {
            return Signature::Whole(pack(Action::Deny, rules[at]));
        }
        if row.own_node.is_some_and(|node| seen.nodes.contains(&node)) {
            return Signature::Whole(pack(Action::Allow, self.fixed.own_node));
        }
        let mut names_matter = false;
        let mut matching = Vec::with_capacity(row.tiers.len());
        for tier in &row.tiers {
            let rules = tier.rules.iter().copied().filter(|&number| {
                self.catalogue.entries.get(number).is_some_and(|entry| {
                    let matches = entry
                        .peers
                        .as_ref()
                        .is_none_or(|peers| peers.iter().any(|&peer| seen.peers.has(peer)));
                    names_matter |=
                        matches && entry.ports.as_ref().is_some_and(|ports| !ports.names.is_empty());
                    matches
                })
            });
            matching.push(rules.collect());
        }
        let profile = (names_matter && row.direction == Direction::Egress).then_some(seen.profile);
        Signature::Rules { matching, profile }
    }

    fn cell(&self, row: &Row, seen: &Seen, signature: &Signature) -> Box<[u32]> {
        let count = self.classes.count;
        let matching = match signature {
            Signature::Whole(verdict) => return vec![*verdict; count].into(),
            Signature::Rules { matching, .. } => matching,
        };
        let not_isolated = self.fixed.not_isolated[side(row.direction)];
        let mut cell = vec![pack(Action::Allow, not_isolated); count];
        let mut decide = |classes: &Bits, action, rule: RuleId| {
            for class in classes.iter() {
                if let Some(slot) = cell.get_mut(class) {
                    *slot = pack(action, rule);
                }
            }
        };
        let mut undecided = Bits::all(count);
        let names = if row.direction == Direction::Ingress { &row.names } else { &seen.names };
        for (tier, rules) in row.tiers.iter().zip(matching) {
            let mut in_tier = undecided.clone();
            for entry in rules.iter().filter_map(|&number| self.catalogue.entries.get(number)) {
                let mut matched = self.covered(entry, names);
                matched.keep(&in_tier);
                let action = match entry.rule.action {
                    RuleAction::Log => continue,
                    RuleAction::Pass => {
                        in_tier.remove(&matched);
                        continue;
                    }
                    RuleAction::Allow => Action::Allow,
                    RuleAction::Deny => Action::Deny,
                };
                decide(&matched, action, entry.id);
                in_tier.remove(&matched);
                undecided.remove(&matched);
            }
            if let Some(rule) = tier.undecided {
                decide(&in_tier, Action::Deny, rule);
                undecided.remove(&in_tier);
            }
        }
        cell.into()
    }

    /// The port classes a rule covers.
    fn covered(&self, entry: &Entry<'_>, names: &[(usize, usize)]) -> Bits {
        let Some(ports) = &entry.ports else { return Bits::all(self.classes.count) };
        let mut covered = Bits::none(self.classes.count);
        let resolved = names.iter().filter(|(name, _)| ports.names.contains(name)).map(|(_, range)| range);
        for &range in ports.ranges.iter().chain(resolved) {
            if let Some(classes) = self.classes.covered.get(range) {
                covered.add(classes);
            }
        }
        covered
    }

    fn intern(&mut self, cell: Box<[u32]>) -> Result<u32, TooLarge> {
        if let Some(&start) = self.known.get(&cell) {
            return Ok(start);
        }
        let bytes = self.data.len().saturating_add(cell.len()).saturating_mul(4);
        let needed = self.fixed_bytes.saturating_add(bytes);
        let start = u32::try_from(self.data.len()).map_err(|_| TooLarge { part: "cells", needed })?;
        if needed > self.ceiling {
            return Err(TooLarge { part: "cells", needed });
        }
        self.data.extend(&cell);
        self.known.insert(cell, start);
        Ok(start)
    }
}
