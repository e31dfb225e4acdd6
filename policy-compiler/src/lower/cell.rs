//! Matching rules → cells and fans: which rule decides each port class.
//!
//! A cell is found by walking the matching rules tier by tier with sets of destination classes, and with what has been
//! noted on the way to each class. Where matching rules ask for source ports there is a cell for each source class;
//! together they are a fan. Equal cells and equal fans are stored once.

use super::TooLarge;
use super::bits::Bits;
use super::budget::Budget;
use super::catalogue::{Catalogue, DESTINATION, Entry, Outcome, Resolved, SOURCE, side};
use super::identity::Seen;
use super::port_class::PortClasses;
use super::row::Row;
use crate::classifier::answer::pack;
use crate::classifier::draft::Draft;
use crate::classifier::flat::FAN;
use crate::classifier::{Base, RuleInterner, StepId, Way};
use crate::model::Action;
use ahash::AHashMap;

/// Rules of a row that match an address, in order: numbers in the catalogue.
pub(crate) type Matching = Vec<usize>;

/// Sets of classes and passes over all of them that a rule or a cell takes whatever is in it.
const FEW_SETS: usize = 4;

const BY_SOURCE: &str = "rules by source port";

/// The cells and fans made so far.
#[derive(Debug)]
pub(crate) struct Cells {
    /// Of destination and of source ports.
    pub(crate) classes: [PortClasses; 2],
    not_isolated: [Base; 2],
    known: AHashMap<Box<[u32]>, u32>,
    known_fans: AHashMap<Box<[u32]>, u32>,
    /// Packed verdicts, cell after cell.
    pub(crate) data: Draft<u32>,
    /// Cells, fan after fan.
    pub(crate) fans: Draft<u32>,
    /// What all other tables take.
    pub(crate) around: usize,
    pub(crate) budget: Budget,
    /// Bytes of the lists of matching rules that cells were made for since all was built.
    matching: usize,
}

impl Cells {
    pub(crate) fn new(
        classes: [PortClasses; 2],
        not_isolated: [Base; 2],
        around: usize,
        budget: Budget,
    ) -> Self {
        Self {
            classes,
            not_isolated,
            known: AHashMap::new(),
            known_fans: AHashMap::new(),
            data: Draft::default(),
            fans: Draft::default(),
            around,
            budget,
            matching: 0,
        }
    }

    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes in use, what they are found by not counted.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.data.len() + self.fans.len()) * 4
    }

    /// Holds everything against the ceiling.
    pub(crate) fn check(&self, part: &'static str, catalogue: &Catalogue) -> Result<(), TooLarge> {
        let needed = self.around.saturating_add(self.used_bytes()).saturating_add(catalogue.interner.bytes());
        self.budget.holds(needed, part)
    }

    /// Holds one more list of matching rules against the ceiling, which all of them share.
    pub(crate) fn keep_matching(&mut self, rules: usize, part: &'static str) -> Result<(), TooLarge> {
        self.matching = self.matching.saturating_add(rules.saturating_mul(size_of::<usize>()));
        self.budget.holds(self.matching, part)
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
        if let Some(&number) = self.known_fans.get(&fan) {
            return Ok(number | FAN);
        }
        self.around_and(fan.len() * 4, "cells by source port")?;
        let number = numbered(self.known_fans.len(), "cells by source port")?;
        self.fans.extend(&fan);
        self.known_fans.insert(fan, number);
        Ok(number | FAN)
    }

    /// The cell of matching rules; where they ask for source ports, one for each source class.
    pub(crate) fn choice(
        &mut self,
        row: &Row,
        matching: &Matching,
        seen: &Seen,
        catalogue: &mut Catalogue,
    ) -> Result<Vec<u32>, TooLarge> {
        let entries = &catalogue.entries;
        let asked =
            |&number: &usize| entries.get(number).is_some_and(|entry| !entry.ports[SOURCE].is_everything());
        let asking: Vec<usize> = matching.iter().copied().filter(asked).collect();
        if asking.is_empty() {
            return Ok(vec![self.cell(row, matching, seen, catalogue)?]);
        }
        let count = self.classes[SOURCE].count;
        // What is kept until all are done: for each class the asking rules that cover it, twice.
        self.budget.holds(count.saturating_mul(Bits::bytes(asking.len())).saturating_mul(2), BY_SOURCE)?;
        let mut covering = vec![Bits::none(asking.len()); count];
        for (place, &number) in asking.iter().enumerate() {
            let Some(entry) = catalogue.entries.get(number) else { continue };
            self.budget.toil(self.effort(SOURCE, entry).saturating_add(count), BY_SOURCE)?;
            for class in self.covered(SOURCE, entry, row, seen, catalogue).iter() {
                if let Some(covering) = covering.get_mut(class) {
                    covering.set(place);
                }
            }
        }
        let mut known: AHashMap<Bits, u32> = AHashMap::new();
        let mut cells = Vec::with_capacity(count);
        for covering in covering {
            self.budget.toil(Bits::bytes(asking.len()) / 8, BY_SOURCE)?;
            let cell = if let Some(&cell) = known.get(&covering) {
                cell
            } else {
                self.budget.toil(matching.len(), BY_SOURCE)?;
                let left = covered_only(matching, &asking, &covering);
                let cell = self.cell(row, &left, seen, catalogue)?;
                known.insert(covering, cell);
                cell
            };
            cells.push(cell);
        }
        Ok(cells)
    }

    /// Steps to find out what a rule covers: a set of classes for each of its ranges and a few more.
    fn effort(&self, end: usize, entry: &Entry) -> usize {
        let filter = &entry.ports[end];
        let lists = filter.only.iter().chain([&filter.not]);
        let ranges: usize = lists.map(|list| list.ranges.len() + list.names.len()).sum();
        (ranges + FEW_SETS).saturating_mul(Bits::bytes(self.classes[end].count) / 8 + 1)
    }

    /// The classes of an end's ports that a rule covers.
    fn covered(&self, end: usize, entry: &Entry, row: &Row, seen: &Seen, catalogue: &Catalogue) -> Bits {
        let names = if end == entry.remote_end() { &seen.names } else { row.names() };
        covered(catalogue, &self.classes[end], end, entry, names)
    }

    fn cell(
        &mut self,
        row: &Row,
        matching: &Matching,
        seen: &Seen,
        catalogue: &mut Catalogue,
    ) -> Result<u32, TooLarge> {
        let count = self.classes[DESTINATION].count;
        let rules: usize = row.tiers.iter().map(|tier| tier.rules.len()).sum();
        self.budget.toil(count.saturating_mul(FEW_SETS).saturating_add(rules), "rules by port")?;
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
                let Some(entry) = catalogue.entries.get(number) else { continue };
                let outcome = entry.outcome;
                self.budget.toil(self.effort(DESTINATION, entry), "rules by port")?;
                let mut matched = self.covered(DESTINATION, entry, row, seen, catalogue);
                matched.keep(&in_tier);
                if !matches!(outcome, Outcome::Decided(..)) {
                    // The class stays undecided: each such rule meets it again.
                    self.budget.toil(matched.iter().count(), "rules by port")?;
                }
                let interner = &mut catalogue.interner;
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
            let interner = &mut catalogue.interner;
            match tier.default_deny {
                Some(base) => walk.decide(&in_tier, Action::Deny, base, interner),
                None => walk.note(&in_tier, tier.undecided, interner),
            }
        }
        let rest = walk.undecided.clone();
        let not_isolated = self.not_isolated[side(row.direction())];
        walk.decide(&rest, Action::Allow, not_isolated, &mut catalogue.interner);
        self.check("rules", catalogue)?;
        self.intern(walk.cell.into())
    }

    fn intern(&mut self, cell: Box<[u32]>) -> Result<u32, TooLarge> {
        if let Some(&number) = self.known.get(&cell) {
            return Ok(number);
        }
        self.around_and(cell.len() * 4, "cells")?;
        let number = numbered(self.known.len(), "cells")?;
        self.data.extend(&cell);
        self.known.insert(cell, number);
        Ok(number)
    }

    fn around_and(&self, bytes: usize, part: &'static str) -> Result<(), TooLarge> {
        let needed = self.around.saturating_add(self.used_bytes()).saturating_add(bytes);
        self.budget.holds(needed, part)
    }

    /// Takes port classes that are finer than those before: `parents` has the class before of each.
    pub(crate) fn refine(
        &mut self,
        classes: [PortClasses; 2],
        parents: &[Vec<usize>; 2],
    ) -> Result<(), TooLarge> {
        let [destinations, sources] = parents;
        // As much as it would take to find all cells anew; those of a full build are found with the finer classes.
        let finer = destinations.len().max(sources.len().saturating_mul(2));
        let all = self.known.len().saturating_add(self.known_fans.len());
        self.budget.toil(all.saturating_mul(finer).saturating_mul(FEW_SETS), "port classes")?;
        let before = [self.classes[DESTINATION].count, self.classes[SOURCE].count];
        self.classes = classes;
        let spread = |old: &[u32], parents: &[usize]| -> Vec<u32> {
            parents.iter().map(|&parent| old.get(parent).copied().unwrap_or_default()).collect()
        };
        let anew = |known: &mut AHashMap<Box<[u32]>, u32>, spread: &dyn Fn(&[u32]) -> Vec<u32>| {
            let mut all: Vec<(u32, Box<[u32]>)> =
                known.drain().map(|(old, number)| (number, spread(&old).into())).collect();
            all.sort_unstable_by_key(|(number, _)| *number);
            let mut data = Vec::new();
            for (number, new) in all {
                data.extend_from_slice(&new);
                known.insert(new, number);
            }
            data
        };
        if destinations.len() != before[DESTINATION] {
            self.data.replace(anew(&mut self.known, &|old| spread(old, destinations)));
        }
        if sources.len() != before[SOURCE] {
            let half = before[SOURCE];
            self.fans.replace(anew(&mut self.known_fans, &|old| {
                let (other, own) = old.split_at(half.min(old.len()));
                [spread(other, sources), spread(own, sources)].concat()
            }));
        }
        self.around_and(0, "cells")
    }
}

/// The matching rules without those of the asking ones that do not cover a class. The asking ones stand in the same order.
fn covered_only(matching: &Matching, asking: &[usize], covering: &Bits) -> Matching {
    let mut asking = asking.iter().enumerate().peekable();
    let covers =
        |rule: &usize| asking.next_if(|(_, asks)| *asks == rule).is_none_or(|(place, _)| covering.has(place));
    matching.iter().copied().filter(covers).collect()
}

/// Positions have to leave the bit free that tells fans from cells.
fn numbered(position: usize, part: &'static str) -> Result<u32, TooLarge> {
    let number = u32::try_from(position).ok().filter(|number| number & FAN == 0);
    number.ok_or(TooLarge { part, needed: usize::MAX })
}

fn covered(
    catalogue: &Catalogue,
    classes: &PortClasses,
    end: usize,
    entry: &Entry,
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
            if let Some(&(protocol, _)) = catalogue.names.get(name) {
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
                    let verdict = pack(action, interner.rule(base, way), interner.is_noted(way));
                    last = Some((way, verdict));
                    verdict
                }
            };
        }
        self.undecided.remove(classes);
    }
}
