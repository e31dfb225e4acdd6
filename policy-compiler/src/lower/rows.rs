//! Subjects → rows: pods that the same policies judge in the same way share one row per direction.
//!
//! What makes a row: the policies that select the pod and apply to the direction, in tier order; of their rules those
//! that are not about the pod (`local` can tell a pod's two families apart, so a pod has a row for each); and
//! what the port names of the rules stand for on the pod itself.

use super::catalogue::{Catalogue, DESTINATION, Numbering, PolicyEntry, Resolved, SOURCE, side};
use crate::classifier::{Base, RuleId, RuleInfo, RuleKind, StepId};
use crate::cluster::{CutOff, LivePod, Looks, View};
use crate::model::{Action, Applies, Direction, Peer, PolicyName, Undecided};
use std::collections::BTreeMap;

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

/// What is common to the subjects of a row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) direction: Direction,
    /// The subject is cut off; nothing else counts.
    pub(crate) cut_off: Option<RuleId>,
    pub(crate) tiers: Vec<RowTier>,
    /// What port names stand for on the subject.
    pub(crate) names: Vec<Resolved>,
}

/// Rule ids that no policy has, by direction (egress, ingress) where they have one.
#[derive(Debug)]
pub(crate) struct FixedRules {
    pub(crate) self_traffic: [RuleId; 2],
    pub(crate) not_isolated: [Base; 2],
    pub(crate) own_node: RuleId,
    /// By position in the view's list.
    pub(crate) cut_off: Vec<[RuleId; 2]>,
}

/// A subject's numbers.
#[derive(Debug)]
pub(crate) struct SubjectRows {
    /// By direction (egress, ingress) and family (IPv4, IPv6).
    pub(crate) rows: [usize; 4],
    /// Position in [`Rows::nodes`].
    pub(crate) node: usize,
}

#[derive(Debug)]
pub(crate) struct Rows<'o> {
    pub(crate) list: Vec<Row>,
    pub(crate) subjects: Vec<SubjectRows>,
    /// Nodes that subjects run on.
    pub(crate) nodes: Vec<&'o str>,
    pub(crate) fixed: FixedRules,
}

/// What tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RowKey {
    direction: Direction,
    cut_off: Option<usize>,
    /// Policies per tier, by position.
    policies: Vec<Vec<usize>>,
    /// Their rules that are not about the subject.
    left_out: Vec<usize>,
    names: Vec<Resolved>,
}

pub(crate) fn build<'o>(view: &View<'o>, catalogue: &mut Catalogue<'_>) -> Rows<'o> {
    let fixed = fixed_rules(view, catalogue);
    let mut nodes: Numbering<&'o str> = Numbering::new();
    let mut keys: Numbering<RowKey> = Numbering::new();
    let mut selected: BTreeMap<Looks<'_>, [Vec<Vec<usize>>; 2]> = BTreeMap::new();
    let mut subjects = Vec::with_capacity(view.subjects.len());
    for live in view.subjects.iter().filter_map(|&position| view.pods.get(position)) {
        let policies = selected
            .entry(live.looks())
            .or_insert_with(|| Direction::ALL.map(|direction| select(live, direction, catalogue)));
        let policies = policies.clone();
        let resolved = catalogue.resolve(live.pod);
        let mut row = |direction, v4| {
            let (policies, cut_off) = (policies[side(direction)].clone(), live.cut_off);
            let mut key = RowKey { direction, cut_off, policies, left_out: Vec::new(), names: Vec::new() };
            if cut_off.is_some() {
                key.policies = Vec::new();
            }
            key.left_out = left_out(live, v4, &key, catalogue);
            key.names = names_used(&key, &resolved, catalogue);
            keys.number(key)
        };
        let rows = [
            row(Direction::Egress, true),
            row(Direction::Egress, false),
            row(Direction::Ingress, true),
            row(Direction::Ingress, false),
        ];
        subjects.push(SubjectRows { rows, node: nodes.number(live.pod.node_name.as_str()) });
    }
    let list = keys.things().iter().map(|key| self::row(key, catalogue, &fixed)).collect();
    Rows { list, subjects, nodes: nodes.things().to_vec(), fixed }
}

/// Positions of the policies, per tier, that select the pod and apply to the direction.
fn select(live: &LivePod<'_>, direction: Direction, catalogue: &Catalogue<'_>) -> Vec<Vec<usize>> {
    let applies = |entry: &PolicyEntry<'_>| {
        let subject = &entry.policy.subject;
        entry.policy.applies(direction) != Applies::No && subject.matches(&live.attributes())
    };
    let tiers = catalogue.tiers.iter().map(|tier| {
        let numbered = tier.policies.iter().enumerate();
        numbered.filter(|(_, entry)| applies(entry)).map(|(position, _)| position).collect()
    });
    tiers.collect()
}

/// The rules of a row's policies, by tier.
fn rules<'a>(key: &'a RowKey, catalogue: &'a Catalogue<'_>) -> impl Iterator<Item = usize> {
    catalogue.tiers.iter().zip(&key.policies).flat_map(|(tier, positions)| {
        let policies = positions.iter().filter_map(|&position| tier.policies.get(position));
        policies.flat_map(|entry| entry.rules[side(key.direction)].iter().copied())
    })
}

/// The rules that are not about this subject, as far as its address of a family goes.
fn left_out(live: &LivePod<'_>, v4: bool, key: &RowKey, catalogue: &Catalogue<'_>) -> Vec<usize> {
    let own = live.pod.pod_ips.iter().copied().find(|address| address.is_ipv4() == v4);
    let is_subject = |part: &Peer| match part {
        Peer::Pods(selection) => selection.matches(&live.attributes()),
        Peer::Addresses(block) => own.is_some_and(|own| block.contains(own)),
        _ => false,
    };
    let about = |number: &usize| {
        let local = catalogue.entries.get(*number).and_then(|entry| entry.rule.local.as_ref());
        local.is_none_or(|local| local.holds(&mut { is_subject }))
    };
    rules(key, catalogue).filter(|number| !about(number)).collect()
}

/// What those port names stand for on the subject that rules about its end use.
fn names_used(key: &RowKey, resolved: &[Resolved], catalogue: &Catalogue<'_>) -> Vec<Resolved> {
    if resolved.is_empty() {
        return Vec::new();
    }
    let end = match key.direction {
        Direction::Egress => SOURCE,
        Direction::Ingress => DESTINATION,
    };
    let used: Vec<usize> = rules(key, catalogue)
        .filter_map(|rule| catalogue.entries.get(rule))
        .flat_map(|entry| entry.ports[end].names())
        .collect();
    resolved.iter().copied().filter(|(name, _)| used.contains(name)).collect()
}

fn row(key: &RowKey, catalogue: &mut Catalogue<'_>, fixed: &FixedRules) -> Row {
    let mut tiers = Vec::new();
    let Catalogue { tiers: entries, interner, .. } = catalogue;
    for (tier, positions) in entries.iter().zip(&key.policies) {
        if positions.is_empty() {
            continue;
        }
        let applied: Vec<_> = positions.iter().filter_map(|&position| tier.policies.get(position)).collect();
        let rules = applied.iter().flat_map(|entry| entry.rules[side(key.direction)].iter().copied());
        let rules = rules.filter(|rule| !key.left_out.contains(rule)).collect();
        let isolating =
            applied.iter().filter(|entry| entry.policy.applies(key.direction) == Applies::Isolating);
        let mut policies: Vec<PolicyName> = isolating.map(|entry| entry.policy.name.clone()).collect();
        policies.dedup();
        let denies = !policies.is_empty() && tier.tier.undecided == Undecided::Deny;
        let kind = RuleKind::DefaultDeny { tier: tier.tier.name.clone(), policies };
        let default_deny = denies.then(|| interner.base(RuleInfo::direct(Action::Deny, key.direction, kind)));
        tiers.push(RowTier { rules, default_deny, undecided: tier.undecided });
    }
    let cut_off = key.cut_off.and_then(|position| fixed.cut_off.get(position));
    Row {
        direction: key.direction,
        cut_off: cut_off.map(|rules| rules[side(key.direction)]),
        tiers,
        names: key.names.clone(),
    }
}

/// What a verdict says of a pod that is cut off.
pub(crate) fn cut_off_kind(cut_off: &CutOff) -> RuleKind {
    match cut_off.clone() {
        CutOff::Conflict { address, pods } => RuleKind::IpConflict { address, pods },
        CutOff::Misplaced { pod, node, address, reason } => {
            RuleKind::Misplaced { pod, node, address, reason }
        }
        CutOff::Unreadable { object, provenance } => RuleKind::UnreadableObject { object, provenance },
    }
}

fn fixed_rules(view: &View<'_>, catalogue: &mut Catalogue<'_>) -> FixedRules {
    let interner = &mut catalogue.interner;
    let mut both = |action, kind: &RuleKind| {
        Direction::ALL.map(|direction| interner.direct(RuleInfo::direct(action, direction, kind.clone())))
    };
    let self_traffic = both(Action::Allow, &RuleKind::SelfTraffic);
    both(Action::Allow, &RuleKind::NotIsolated);
    let cut_off = view.cut_offs.iter().map(|cut_off| both(Action::Deny, &cut_off_kind(cut_off))).collect();
    let own_node = RuleInfo::direct(Action::Allow, Direction::Ingress, RuleKind::OwnNode);
    let own_node = interner.direct(own_node);
    let not_isolated = Direction::ALL
        .map(|direction| interner.base(RuleInfo::direct(Action::Allow, direction, RuleKind::NotIsolated)));
    FixedRules { self_traffic, not_isolated, own_node, cut_off }
}
