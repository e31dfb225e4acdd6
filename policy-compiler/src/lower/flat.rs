//! Rows × identities → cells: the flat engine's tables.
//!
//! For each row the identities are found of which its rules do not say what they say of an address they know nothing
//! of; all others share one cell. Equal collections of matching rules of a row share a cell, equal cells of all rows
//! are stored once (`cell.rs` makes them). What the tables will take is computed before they are built; pages, cells
//! and fans, whose number shows only on the way, are counted as they come.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::{Catalogue, Formula, side};
use super::cell::{Cells, Matching};
use super::identity::{Identities, Prefix, Seen};
use super::port_class::PortClasses;
use super::rows::{FixedRules, Row, Rows};
use crate::classifier::flat::{FAN, Flat, FlatSubject, Sources, pack};
use crate::classifier::matrix::{Matrix, PAGE_BYTES};
use crate::classifier::port_table::{self, PortTable};
use crate::classifier::trie::{BLOCK_BYTES, ROOT_BYTES, Trie};
use crate::cluster::View;
use crate::model::{Action, Direction};
use ahash::AHashMap;
use std::net::IpAddr;

/// `classes`: of destination and of source ports.
pub(crate) fn build(
    view: &View<'_>,
    catalogue: &mut Catalogue<'_>,
    identities: &Identities,
    rows: &Rows<'_>,
    classes: &[PortClasses; 2],
    ceiling: usize,
) -> Result<Flat, TooLarge> {
    let protocols = classes.iter().map(|classes| port_table::max_bytes(classes.tables.len())).sum();
    let parts = [
        ("verdict matrix", Matrix::top_bytes(rows.list.len(), identities.seen.len())),
        ("IPv4 trie", trie_bytes(&identities.v4)),
        ("IPv6 trie", trie_bytes(&identities.v6)),
        ("port tables", protocols),
        ("subjects", rows.subjects.len() * size_of::<FlatSubject>()),
    ];
    let needed = parts.iter().fold(0_usize, |sum, (_, bytes)| sum.saturating_add(*bytes));
    if needed > ceiling {
        let part = parts.iter().max_by_key(|(_, bytes)| *bytes).map_or("tables", |(part, _)| *part);
        return Err(TooLarge { part, needed });
    }
    let mut members = vec![Bits::none(identities.seen.len()); catalogue.atoms.len()];
    for (identity, seen) in identities.seen.iter().enumerate() {
        for atom in seen.atoms.iter() {
            if let Some(members) = members.get_mut(atom) {
                members.set(identity);
            }
        }
    }
    let mut cells = Cells::new(catalogue, classes, &rows.fixed, needed, ceiling);
    let mut matrix = Matrix::new(identities.seen.len());
    for row in &rows.list {
        let entries = Judged { row, seen: &identities.seen, members: &members, fixed: &rows.fixed }
            .entries(&mut cells)?;
        let too_large = |cells: &Cells<'_, '_>| TooLarge { part: "verdict matrix", needed: cells.bytes };
        let before = matrix.memory_bytes();
        matrix.push(&entries).ok_or_else(|| too_large(&cells))?;
        // The rows' part was counted before.
        let pages = matrix.memory_bytes().saturating_sub(before) / PAGE_BYTES * PAGE_BYTES;
        cells.take(pages, "verdict matrix")?;
    }
    matrix.finish();
    let subjects = view.subjects.iter().zip(&rows.subjects).filter_map(|(&position, numbers)| {
        let live = view.pods.get(position)?;
        let mut own = [None; 2];
        if live.cut_off.is_none() {
            for (slot, &address) in own.iter_mut().zip(&live.pod.pod_ips) {
                *slot = Some(address);
            }
        }
        let rows = numbers.rows.map(|row| u32::try_from(row).unwrap_or(u32::MAX));
        Some(FlatSubject { own, rows, node: u32::try_from(numbers.node).ok()? })
    });
    let own = |node: &&str| view.own_node.get(node).into_iter().flatten().copied().collect::<Vec<IpAddr>>();
    let [destinations, sources] = classes;
    let sources = (sources.count > 1)
        .then(|| Sources { table: PortTable::new(&sources.tables), classes: sources.count });
    Ok(Flat {
        subjects: subjects.collect(),
        nodes: rows.nodes.iter().map(own).collect(),
        v4: trie(&identities.v4, |bits| ((bits >> 96) as u32).to_be_bytes())?,
        v6: trie(&identities.v6, u128::to_be_bytes)?,
        ports: PortTable::new(&destinations.tables),
        sources,
        matrix,
        fans: cells.fans,
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

/// A row and what it is about to be asked of.
struct Judged<'a> {
    row: &'a Row,
    seen: &'a [Seen],
    /// Per atom: the identities of which it holds.
    members: &'a [Bits],
    fixed: &'a FixedRules,
}

/// Everything of an identity that matters to a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Signature {
    matching: Matching,
    /// The profile where names at the other end matter, else 0.
    profile: usize,
}

impl Judged<'_> {
    /// The matrix's entries: a cell or a fan for every identity.
    fn entries(&self, cells: &mut Cells<'_, '_>) -> Result<Vec<u32>, TooLarge> {
        let at = side(self.row.direction);
        if let Some(rule) = self.row.cut_off {
            return Ok(vec![cells.whole(pack(Action::Deny, rule))?; self.seen.len()]);
        }
        let rules: Vec<usize> = self.row.tiers.iter().flat_map(|tier| tier.rules.iter().copied()).collect();
        // Whom each rule matches that is not the subject's own node; none: everyone.
        let mut matched: Vec<Option<Bits>> = Vec::with_capacity(rules.len());
        let mut special = Bits::none(self.seen.len());
        let (mut names_matter, mut own_matters) = (false, self.row.direction == Direction::Ingress);
        for entry in rules.iter().filter_map(|&number| cells.catalogue.entries.get(number)) {
            names_matter |= entry.ports[entry.remote_end()].names().next().is_some();
            let Some(formula) = &entry.peers else {
                matched.push(None);
                continue;
            };
            own_matters |= uses_own(formula);
            let bits = self.bits(formula);
            let mut differing = bits.clone();
            if formula.holds(&|_| false, false) {
                differing = Bits::all(self.seen.len());
                differing.remove(&bits);
            }
            special.add(&differing);
            matched.push(Some(bits));
        }
        for (identity, seen) in self.seen.iter().enumerate() {
            if seen.cut_off.is_some() || (own_matters && seen.own) || (names_matter && seen.profile != 0) {
                special.set(identity);
            }
        }
        // Identity 0 is what nothing is known of.
        let Some(unknown) = self.seen.first() else { return Ok(Vec::new()) };
        let signature = |identity: usize| {
            let holds = |bits: &Option<Bits>| bits.as_ref().is_none_or(|bits| bits.has(identity));
            rules.iter().zip(&matched).filter(|(_, bits)| holds(bits)).map(|(&rule, _)| rule).collect()
        };
        let mut known: AHashMap<Signature, Vec<u32>> = AHashMap::new();
        let default = cells.choice(self.row, &signature(0), unknown)?;
        let mut entries = vec![cells.entry(&default, &default)?; self.seen.len()];
        for identity in special.iter() {
            let (Some(seen), Some(entry)) = (self.seen.get(identity), entries.get_mut(identity)) else {
                continue;
            };
            if let Some(rules) = seen.cut_off.and_then(|position| self.fixed.cut_off.get(position)) {
                *entry = cells.whole(pack(Action::Deny, rules[at]))?;
                continue;
            }
            let mut choose = |matching: Matching, cells: &mut Cells<'_, '_>| {
                let signature = Signature { matching, profile: if names_matter { seen.profile } else { 0 } };
                if let Some(choice) = known.get(&signature) {
                    return Ok(choice.clone());
                }
                let choice = cells.choice(self.row, &signature.matching, seen)?;
                known.insert(signature, choice.clone());
                Ok(choice)
            };
            let other = choose(signature(identity), cells)?;
            let own = if !(own_matters && seen.own) {
                other.clone()
            } else if self.row.direction == Direction::Ingress {
                vec![cells.whole(pack(Action::Allow, self.fixed.own_node))?]
            } else {
                let holds = |number: &usize| {
                    let peers = cells.catalogue.entries.get(*number).and_then(|entry| entry.peers.as_ref());
                    peers.is_none_or(|formula| formula.holds(&|atom| seen.atoms.has(atom), true))
                };
                choose(rules.iter().copied().filter(holds).collect(), cells)?
            };
            *entry = cells.entry(&other, &own)?;
        }
        debug_assert!(
            entries.iter().all(|&entry| entry & FAN == 0 || !cells.fans.is_empty()),
            "fans are there"
        );
        Ok(entries)
    }

    /// The identities of which a formula holds, for subjects on other nodes.
    fn bits(&self, formula: &Formula) -> Bits {
        let none = || Bits::none(self.seen.len());
        match formula {
            Formula::Atom(number) => self.members.get(*number).cloned().unwrap_or_else(none),
            Formula::OwnNode => none(),
            Formula::Not(part) => {
                let mut bits = Bits::all(self.seen.len());
                bits.remove(&self.bits(part));
                bits
            }
            Formula::All(parts) => {
                let mut bits = Bits::all(self.seen.len());
                for part in parts {
                    bits.keep(&self.bits(part));
                }
                bits
            }
            Formula::Any(parts) => {
                let mut bits = none();
                for part in parts {
                    bits.add(&self.bits(part));
                }
                bits
            }
        }
    }
}

fn uses_own(formula: &Formula) -> bool {
    match formula {
        Formula::Atom(_) => false,
        Formula::OwnNode => true,
        Formula::Not(part) => uses_own(part),
        Formula::All(parts) | Formula::Any(parts) => parts.iter().any(uses_own),
    }
}
