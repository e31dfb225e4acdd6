//! Subjects → rows: pods that the same policies judge in the same way share one row per direction.
//!
//! What makes a row: the policies that select the pod and apply to the direction, in tier order; for ingress the
//! node whose addresses always pass, and what the port names of the rules stand for on the pod itself.

use super::catalogue::{Catalogue, Numbering, PolicyEntry, side};
use super::identity::resolve;
use crate::api::Labels;
use crate::classifier::{RuleId, RuleInfo, RuleKind};
use crate::cluster::{CutOff, LivePod, View};
use crate::model::{Action, Direction, Model, PolicyName, Undecided};
use std::collections::BTreeMap;

/// A tier of a row: only tiers in which a policy applies.
#[derive(Debug)]
pub(crate) struct RowTier {
    /// Rules in order: numbers in the catalogue.
    pub(crate) rules: Vec<usize>,
    /// The default deny, or none to go on.
    pub(crate) undecided: Option<RuleId>,
}

/// What is common to the subjects of a row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) direction: Direction,
    /// The subject is cut off; nothing else counts.
    pub(crate) cut_off: Option<RuleId>,
    /// The node that always passes, by position in [`Rows::nodes`].
    pub(crate) own_node: Option<usize>,
    pub(crate) tiers: Vec<RowTier>,
    /// Ingress: what port names stand for on the subject.
    pub(crate) names: Vec<(usize, usize)>,
}

/// Rule ids that no policy has, by direction (egress, ingress) where they have one.
#[derive(Debug)]
pub(crate) struct FixedRules {
    pub(crate) self_traffic: [RuleId; 2],
    pub(crate) not_isolated: [RuleId; 2],
    pub(crate) own_node: RuleId,
    /// By position in the view's list.
    pub(crate) cut_off: Vec<[RuleId; 2]>,
}

#[derive(Debug)]
pub(crate) struct Rows<'o> {
    pub(crate) list: Vec<Row>,
    /// Row numbers of every subject: egress, ingress.
    pub(crate) subjects: Vec<[usize; 2]>,
    /// Nodes that subjects run on.
    pub(crate) nodes: Vec<&'o str>,
    pub(crate) fixed: FixedRules,
}

/// What tells rows apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RowKey {
    direction: Direction,
    cut_off: Option<usize>,
    own_node: Option<usize>,
    /// Policies per tier, by position.
    policies: Vec<Vec<usize>>,
    names: Vec<(usize, usize)>,
}

pub(crate) fn build<'o>(view: &View<'o>, model: &Model, catalogue: &mut Catalogue<'_>) -> Rows<'o> {
    let fixed = fixed_rules(view, catalogue);
    let mut nodes: Numbering<&'o str> = Numbering::new();
    let mut keys: Numbering<RowKey> = Numbering::new();
    let mut selected: BTreeMap<(&str, &Labels), [Vec<Vec<usize>>; 2]> = BTreeMap::new();
    let mut subjects = Vec::with_capacity(view.subjects.len());
    for live in view.subjects.iter().filter_map(|&position| view.pods.get(position)) {
        let policies = selected
            .entry((live.namespace(), &live.pod.meta.labels))
            .or_insert_with(|| Direction::ALL.map(|direction| select(live, direction, catalogue)));
        let policies = policies.clone();
        let node = nodes.number(live.pod.node_name.as_str());
        subjects.push(Direction::ALL.map(|direction| {
            let policies = policies[side(direction)].clone();
            let mut key =
                RowKey { direction, cut_off: live.cut_off, own_node: None, policies, names: Vec::new() };
            if direction == Direction::Ingress {
                key.own_node = Some(node);
                if !live.pod.named_ports.is_empty() {
                    key.names = names_used(live, &key.policies, catalogue);
                }
            }
            if key.cut_off.is_some() {
                key = RowKey { own_node: None, policies: Vec::new(), names: Vec::new(), ..key };
            }
            keys.number(key)
        }));
    }
    let list = keys.things().iter().map(|key| row(key, model, catalogue, &fixed)).collect();
    Rows { list, subjects, nodes: nodes.things().to_vec(), fixed }
}

/// Positions of the policies, per tier, that select the pod and apply to the direction.
fn select(live: &LivePod<'_>, direction: Direction, catalogue: &Catalogue<'_>) -> Vec<Vec<usize>> {
    let applies = |entry: &PolicyEntry<'_>| {
        let subject = &entry.policy.subject;
        entry.policy.applies(direction)
            && subject.matches(live.namespace(), &live.namespace_labels, &live.pod.meta.labels)
    };
    let tier = |policies: &Vec<PolicyEntry<'_>>| {
        let numbered = policies.iter().enumerate();
        numbered.filter(|(_, entry)| applies(entry)).map(|(position, _)| position).collect()
    };
    catalogue.tiers.iter().map(tier).collect()
}

/// What those port names stand for on the subject that its ingress rules use.
fn names_used(
    live: &LivePod<'_>,
    policies: &[Vec<usize>],
    catalogue: &mut Catalogue<'_>,
) -> Vec<(usize, usize)> {
    let mut used: Vec<usize> = Vec::new();
    for (tier, positions) in catalogue.tiers.iter().zip(policies) {
        let rules =
            positions.iter().filter_map(|&position| tier.get(position)).flat_map(|entry| &entry.rules[1]);
        for entry in rules.filter_map(|&rule| catalogue.entries.get(rule)) {
            used.extend(entry.ports.iter().flat_map(|ports| &ports.names));
        }
    }
    let mut names = if used.is_empty() { Vec::new() } else { resolve(live.pod, catalogue) };
    names.retain(|(name, _)| used.contains(name));
    names
}

fn row(key: &RowKey, model: &Model, catalogue: &mut Catalogue<'_>, fixed: &FixedRules) -> Row {
    let mut tiers = Vec::new();
    for ((tier, entries), positions) in model.tiers.iter().zip(&catalogue.tiers).zip(&key.policies) {
        if positions.is_empty() {
            continue;
        }
        let applied: Vec<_> = positions.iter().filter_map(|&position| entries.get(position)).collect();
        let rules =
            applied.iter().flat_map(|entry| entry.rules[side(key.direction)].iter().copied()).collect();
        let undecided = (tier.undecided == Undecided::Deny).then(|| {
            let mut policies: Vec<PolicyName> =
                applied.iter().map(|entry| entry.policy.name.clone()).collect();
            policies.dedup();
            let kind = RuleKind::DefaultDeny { tier: tier.name.clone(), policies };
            catalogue.interner.intern(RuleInfo { action: Action::Deny, direction: key.direction, kind })
        });
        tiers.push(RowTier { rules, undecided });
    }
    let cut_off = key.cut_off.and_then(|position| fixed.cut_off.get(position));
    Row {
        direction: key.direction,
        cut_off: cut_off.map(|rules| rules[side(key.direction)]),
        own_node: key.own_node,
        tiers,
        names: key.names.clone(),
    }
}

fn fixed_rules(view: &View<'_>, catalogue: &mut Catalogue<'_>) -> FixedRules {
    let interner = &mut catalogue.interner;
    let mut both = |action, kind: &RuleKind| {
        Direction::ALL.map(|direction| interner.intern(RuleInfo { action, direction, kind: kind.clone() }))
    };
    FixedRules {
        self_traffic: both(Action::Allow, &RuleKind::SelfTraffic),
        not_isolated: both(Action::Allow, &RuleKind::NotIsolated),
        cut_off: view
            .cut_offs
            .iter()
            .map(|cut_off| {
                let kind = match cut_off.clone() {
                    CutOff::Conflict { address, pods } => RuleKind::IpConflict { address, pods },
                    CutOff::Misplaced { pod, node, address, reason } => {
                        RuleKind::Misplaced { pod, node, address, reason }
                    }
                    CutOff::Unreadable { object, provenance } => {
                        RuleKind::UnreadableObject { object, provenance }
                    }
                };
                both(Action::Deny, &kind)
            })
            .collect(),
        own_node: interner.intern(RuleInfo {
            action: Action::Allow,
            direction: Direction::Ingress,
            kind: RuleKind::OwnNode,
        }),
    }
}
