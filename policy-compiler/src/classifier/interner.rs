//! Gives every reason of a verdict a rule id while compiling; and, for engines that meet reasons only when they
//! judge, afterwards.
//!
//! A reason is a *base* (what decided) reached on a *way* (what was logged, passed or left undecided before). Ways
//! share their beginnings: a way is a step after another way. So a rule behind a thousand logging ones costs one
//! more step while compiling, and its whole way only in the finished [`super::RuleTable`]; that is what
//! [`RuleInterner::bytes`] counts, before it is made.

use super::key::RuleId;
use super::rules::{RuleInfo, RuleKind, Step};
use crate::api::{ObjectKey, Provenance};
use crate::model::{Action, Direction};
use ahash::AHashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

/// What decided, without the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Base(u32);

/// Something on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StepId(u32);

/// All steps before a decision, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Way(u32);

impl Way {
    /// Nothing came before.
    pub(crate) const DIRECT: Self = Self(0);
}

/// Gives equal things one number, in order of first sight.
#[derive(Debug, Clone)]
struct Numbered<T> {
    numbers: AHashMap<T, u32>,
    things: Vec<T>,
}

impl<T: Hash + Eq + Clone> Numbered<T> {
    fn new() -> Self {
        Self { numbers: AHashMap::new(), things: Vec::new() }
    }

    /// The number, and whether it is new.
    fn number(&mut self, thing: T) -> (u32, bool) {
        match self.numbers.entry(thing) {
            Entry::Occupied(slot) => (*slot.get(), false),
            Entry::Vacant(slot) => {
                let number = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
                self.things.push(slot.key().clone());
                (*slot.insert(number), true)
            }
        }
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.things.get(number as usize)
    }
}

/// Reasons, steps and ways by number.
#[derive(Debug, Clone)]
pub(crate) struct RuleInterner {
    bases: Numbered<RuleInfo>,
    steps: Numbered<Step>,
    /// The way before and the last step; number 1 is the first.
    ways: Numbered<(Way, StepId)>,
    /// Bytes of each way's steps when written out, by number.
    way_bytes: Vec<usize>,
    /// Whether a step of the way asks to note the connection, by number.
    way_noted: Vec<bool>,
    rules: Numbered<(Base, Way)>,
    bytes: usize,
}

impl RuleInterner {
    /// With [`RuleKind::UnknownSubject`] as id 0.
    pub(crate) fn new() -> Self {
        let mut interner = Self {
            bases: Numbered::new(),
            steps: Numbered::new(),
            ways: Numbered::new(),
            way_bytes: vec![0],
            way_noted: vec![false],
            rules: Numbered::new(),
            bytes: 0,
        };
        interner.direct(RuleInfo::direct(Action::Deny, Direction::Ingress, RuleKind::UnknownSubject));
        interner
    }

    /// The number of a reason, which has no way of its own yet.
    pub(crate) fn base(&mut self, info: RuleInfo) -> Base {
        Base(self.bases.number(info).0)
    }

    pub(crate) fn step(&mut self, step: Step) -> StepId {
        StepId(self.steps.number(step).0)
    }

    /// The way that goes on with a step.
    pub(crate) fn way(&mut self, before: Way, step: StepId) -> Way {
        let (number, new) = self.ways.number((before, step));
        if new {
            let step = self.steps.get(step.0);
            let noted = matches!(step, Some(Step::Logged { .. })) || self.is_noted(before);
            self.way_noted.push(noted);
            let step = step.map_or(0, step_bytes);
            let before = self.way_bytes.get(before.0 as usize).copied().unwrap_or(0);
            self.way_bytes.push(before.saturating_add(step));
        }
        Way(number.saturating_add(1))
    }

    /// Whether a step of a way asks to note the connection.
    pub(crate) fn is_noted(&self, way: Way) -> bool {
        self.way_noted.get(way.0 as usize).copied().unwrap_or(true)
    }

    /// The id of a reason reached on a way.
    pub(crate) fn rule(&mut self, base: Base, way: Way) -> RuleId {
        let (number, new) = self.rules.number((base, way));
        if new {
            let base = self.bases.get(base.0).map_or(0, info_bytes);
            let way = self.way_bytes.get(way.0 as usize).copied().unwrap_or(0);
            self.bytes = self.bytes.saturating_add(base).saturating_add(way);
        }
        RuleId(number)
    }

    /// The id of a reason that nothing comes before.
    pub(crate) fn direct(&mut self, info: RuleInfo) -> RuleId {
        let base = self.base(info);
        self.rule(base, Way::DIRECT)
    }

    /// How many ids there are.
    pub(crate) fn len(&self) -> usize {
        self.rules.things.len()
    }

    /// Bytes of the table so far, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What an id stands for, written out.
    pub(crate) fn info(&self, id: RuleId) -> Option<RuleInfo> {
        let &(base, mut way) = self.rules.get(id.0)?;
        let mut via = Vec::new();
        while let Some(&(before, step)) = way.0.checked_sub(1).and_then(|number| self.ways.get(number)) {
            via.push(self.steps.get(step.0)?.clone());
            way = before;
        }
        via.reverse();
        Some(RuleInfo { via, ..self.bases.get(base.0)?.clone() })
    }

    /// All ids, written out.
    pub(crate) fn finish(&self) -> Vec<Arc<RuleInfo>> {
        let count = u32::try_from(self.len()).unwrap_or(u32::MAX);
        (0..count).filter_map(|id| self.info(RuleId(id)).map(Arc::new)).collect()
    }
}

fn key_bytes(key: &ObjectKey) -> usize {
    size_of::<ObjectKey>() + key.namespace.len() + key.name.len()
}

fn place_bytes(policy: &ObjectKey, provenance: &Provenance) -> usize {
    key_bytes(policy) + size_of::<Provenance>() + provenance.field.len()
}

fn step_bytes(step: &Step) -> usize {
    let more = match step {
        Step::Logged { policy, provenance } => place_bytes(policy, provenance),
        Step::Passed { tier, policy, provenance } => tier.len() + place_bytes(policy, provenance),
        Step::Undecided { tier } => tier.len(),
    };
    size_of::<Step>() + more
}

fn info_bytes(info: &RuleInfo) -> usize {
    let more = match &info.kind {
        RuleKind::Rule { policy, provenance } => place_bytes(policy, provenance),
        RuleKind::DefaultDeny { tier, policies } => {
            tier.len() + policies.iter().map(key_bytes).sum::<usize>()
        }
        _ => 0,
    };
    size_of::<RuleInfo>() + more
}

#[cfg(test)]
mod tests {
    use super::{RuleInterner, Way};
    use crate::classifier::{RuleId, RuleInfo, RuleKind, RuleTable, Step};
    use crate::model::{Action, Direction};

    #[test]
    fn one_reason_on_two_ways_has_two_ids_and_each_says_its_way() {
        let mut interner = RuleInterner::new();
        let base = interner.base(RuleInfo::direct(Action::Allow, Direction::Egress, RuleKind::NotIsolated));
        let [admin, baseline] =
            ["admin", "baseline"].map(|tier| interner.step(Step::Undecided { tier: tier.to_owned() }));
        let first = interner.way(Way::DIRECT, admin);
        let second = interner.way(first, baseline);
        let ids = [Way::DIRECT, first, second].map(|way| interner.rule(base, way));
        assert_eq!(ids, [RuleId(1), RuleId(2), RuleId(3)]);
        assert_eq!(interner.rule(base, second), RuleId(3));
        let table = RuleTable::shared(interner.finish());
        let ways = ids.map(|id| table.get(id).via.len());
        assert_eq!(ways, [0, 1, 2]);
        assert_eq!(table.get(RuleId(3)).via[1], Step::Undecided { tier: "baseline".to_owned() });
        assert_eq!(table.get(RuleId(0)).kind, RuleKind::UnknownSubject);
        assert!(interner.bytes() > 3 * size_of::<RuleInfo>());
    }
}
