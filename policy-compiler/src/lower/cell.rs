//! Matching rules → cells and fans: which rule decides each port class.
//!
//! A cell is found by walking the matching rules tier by tier with sets of destination classes, and with what has been
//! noted on the way to each class. Where matching rules ask for source ports there is a cell for each source class;
//! together they are a fan. Equal cells and equal fans are stored once.

use super::TooLarge;
use super::bits::Bits;
use super::catalogue::{Catalogue, DESTINATION, Entry, Outcome, Resolved, SOURCE, side};
use super::identity::Seen;
use super::port_class::PortClasses;
use super::rows::{FixedRules, Row};
use crate::classifier::flat::{FAN, pack};
use crate::classifier::{Base, RuleInterner, StepId, Way};
use crate::model::Action;
use ahash::AHashMap;

/// Rules of a row that match an address, in order: numbers in the catalogue.
pub(crate) type Matching = Vec<usize>;

/// Steps of work allowed per byte of the ceiling: what is shared in the end still has to be found out.
const WORK_PER_BYTE: usize = 64;

/// The cells made so far.
pub(crate) struct Cells<'a, 'm> {
    pub(crate) catalogue: &'a mut Catalogue<'m>,
    classes: &'a [PortClasses; 2],
    fixed: &'a FixedRules,
    known: AHashMap<Box<[u32]>, u32>,
    known_fans: AHashMap<Box<[u32]>, u32>,
    /// Packed verdicts, cell after cell.
    pub(crate) data: Vec<u32>,
    /// Starts of cells, fan after fan.
    pub(crate) fans: Vec<u32>,
    /// What all tables take, those counted before included.
    pub(crate) bytes: usize,
    ceiling: usize,
    work: usize,
}

impl<'a, 'm> Cells<'a, 'm> {
    pub(crate) fn new(
        catalogue: &'a mut Catalogue<'m>,
        classes: &'a [PortClasses; 2],
        fixed: &'a FixedRules,
        bytes: usize,
        ceiling: usize,
    ) -> Self {
        Self {
            catalogue,
            classes,
            fixed,
            known: AHashMap::new(),
            known_fans: AHashMap::new(),
            data: Vec::new(),
            fans: Vec::new(),
            bytes,
            ceiling,
            work: 0,
        }
    }

    /// Counts bytes against the ceiling.
    pub(crate) fn take(&mut self, bytes: usize, part: &'static str) -> Result<(), TooLarge> {
        self.bytes = self.bytes.saturating_add(bytes);
        let needed = self.bytes.saturating_add(self.catalogue.interner.bytes());
        if needed > self.ceiling { Err(TooLarge { part, needed }) } else { Ok(()) }
    }

    fn toil(&mut self, steps: usize) -> Result<(), TooLarge> {
        self.work = self.work.saturating_add(steps);
        if self.work > self.ceiling.saturating_mul(WORK_PER_BYTE) {
            return Err(TooLarge { part: "rules by source port", needed: usize::MAX });
        }
        Ok(())
    }

    /// The cell that is one verdict throughout.
    pub(crate) fn whole(&mut self, verdict: u32) -> Result<u32, TooLarge> {
        self.intern(vec![verdict; self.classes[DESTINATION].count].into())
    }

    /// The entry of the matrix: a cell where nothing but the identity counts, else a fan.
    pub(crate) fn entry(&mut self, other: &[u32], own: &[u32]) -> Result<u32, TooLarge> {
        if let ([cell], true) = (other, other == own) {
            return Ok(*cell);
        }
        let count = self.classes[SOURCE].count;
        let spread = |cells: &[u32]| -> Vec<u32> {
            let last = cells.last().copied().unwrap_or(0);
            (0..count).map(|class| cells.get(class).copied().unwrap_or(last)).collect()
        };
        let fan: Box<[u32]> = [spread(other), spread(own)].concat().into();
        if let Some(&start) = self.known_fans.get(&fan) {
            return Ok(start | FAN);
        }
        self.take(fan.len() * 4, "cells by source port")?;
        let start = numbered(self.fans.len(), "cells by source port")?;
        self.fans.extend(&fan);
        self.known_fans.insert(fan, start);
        Ok(start | FAN)
    }

    /// The cell of matching rules; where they ask for source ports, one for each source class.
    pub(crate) fn choice(
        &mut self,
        row: &Row,
        matching: &Matching,
        seen: &Seen,
    ) -> Result<Vec<u32>, TooLarge> {
        let entries = &self.catalogue.entries;
        let asked =
            |&number: &usize| entries.get(number).is_some_and(|entry| !entry.ports[SOURCE].is_everything());
        let asking: Vec<usize> = matching.iter().copied().filter(asked).collect();
        if asking.is_empty() {
            return Ok(vec![self.cell(row, matching, seen)?]);
        }
        let covered: Vec<Bits> = asking
            .iter()
            .filter_map(|&number| entries.get(number))
            .map(|entry| self.covered(SOURCE, entry, row, seen))
            .collect();
        let count = self.classes[SOURCE].count;
        self.toil(count.saturating_mul(asking.len()))?;
        let mut known: AHashMap<Vec<usize>, u32> = AHashMap::new();
        let mut cells = Vec::with_capacity(count);
        for class in 0..count {
            let missing: Vec<usize> = asking
                .iter()
                .zip(&covered)
                .filter(|(_, bits)| !bits.has(class))
                .map(|(&rule, _)| rule)
                .collect();
            let cell = if let Some(&cell) = known.get(&missing) {
                cell
            } else {
                let left: Matching =
                    matching.iter().copied().filter(|rule| !missing.contains(rule)).collect();
                let cell = self.cell(row, &left, seen)?;
                known.insert(missing, cell);
                cell
            };
            cells.push(cell);
        }
        Ok(cells)
    }

    /// The classes of an end's ports that a rule covers.
    fn covered(&self, end: usize, entry: &Entry<'_>, row: &Row, seen: &Seen) -> Bits {
        let names = if end == entry.remote_end() { &seen.names } else { &row.names };
        covered(self.catalogue, &self.classes[end], end, entry, names)
    }

    fn cell(&mut self, row: &Row, matching: &Matching, seen: &Seen) -> Result<u32, TooLarge> {
        let count = self.classes[DESTINATION].count;
        self.toil(count.saturating_add(matching.len()))?;
        let mut walk =
            Walk { cell: vec![0; count], ways: vec![Way::DIRECT; count], undecided: Bits::all(count) };
        let mut matching = matching.as_slice();
        for tier in &row.tiers {
            // Both are in the row's order, so a tier's matching rules are the next ones.
            let mut in_tier = walk.undecided.clone();
            for &number in &tier.rules {
                if matching.first() != Some(&number) {
                    continue;
                }
                matching = matching.get(1..).unwrap_or_default();
                let Some(entry) = self.catalogue.entries.get(number) else { continue };
                let outcome = entry.outcome;
                let mut matched = self.covered(DESTINATION, entry, row, seen);
                matched.keep(&in_tier);
                let interner = &mut self.catalogue.interner;
                match outcome {
                    Outcome::Logged(step) => walk.note(&matched, step, interner),
                    Outcome::Passed(step) => {
                        walk.note(&matched, step, interner);
                        in_tier.remove(&matched);
                    }
                    Outcome::Decided(action, base) => {
                        walk.decide(&matched, action, base, interner);
                        in_tier.remove(&matched);
                    }
                }
            }
            let interner = &mut self.catalogue.interner;
            match tier.default_deny {
                Some(base) => walk.decide(&in_tier, Action::Deny, base, interner),
                None => walk.note(&in_tier, tier.undecided, interner),
            }
        }
        let rest = walk.undecided.clone();
        let not_isolated = self.fixed.not_isolated[side(row.direction)];
        walk.decide(&rest, Action::Allow, not_isolated, &mut self.catalogue.interner);
        self.intern(walk.cell.into())
    }

    fn intern(&mut self, cell: Box<[u32]>) -> Result<u32, TooLarge> {
        if let Some(&start) = self.known.get(&cell) {
            return Ok(start);
        }
        self.take(cell.len() * 4, "cells")?;
        let start = numbered(self.data.len(), "cells")?;
        self.data.extend(&cell);
        self.known.insert(cell, start);
        Ok(start)
    }
}

/// Positions have to leave the bit free that tells fans from cells.
fn numbered(position: usize, part: &'static str) -> Result<u32, TooLarge> {
    let number = u32::try_from(position).ok().filter(|number| number & FAN == 0);
    number.ok_or(TooLarge { part, needed: usize::MAX })
}

fn covered(
    catalogue: &Catalogue<'_>,
    classes: &PortClasses,
    end: usize,
    entry: &Entry<'_>,
    names: &[Resolved],
) -> Bits {
    let filter = &entry.ports[end];
    let listed = |list: &super::catalogue::PortList| {
        let mut covered = Bits::none(classes.count);
        for &range in &list.ranges {
            if let Some(classes) = classes.covered.get(range) {
                covered.add(classes);
            }
        }
        for &(name, port) in names.iter().filter(|(name, _)| list.names.contains(name)) {
            if let Some(&(protocol, _)) = catalogue.names.things().get(name) {
                covered.set(classes.class(protocol, port));
            }
        }
        covered
    };
    let mut covered = filter.only.as_ref().map_or_else(|| Bits::all(classes.count), listed);
    covered.remove(&listed(&filter.not));
    covered
}

/// A cell on its way through the tiers.
struct Walk {
    cell: Vec<u32>,
    /// What was noted on the way to each class.
    ways: Vec<Way>,
    undecided: Bits,
}

impl Walk {
    fn note(&mut self, classes: &Bits, step: StepId, interner: &mut RuleInterner) {
        let mut last: Option<(Way, Way)> = None;
        for class in classes.iter() {
            let Some(way) = self.ways.get_mut(class) else { continue };
            *way = match last {
                Some((before, after)) if before == *way => after,
                _ => {
                    let after = interner.way(*way, step);
                    last = Some((*way, after));
                    after
                }
            };
        }
    }

    fn decide(&mut self, classes: &Bits, action: Action, base: Base, interner: &mut RuleInterner) {
        let mut last: Option<(Way, u32)> = None;
        for class in classes.iter() {
            let (Some(slot), Some(&way)) = (self.cell.get_mut(class), self.ways.get(class)) else { continue };
            *slot = match last {
                Some((before, verdict)) if before == way => verdict,
                _ => {
                    let verdict = pack(action, interner.rule(base, way));
                    last = Some((way, verdict));
                    verdict
                }
            };
        }
        self.undecided.remove(classes);
    }
}
