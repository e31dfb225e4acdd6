//! From objects to the model, one file per language, and the slow evaluator that walks it ([`mod@reference`]).
//!
//! ```text
//!  object ─► kubernetes | cluster_policy | calico | cilium ─► Placed (policy, tier) ─┐
//!              ▲                                                                     ├─► Model
//!            Context: tiers, network sets, what else the state holds ────────────────┘
//! ```
//! Each object becomes policies on its own: what it needs of others is in the [`Context`], so that one changed object
//! need not make all others be read again.

pub mod kubernetes;
pub mod reference;
pub mod tiers;

mod calico;
mod cilium;
mod cluster_policy;
mod context;
mod mixture;
mod too_large;

pub use context::{Context, NetworkSets, UnreadNodes};
pub use too_large::weight;

use crate::api::{Diagnostic, Object, ObjectKey, Provenance};
use crate::model::{Applies, Direction, Model, Order, PodSelection, Policy, PolicyName, Rule, Tier};
use std::collections::{BTreeMap, BTreeSet};

/// A policy and the name of its tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The tier; one of the context's.
    pub tier: String,
    /// The policy.
    pub policy: Policy,
}

/// What an object says, as policies of the model. Objects that are no policies, and staged ones unless the context
/// asks for them, say nothing.
pub fn policies(object: &Object, context: &Context<'_>) -> Vec<Placed> {
    if context.hidden.contains(object.key()) {
        return Vec::new();
    }
    match object {
        Object::NetworkPolicy(policy) => kubernetes::policies(policy),
        Object::ClusterPolicy(policy) => cluster_policy::policies(policy, context),
        Object::CalicoPolicy(policy) => calico::policies(policy, context),
        Object::CiliumPolicy(policy) => cilium::policies(policy, context),
        Object::Namespace(_)
        | Object::Node(_)
        | Object::Pod(_)
        | Object::ServiceAccount(_)
        | Object::CalicoTier(_)
        | Object::CalicoNetworkSet(_)
        | Object::CiliumCidrGroup(_) => Vec::new(),
    }
}

/// What stands in place of a policy, or of rules, that could not be read: it denies its subject everything in the directions
/// of these rules, before all others of its tier.
fn denying(name: &PolicyName, subject: PodSelection, rules: Vec<Rule>, provenance: &Provenance) -> Policy {
    let applies = |direction| isolating(rules.iter().any(|rule| rule.direction == direction));
    Policy {
        name: name.clone(),
        order: Order::FIRST,
        subject,
        egress: applies(Direction::Egress),
        ingress: applies(Direction::Ingress),
        rules,
        provenance: provenance.clone(),
    }
}

fn isolating(applies: bool) -> Applies {
    if applies { Applies::Isolating } else { Applies::No }
}

/// What is wrong with objects only because of others: tiers that are not there, languages that do not mix.
pub fn problems<'o>(objects: impl Iterator<Item = &'o Object>, context: &Context<'_>) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for object in objects {
        match object {
            Object::CalicoPolicy(policy) => problems.extend(calico::problems(policy, context)),
            Object::CiliumPolicy(policy) => problems.extend(cilium::problems(policy, context)),
            _ => {}
        }
    }
    problems
}

/// What breaks ties of equal order among the policies of a tier, before kind, namespace and name do.
pub(crate) fn tie<'p>(name: &'p PolicyName, tier: &str) -> (bool, &'p str) {
    calico::tie(name, tier)
}

/// The model of a cluster with these objects, of which some are `too_large`: something that denies stands in their place.
/// The order of the objects does not matter.
pub fn model<'o>(
    objects: impl Iterator<Item = &'o Object> + Clone,
    context: &Context<'_>,
    too_large: &BTreeSet<ObjectKey>,
) -> Model {
    let mut by_tier: BTreeMap<String, Vec<Policy>> = BTreeMap::new();
    let isolated = objects.clone().filter(|object| too_large.contains(object.key()));
    let others = objects.filter(|object| !too_large.contains(object.key()));
    let placed = others.flat_map(|object| policies(object, context));
    for placed in placed.chain(too_large::stand_ins(isolated, context)) {
        by_tier.entry(placed.tier).or_default().push(placed.policy);
    }
    let mut tiers: Vec<Tier> = context
        .tiers
        .0
        .iter()
        .map(|(name, shape)| {
            let mut policies = by_tier.remove(name).unwrap_or_default();
            // Names of policies are compared as Calico compares them; kinds and namespaces only where these are equal.
            policies.sort_by(|a, b| {
                let ties = (tie(&a.name, name), tie(&b.name, name));
                a.order.cmp(&b.order).then(ties.0.cmp(&ties.1)).then_with(|| a.name.cmp(&b.name))
            });
            Tier { name: name.clone(), order: shape.order, undecided: shape.undecided, policies }
        })
        .filter(|tier| !tier.policies.is_empty())
        .collect();
    tiers.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Model { tiers }
}
