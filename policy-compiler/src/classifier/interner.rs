//! Gives every reason of a verdict a rule id while compiling; and, for engines that meet reasons only when they
//! judge, afterwards.
//!
//! A reason is a *base* (what decided) reached on a *way* (what was logged, passed or left undecided before). Ways
//! share their beginnings: a way is a step after another way. So a rule behind a thousand logging ones costs one
//! more step while compiling, and its whole way only in the finished [`super::RuleTable`]; that is what
//! [`RuleInterner::bytes`] counts, before it is made.

use super::key::RuleId;
use super::numbering::Numbering;
use super::rules::{RuleInfo, RuleKind, Step};
use crate::api::{ObjectKey, Provenance};
use crate::model::{Action, Direction};
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

/// The number of a thing, and whether it is new.
fn number<T: Hash + Eq + Clone>(of: &mut Numbering<T>, thing: T) -> (u32, bool) {
    let before = of.len();
    let number = of.number(thing);
    (u32::try_from(number).unwrap_or(u32::MAX), number == before)
}

/// Reasons, steps and ways by number.
#[derive(Debug, Clone)]
pub(crate) struct RuleInterner {
    bases: Numbering<RuleInfo>,
    steps: Numbering<Step>,
    /// The way before and the last step; number 1 is the first.
    ways: Numbering<(Way, StepId)>,
    /// Bytes of each way's steps when written out, by number.
    way_bytes: Vec<usize>,
    /// Whether a step of the way asks to note the connection, by number.
    way_noted: Vec<bool>,
    rules: Numbering<(Base, Way)>,
    bytes: usize,
}

impl RuleInterner {
    /// With [`RuleKind::UnknownSubject`] as id 0.
    pub(crate) fn new() -> Self {
        let mut interner = Self {
            bases: Numbering::new(),
            steps: Numbering::new(),
            ways: Numbering::new(),
            way_bytes: vec![0],
            way_noted: vec![false],
            rules: Numbering::new(),
            bytes: 0,
        };
        interner.direct(RuleInfo::direct(Action::Deny, Direction::Ingress, RuleKind::UnknownSubject));
        interner
    }

    /// The number of a reason, which has no way of its own yet.
    pub(crate) fn base(&mut self, info: RuleInfo) -> Base {
        Base(number(&mut self.bases, info).0)
    }

    pub(crate) fn step(&mut self, step: Step) -> StepId {
        StepId(number(&mut self.steps, step).0)
    }

    /// The way that goes on with a step.
    pub(crate) fn way(&mut self, before: Way, step: StepId) -> Way {
        let (number, new) = number(&mut self.ways, (before, step));
        if new {
            let step = self.steps.get(step.0 as usize);
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
        let (number, new) = number(&mut self.rules, (base, way));
        if new {
            let base = self.bases.get(base.0 as usize).map_or(0, info_bytes);
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
        self.rules.len()
    }

    /// Bytes of the table so far, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What an id stands for, written out.
    pub(crate) fn info(&self, id: RuleId) -> Option<RuleInfo> {
        let &(base, mut way) = self.rules.get(id.0 as usize)?;
        let mut via = Vec::new();
        while let Some(&(before, step)) =
            way.0.checked_sub(1).and_then(|number| self.ways.get(number as usize))
        {
            via.push(self.steps.get(step.0 as usize)?.clone());
            way = before;
        }
        via.reverse();
        Some(RuleInfo { via, ..self.bases.get(base.0 as usize)?.clone() })
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
