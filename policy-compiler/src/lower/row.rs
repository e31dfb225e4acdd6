//! One row: what a subject's policies say of every identity, in one direction and family.
//!
//! What makes a row: the policies that select the pod and apply to the direction, in tier order; of their rules those
//! that are not about the pod (`local` can tell a pod's two families apart, so a pod has a row for each); and
//! what the port names of the rules stand for on the pod itself. A row says one thing (its default) of every identity
//! its rules know nothing of; the others are found by the atoms its rules use.

use super::TooLarge;
use super::catalogue::{Catalogue, DESTINATION, Formula, PolicyEntry, Resolved, SOURCE, side};
use super::cell::{Cells, Matching};
use super::fixed::FixedRules;
use super::identity::Seen;
use super::looks::LookEntry;
use super::members::Members;
use crate::classifier::answer::pack;
use crate::classifier::{Base, RuleId, RuleInfo, RuleKind, StepId};
use crate::model::{Action, Applies, Direction, Peer, PolicyName, Undecided};
use ahash::AHashMap;
use std::collections::BTreeSet;
use std::net::IpAddr;
/// What is said of rules that are too many for so many identities.
pub(super) const BY_IDENTITY: &str = "rules by identity";

/// A tier of a row: only tiers in which a policy applies.
#[derive(Debug)]
pub(crate) struct RowTier {
    /// Rules in order: numbers in the catalogue.
    pub(crate) rules: Vec<usize>,
    /// The default deny, or none to go on.
    pub(crate) default_deny: Option<Base>,
    /// What is noted when it did not decide.
    pub(crate) undecided: StepId,
}

/// What tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RowKey {
    direction: Direction,
    cut_off: Option<usize>,
    /// Policies, in order.
    policies: Vec<usize>,
    /// Their rules that are not about the subject.
    left_out: Vec<usize>,
    names: Vec<Resolved>,
}

/// What is common to the subjects of a row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(super) key: RowKey,
    /// The subject is cut off; nothing else counts.
    cut_off: Option<RuleId>,
    pub(crate) tiers: Vec<RowTier>,
    /// All rules in order, and whether each matches an address that nothing is known of.
    rules: Vec<(usize, bool)>,
    /// Some rule asks for port names of the other end.
    names_matter: bool,
    /// Steps to try all its rules on an identity.
    pub(super) effort: usize,
    /// Whether an address is the subject's own node's matters.
    own_matters: bool,
    pub(super) default: u32,
    /// Cells by matching rules and by profile where names matter, made so far.
    known: AHashMap<(Matching, usize), Vec<u32>>,
    pub(super) subjects: usize,
}

impl Row {
    pub(crate) fn direction(&self) -> Direction {
        self.key.direction
    }

    /// What port names stand for on the subject.
    pub(crate) fn names(&self) -> &[Resolved] {
        &self.key.names
    }

    /// The row of a key.
    pub(super) fn new(
        key: RowKey,
        fixed: &FixedRules,
        cells: &mut Cells,
        catalogue: &mut Catalogue,
    ) -> Result<Self, TooLarge> {
        let mut row = undefaulted(key, catalogue, fixed);
        row.default = if let Some(rule) = row.cut_off {
            cells.whole(pack(Action::Deny, rule, false))?
        } else {
            let choice = row.choice(&Seen::default(), false, cells, catalogue)?;
            cells.entry(&choice, &choice)?
        };
        Ok(row)
    }

    /// Source classes are others now: what was found for the old ones is no longer found.
    pub(super) fn forget_choices(&mut self) {
        self.known.retain(|_, choice| choice.len() == 1);
    }

    /// The matrix's entry for an identity.
    pub(super) fn entry(
        &mut self,
        seen: &Seen,
        fixed: &FixedRules,
        cells: &mut Cells,
        catalogue: &mut Catalogue,
    ) -> Result<u32, TooLarge> {
        if self.cut_off.is_some() {
            return Ok(self.default);
        }
        if let Some(rules) = seen.cut_off.and_then(|position| fixed.cut_off.get(position)) {
            return cells.whole(pack(Action::Deny, rules[side(self.key.direction)], false));
        }
        cells.budget.toil(self.effort, BY_IDENTITY)?;
        let own = self.own_matters && seen.own;
        let names = self.names_matter && seen.profile != 0;
        if !own
            && !names
            && self.rules.iter().all(|&(rule, default)| matches(catalogue, rule, seen, false) == default)
        {
            return Ok(self.default);
        }
        let other = self.choice(seen, false, cells, catalogue)?;
        let own = match (own, self.key.direction) {
            (false, _) => other.clone(),
            (true, Direction::Ingress) => vec![cells.whole(pack(Action::Allow, fixed.own_node, false))?],
            (true, Direction::Egress) => self.choice(seen, true, cells, catalogue)?,
        };
        cells.entry(&other, &own)
    }

    fn choice(
        &mut self,
        seen: &Seen,
        own: bool,
        cells: &mut Cells,
        catalogue: &mut Catalogue,
    ) -> Result<Vec<u32>, TooLarge> {
        let rules = self.rules.iter().map(|&(rule, _)| rule);
        let matching: Matching = rules.filter(|&rule| matches(catalogue, rule, seen, own)).collect();
        let key = (matching, if self.names_matter { seen.profile } else { 0 });
        if let Some(choice) = self.known.get(&key) {
            return Ok(choice.clone());
        }
        cells.keep_matching(key.0.len(), BY_IDENTITY)?;
        let choice = cells.choice(self, &key.0, seen, catalogue)?;
        self.known.insert(key, choice.clone());
        Ok(choice)
    }

    /// Identities that may not be what the default says; `None`: any.
    pub(super) fn special(&self, members: &Members, catalogue: &Catalogue) -> Option<BTreeSet<usize>> {
        let mut special: BTreeSet<usize> = members.cut_off.iter().copied().collect();
        if self.own_matters {
            special.extend(&members.own);
        }
        if self.names_matter {
            special.extend(&members.named);
        }
        for formula in self.rules.iter().filter_map(|&(rule, _)| catalogue.entries.get(rule)?.peers.as_ref())
        {
            for atom in positive(formula)? {
                special.extend(members.of_atom.get(atom).into_iter().flatten());
            }
        }
        Some(special)
    }
}

/// The atoms of a formula that is nothing but alternatives.
fn positive(formula: &Formula) -> Option<Vec<usize>> {
    match formula {
        Formula::Atom(atom) => Some(vec![*atom]),
        Formula::OwnNode => Some(Vec::new()),
        Formula::Any(parts) => {
            let mut atoms = Vec::with_capacity(parts.len());
            for part in parts {
                atoms.extend(positive(part)?);
            }
            Some(atoms)
        }
        Formula::Not(_) | Formula::All(_) => None,
    }
}

/// Steps to try a formula: its atoms, and what they stand in.
fn effort(formula: &Formula) -> usize {
    match formula {
        Formula::Atom(_) | Formula::OwnNode => 1,
        Formula::Not(part) => 1 + effort(part),
        Formula::All(parts) | Formula::Any(parts) => {
            parts.iter().fold(1, |sum, part| sum.saturating_add(effort(part)))
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

fn matches(catalogue: &Catalogue, rule: usize, seen: &Seen, own: bool) -> bool {
    let Some(entry) = catalogue.entries.get(rule) else { return false };
    entry.peers.as_ref().is_none_or(|formula| formula.holds(&|atom| seen.has(atom), own))
}

/// What of a subject counts for its rows.
pub(crate) struct SubjectView<'a> {
    pub(crate) look: &'a LookEntry,
    pub(crate) cut_off: Option<usize>,
    pub(crate) addresses: &'a [IpAddr],
    /// What port names stand for on it.
    pub(crate) names: &'a [Resolved],
}

impl RowKey {
    pub(super) fn of(
        subject: &SubjectView<'_>,
        direction: Direction,
        v4: bool,
        catalogue: &Catalogue,
    ) -> Self {
        let policies = subject.look.selected[side(direction)].clone();
        let cut_off = subject.cut_off;
        let mut key = Self { direction, cut_off, policies, left_out: Vec::new(), names: Vec::new() };
        if cut_off.is_some() {
            key.policies = Vec::new();
            return key;
        }
        key.left_out = key.left_out(subject, v4, catalogue);
        key.names = key.names_used(subject.names, catalogue);
        key
    }

    fn policies<'a>(&'a self, catalogue: &'a Catalogue) -> impl Iterator<Item = &'a PolicyEntry> {
        self.policies.iter().filter_map(|&number| catalogue.policies.get(number))
    }

    fn rules<'a>(&'a self, catalogue: &'a Catalogue) -> impl Iterator<Item = usize> {
        self.policies(catalogue).flat_map(|policy| policy.rules[side(self.direction)].iter().copied())
    }

    /// The rules that are not about this subject, as far as its address of a family goes.
    fn left_out(&self, subject: &SubjectView<'_>, v4: bool, catalogue: &Catalogue) -> Vec<usize> {
        let own = subject.addresses.iter().copied().find(|address| address.is_ipv4() == v4);
        let is_subject = |part: &Peer| match part {
            Peer::Pods(selection) => selection.matches(&subject.look.attributes()),
            Peer::Addresses(block) => own.is_some_and(|own| block.contains(own)),
            _ => false,
        };
        let about = |number: &usize| {
            let local = catalogue.entries.get(*number).and_then(|entry| entry.local.as_ref());
            local.is_none_or(|local| local.holds(&mut { is_subject }))
        };
        self.rules(catalogue).filter(|number| !about(number)).collect()
    }

    /// What those port names stand for on the subject that rules about its end use.
    fn names_used(&self, resolved: &[Resolved], catalogue: &Catalogue) -> Vec<Resolved> {
        if resolved.is_empty() {
            return Vec::new();
        }
        let end = match self.direction {
            Direction::Egress => SOURCE,
            Direction::Ingress => DESTINATION,
        };
        let used: BTreeSet<usize> = self
            .rules(catalogue)
            .filter_map(|rule| catalogue.entries.get(rule))
            .flat_map(|entry| entry.ports[end].names())
            .collect();
        resolved.iter().copied().filter(|(name, _)| used.contains(name)).collect()
    }
}

/// A row of which it is not known yet what it says by default.
fn undefaulted(key: RowKey, catalogue: &mut Catalogue, fixed: &FixedRules) -> Row {
    let at = side(key.direction);
    let mut tiers: Vec<RowTier> = Vec::new();
    let Catalogue { tiers: entries, policies, interner, .. } = catalogue;
    // Both are in the row's order.
    let mut left_out = key.left_out.iter().peekable();
    let applied: Vec<&PolicyEntry> = key.policies.iter().filter_map(|&number| policies.get(number)).collect();
    for applied in applied.chunk_by(|one, next| one.tier == next.tier) {
        let Some(tier) = applied.first().and_then(|policy| entries.get(policy.tier)) else { continue };
        let rules = applied.iter().flat_map(|policy| policy.rules[at].iter().copied());
        let rules = rules.filter(|rule| left_out.next_if_eq(&rule).is_none()).collect();
        let isolating = applied.iter().filter(|policy| policy.applies[at] == Applies::Isolating);
        let mut names: Vec<PolicyName> = isolating.map(|policy| policy.name.clone()).collect();
        names.dedup();
        let denies = !names.is_empty() && tier.undecided == Undecided::Deny;
        let kind = RuleKind::DefaultDeny { tier: tier.name.clone(), policies: names };
        let default_deny = denies.then(|| interner.base(RuleInfo::direct(Action::Deny, key.direction, kind)));
        tiers.push(RowTier { rules, default_deny, undecided: tier.step });
    }
    let unknown = Seen::default();
    let mut row = Row {
        cut_off: key.cut_off.and_then(|position| fixed.cut_off.get(position)).map(|rules| rules[at]),
        rules: Vec::new(),
        names_matter: false,
        effort: 1,
        own_matters: key.direction == Direction::Ingress,
        default: 0,
        known: AHashMap::new(),
        subjects: 0,
        tiers,
        key,
    };
    for &rule in row.tiers.iter().flat_map(|tier| &tier.rules) {
        row.rules.push((rule, matches(catalogue, rule, &unknown, false)));
        if let Some(entry) = catalogue.entries.get(rule) {
            row.names_matter |= entry.ports[entry.remote_end()].names().next().is_some();
            // Twice: for what matches, and for what is not the default.
            row.effort = row.effort.saturating_add(2 * (1 + entry.peers.as_ref().map_or(0, effort)));
            row.own_matters |= entry.peers.as_ref().is_some_and(uses_own);
        }
    }
    row
}
