//! What stands in place of policies that do not fit: it denies everything to whom they are about, and costs next to
//! nothing.
//!
//! A sound object may ask for tables or work far beyond its size; which ones are isolated for that is the compiler's to
//! find out (`compiler::fit`). Each policy of theirs becomes one that stands first in its tier and denies everything in the
//! directions it applied to: more is closed than the policy would close, never less. Whom it is about stays as written,
//! unless that is dear to tell itself: where all that is isolated in one tier and namespace takes more than
//! [`MAX_TESTS`] together, one policy denies the whole namespace (everybody, of policies that are in none).

use super::{Context, Placed, denying, policies};
use crate::api::Object;
use crate::model::{Applies, Direction, Hole, Namespaces, Peer, PodSelection, Policy, Ports, Rule};
use std::collections::BTreeMap;

/// What the subjects of all stand-ins of one tier and namespace may compare, together.
const MAX_TESTS: usize = 256;

/// The policies that stand in place of those of these objects.
pub(super) fn stand_ins<'o>(
    objects: impl Iterator<Item = &'o Object>,
    context: &Context<'_>,
) -> impl Iterator<Item = Placed> {
    let mut groups: BTreeMap<(String, String), Vec<Policy>> = BTreeMap::new();
    for object in objects {
        for Placed { tier, policy } in policies(object, context) {
            let Some(stand_in) = stand_in(&policy, policy.subject.clone()) else { continue };
            let group = groups.entry((tier, object.key().namespace.clone())).or_default();
            if group.last() != Some(&stand_in) {
                group.push(stand_in);
            }
        }
    }
    groups.into_iter().flat_map(|((tier, _), group)| {
        let tests = group.iter().fold(0_usize, |sum, one| sum.saturating_add(one.subject.tests()));
        let group = if tests > MAX_TESTS { joined(&group).into_iter().collect() } else { group };
        group.into_iter().map(move |policy| Placed { tier: tier.clone(), policy })
    })
}

/// What denies in the directions a policy applies to.
fn stand_in(policy: &Policy, subject: PodSelection) -> Option<Policy> {
    let applies = Direction::ALL.into_iter().filter(|&direction| policy.applies(direction) != Applies::No);
    let rules: Vec<Rule> =
        applies.map(|direction| Rule::hole(direction, Hole::TooLarge, policy.provenance.clone())).collect();
    (!rules.is_empty()).then(|| denying(&policy.name, subject, rules, &policy.provenance))
}

/// One stand-in for all, about the whole of the namespace that all of them are about, or everybody. It bears the name
/// of the first.
fn joined(group: &[Policy]) -> Option<Policy> {
    let mut first = group.first()?.clone();
    for other in group {
        if other.egress != Applies::No {
            first.egress = other.egress;
        }
        if other.ingress != Applies::No {
            first.ingress = other.ingress;
        }
    }
    let mut subject = PodSelection::everyone();
    let of_one = |namespaces: &Namespaces| {
        matches!(namespaces, Namespaces::Named(_)) && *namespaces == first.subject.namespaces
    };
    if group.iter().all(|one| of_one(&one.subject.namespaces)) {
        subject.namespaces.clone_from(&first.subject.namespaces);
    }
    stand_in(&first, subject)
}

/// How much an object says: rules, and what they compare. What grows beyond reason in tables grows with products of it.
pub fn weight(object: &Object, context: &Context<'_>) -> usize {
    let placed = policies(object, context);
    let rules = placed.iter().flat_map(|placed| &placed.policy.rules).map(weight_of_rule);
    let subjects = placed.iter().map(|placed| placed.policy.subject.tests());
    rules.chain(subjects).fold(0, usize::saturating_add)
}

fn weight_of_rule(rule: &Rule) -> usize {
    let peers = rule.local.iter().chain(rule.peers.listed()).flat_map(Peer::atoms);
    let listed = |ports: &Ports| match ports {
        Ports::Any => 0,
        Ports::OneOf(ports) => ports.len(),
    };
    let ports = listed(&rule.ports) + listed(&rule.source_ports);
    let ports = ports + rule.not_ports.len() + rule.not_source_ports.len();
    peers.map(Peer::tests).fold(1 + ports, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::{Context, Placed, stand_ins, weight};
    use crate::api::{Object, parse};
    use crate::model::{Applies, Hole, Namespaces, Order, PodSelection};

    const HEAD: &str = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n";
    const EVERYWHERE: &str = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: g}\n\
                              spec: {types: [Egress], egress: [{action: Log}, {action: Allow}], selector: ";

    fn objects(text: &str) -> Vec<Object> {
        let parsed = parse("f.yaml", text);
        assert!(parsed.diagnostics.iter().all(|one| !one.is_error()), "{:?}", parsed.diagnostics);
        parsed.objects
    }

    fn policy(name: &str, spec: &str) -> String {
        format!("---\n{HEAD}metadata: {{name: {name}, namespace: x}}\nspec: {{{spec}}}\n")
    }

    /// As many selectors as asked for: `app` in so many values.
    fn selector(values: usize) -> String {
        let values: Vec<String> = (0..values).map(|value| format!("v{value}")).collect();
        format!(
            "podSelector: {{matchExpressions: [{{key: app, operator: In, values: [{}]}}]}}",
            values.join(", ")
        )
    }

    fn placed(text: &str) -> Vec<Placed> {
        let objects = objects(text);
        let context = Context::new(objects.iter(), false);
        stand_ins(objects.iter(), &context).collect()
    }

    #[test]
    fn each_denies_first_in_its_tier_where_it_applied() {
        let text =
            policy("a", "podSelector: {matchLabels: {app: a}}, policyTypes: [Egress], egress: [{}, {}]");
        let all = placed(&text);
        let [Placed { tier, policy }] = &all[..] else { panic!("{all:?}") };
        assert_eq!((tier.as_str(), policy.order), ("default", Order::FIRST));
        assert_eq!((policy.egress, policy.ingress), (Applies::Isolating, Applies::No));
        assert_eq!(policy.rules.iter().map(|rule| rule.hole).collect::<Vec<_>>(), [Some(Hole::TooLarge)]);
        assert!(!policy.subject.pods.is_everything());
    }

    #[test]
    fn subjects_that_are_dear_to_tell_become_their_namespace_in_all_directions_of_any_of_them() {
        let one = format!("{}, policyTypes: [Egress]", selector(100));
        let (a, b, c) = (policy("a", &one), policy("b", &one), policy("c", &selector(100)));
        assert_eq!(placed(&[a.as_str(), &b].concat()).len(), 2);
        let all = placed(&[a, b, c].concat());
        let [Placed { policy, .. }] = &all[..] else { panic!("{all:?}") };
        assert_eq!(policy.subject.namespaces, Namespaces::Named("x".to_owned()));
        assert!(policy.subject.pods.is_everything());
        assert_eq!(
            (policy.egress, policy.ingress, policy.rules.len()),
            (Applies::Isolating, Applies::Isolating, 2)
        );
    }

    #[test]
    fn subjects_of_no_namespace_that_are_dear_to_tell_become_everybody() {
        let values: Vec<String> = (0..300).map(|value| format!("'v{value}'")).collect();
        let narrow = placed(&format!("{EVERYWHERE}\"app == 'a'\"}}"));
        assert!(narrow.iter().all(|placed| placed.policy.subject != PodSelection::everyone()));
        let wide = placed(&format!("{EVERYWHERE}\"app in {{{}}}\"}}", values.join(", ")));
        let [Placed { policy, .. }] = &wide[..] else { panic!("{wide:?}") };
        assert_eq!(policy.subject, PodSelection::everyone());
        assert_eq!((policy.egress, policy.ingress), (Applies::Isolating, Applies::No));
    }

    #[test]
    fn who_says_more_weighs_more() {
        let weights: Vec<usize> = [
            "podSelector: {}",
            "podSelector: {}, ingress: [{}]",
            "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}]}]",
            "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}}]}]",
            "podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}}], ports: [{port: 1}]}]",
        ]
        .iter()
        .flat_map(|spec| objects(&policy("a", spec)))
        .map(|object| weight(&object, &Context::default()))
        .collect();
        assert_eq!(weights.len(), 5);
        assert!(weights.is_sorted_by(|less, more| less < more), "{weights:?}");
    }
}
