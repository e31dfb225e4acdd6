//! Calico's policies as policies of the model.
//!
//! A policy stands in its tier at its order, applies to the directions of its types, and isolates there: a tier in
//! which one applied and none decided does what its default action says. What could not be read becomes a policy of
//! its own before all others of the tier, which denies; where the tier or the order is not known, before all tiers.
//! Selectors see network sets beside pods (`endpoints`), so a set that could not be read makes every rule that may
//! mean it unreadable.
//!
//! Staged policies say nothing unless the context asks for them. Then they count as in force and hide the policy they
//! are staged for; one that deletes says nothing itself.

mod endpoints;
mod expressions;
mod rules;

use super::tiers::{TierShape, Tiers, UNREADABLE};
use super::{Context, Placed, isolating, kubernetes, mixture};
use crate::api::{
    CalicoPolicy, CalicoPolicyBody, CalicoPolicySpec, CalicoRule, CalicoTier, Diagnostic, Kind, ObjectKey,
    Severity, StagedAction,
};
use crate::model::{
    Direction, Expression, Namespaces, Order, PodSelection, Policy, PolicyName, Rule, Undecided,
};
use expressions::{Labels, all, expression};

/// Adds a tier, if it could be read. The fixed tiers stay as they are: a Tier that says otherwise has errors.
pub(super) fn add_tier(tiers: &mut Tiers, tier: &CalicoTier) {
    let Some(order) = tier.order else { return };
    let undecided = if tier.passes { Undecided::Pass } else { Undecided::Deny };
    let shape = TierShape { order: Order::at(order.value()), undecided };
    tiers.0.entry(tier.meta.key.name.clone()).or_insert(shape);
}

/// Whether the policy counts: it is not staged, or staged ones count as in force.
pub(super) fn is_in_force(policy: &CalicoPolicy, staged: bool) -> bool {
    policy.staged_for().is_none()
        || (staged && !matches!(policy.staged_action, Some(StagedAction::Delete | StagedAction::Ignore)))
}

/// The policy that a staged one replaces or deletes.
pub(super) fn hides(policy: &CalicoPolicy) -> Option<ObjectKey> {
    let kind = policy.staged_for()?;
    match policy.staged_action {
        Some(StagedAction::Ignore) | None => None,
        // Nothing is opened on the word of an object that could not be read.
        Some(StagedAction::Delete) if policy.meta.has_errors() => None,
        Some(_) => Some(ObjectKey { kind, ..policy.meta.key.clone() }),
    }
}

/// What breaks ties of equal order before kind, namespace and name do. NetworkPolicies, which Calico calls
/// `knp.default.…`, come behind its own policies of the tier `default`; these are in order of their names, where a
/// prefix that repeats the tier says nothing.
pub(super) fn tie<'p>(name: &'p PolicyName, tier: &str) -> (bool, &'p str) {
    match name.kind {
        Kind::NetworkPolicy | Kind::CalicoStagedKubernetesNetworkPolicy => (true, ""),
        Kind::CalicoNetworkPolicy
        | Kind::CalicoGlobalNetworkPolicy
        | Kind::CalicoStagedNetworkPolicy
        | Kind::CalicoStagedGlobalNetworkPolicy => {
            let bare = name.name.strip_prefix(tier).and_then(|rest| rest.strip_prefix('.'));
            (false, bare.unwrap_or(&name.name))
        }
        _ => (false, ""),
    }
}

/// What is wrong with it in this state.
pub(super) fn problems(policy: &CalicoPolicy, context: &Context<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if is_in_force(policy, context.staged) {
        problems.extend(mixture::problem(&policy.meta, context));
    }
    if let CalicoPolicyBody::Calico(spec) = &*policy.body
        && let Some(name) = &spec.tier
        && known_tier(name, context).is_none()
    {
        let others: Vec<&str> =
            context.tiers.0.keys().map(String::as_str).filter(|tier| *tier != UNREADABLE).collect();
        problems.push(Diagnostic {
            severity: Severity::Error,
            origin: spec.tier_at.origin.clone(),
            object: Some(policy.meta.key.clone()),
            field: spec.tier_at.field.clone(),
            message: format!("there is no tier {name:?}"),
            expected: Some(format!("one of {}", others.join(", "))),
            help: Some("add the Tier to the state, or correct the name".to_owned()),
        });
    }
    problems
}

fn known_tier<'n>(name: &'n str, context: &Context<'_>) -> Option<&'n str> {
    (name != UNREADABLE && context.tiers.0.contains_key(name)).then_some(name)
}

/// What the policy says, and before it what stands in place of what could not be read.
pub(super) fn policies(policy: &CalicoPolicy, context: &Context<'_>) -> Vec<Placed> {
    if !is_in_force(policy, context.staged) {
        return Vec::new();
    }
    match &*policy.body {
        // What is to be done with it is unknown, hence also whether it is this policy at all.
        CalicoPolicyBody::Kubernetes(_) if policy.staged_action.is_none() => {
            vec![denying(policy, UNREADABLE, whole_namespace(policy), &Direction::ALL)]
        }
        CalicoPolicyBody::Kubernetes(spec) => kubernetes::policies(spec),
        CalicoPolicyBody::Calico(spec) => own(policy, spec, context),
    }
}

fn own(policy: &CalicoPolicy, spec: &CalicoPolicySpec, context: &Context<'_>) -> Vec<Placed> {
    let subject = subject(policy, spec);
    let tier = spec.tier.as_deref().and_then(|name| known_tier(name, context));
    let Some(tier) = tier else {
        // With the tier's name, all but the tier may be certain.
        let certain = spec.tier.is_some() && spec.unreadable.is_none() && spec.subject.is_some();
        let directions = if certain { directions(spec) } else { Direction::ALL.to_vec() };
        return vec![denying(policy, UNREADABLE, subject, &directions)];
    };
    if spec.unreadable.is_some() || spec.subject.is_none() || policy.staged_action.is_none() {
        return vec![denying(policy, tier, subject, &Direction::ALL)];
    }
    let mut rules = Vec::new();
    let mut holes = Vec::new();
    for (direction, written) in sections(spec) {
        for written in written {
            let own_namespace = own_namespace(policy);
            let read = written.body.as_ref().and_then(|body| {
                rules::rule(body, direction, &written.provenance, own_namespace, &context.network_sets)
            });
            match read {
                Some(rule) => rules.push(rule),
                None => holes.push(Rule::unreadable(direction, written.provenance.clone())),
            }
        }
    }
    let mut policies = Vec::new();
    if !holes.is_empty() {
        policies.push(super::denying(&policy.meta.key, subject.clone(), holes, &policy.spec));
    }
    let directions = directions(spec);
    policies.push(Policy {
        name: policy.meta.key.clone(),
        order: Order::at(spec.order.value()),
        subject,
        egress: isolating(directions.contains(&Direction::Egress)),
        ingress: isolating(directions.contains(&Direction::Ingress)),
        rules,
        provenance: policy.spec.clone(),
    });
    policies.into_iter().map(|policy| Placed { tier: tier.to_owned(), policy }).collect()
}

/// What denies a subject everything in these directions, in place of the policy.
fn denying(policy: &CalicoPolicy, tier: &str, subject: PodSelection, directions: &[Direction]) -> Placed {
    let rules = directions.iter().map(|direction| Rule::unreadable(*direction, policy.spec.clone()));
    let policy = super::denying(&policy.meta.key, subject, rules.collect(), &policy.spec);
    Placed { tier: tier.to_owned(), policy }
}

/// The directions it applies to, with their rules.
fn sections(spec: &CalicoPolicySpec) -> Vec<(Direction, &[CalicoRule])> {
    let sections = [
        (spec.applies_egress, Direction::Egress, &spec.egress[..]),
        (spec.applies_ingress, Direction::Ingress, &spec.ingress[..]),
    ];
    let applying = sections.into_iter().filter(|(applies, ..)| *applies);
    applying.map(|(_, direction, rules)| (direction, rules)).collect()
}

fn directions(spec: &CalicoPolicySpec) -> Vec<Direction> {
    sections(spec).into_iter().map(|(direction, _)| direction).collect()
}

/// The namespace of a policy that lives in one.
fn own_namespace(policy: &CalicoPolicy) -> Option<&str> {
    policy.meta.key.kind.is_namespaced().then_some(policy.meta.key.namespace.as_str())
}

fn whole_namespace(policy: &CalicoPolicy) -> PodSelection {
    let namespaces = match own_namespace(policy) {
        Some(namespace) => Namespaces::Named(namespace.to_owned()),
        None => Namespaces::any(),
    };
    PodSelection { namespaces, pods: Expression::EVERYTHING }
}

/// The pods it is about; all it could be about, where that could not be read.
fn subject(policy: &CalicoPolicy, spec: &CalicoPolicySpec) -> PodSelection {
    let whole = whole_namespace(policy);
    let Some(subject) = &spec.subject else { return whole };
    let parts = [
        (&subject.selector, Labels::Own),
        (&subject.namespaces, Labels::Namespace),
        (&subject.service_accounts, Labels::ServiceAccount),
    ];
    let given =
        parts.into_iter().filter_map(|(selector, labels)| Some(expression(selector.as_ref()?, labels)));
    PodSelection { pods: all(given.collect()), ..whole }
}
