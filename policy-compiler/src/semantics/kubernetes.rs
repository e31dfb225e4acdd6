//! networking.k8s.io/v1 NetworkPolicy as a tier of the model.
//!
//! All policies are of equal order and only allow, so the tier is additive: an allow anywhere wins. What could
//! not be read becomes a policy of its own before all others, which denies: everything in the direction of an
//! unreadable rule, both directions where more than a rule is unreadable, and the whole namespace where it is
//! the podSelector. It never decides alone what to do about invalid objects: that is the compiler's.

use super::tiers::DEFAULT;
use super::{Placed, denying, isolating};
use crate::api::{NetworkPolicy, PolicyPeer, PolicyPort, PolicyPortNumber, PolicyRule, Selector};
use crate::model::{
    Direction, Namespaces, Order, Peer, Peers, PodSelection, Policy, PortSpec, Ports, Protocol, Rule,
    RuleAction,
};

/// Order of a NetworkPolicy inside its tier, as Calico places it.
const POLICY_ORDER: Order = Order::at(1000.0);

/// What the policy says, and before it what stands in place of what could not be read.
pub(super) fn policies(policy: &NetworkPolicy) -> Vec<Placed> {
    let policies = unreadable(policy).into_iter().chain([readable(policy)]);
    policies.map(|policy| Placed { tier: DEFAULT.to_owned(), policy }).collect()
}

fn subject(policy: &NetworkPolicy, pods: &Selector) -> PodSelection {
    let namespaces = Namespaces::Named(policy.meta.key.namespace.clone());
    PodSelection { namespaces, pods: pods.into() }
}

/// What the policy says, as far as it could be read.
fn readable(policy: &NetworkPolicy) -> Policy {
    let mut rules = Vec::new();
    for (direction, applies, written) in sections(policy) {
        if applies {
            rules.extend(written.iter().filter_map(|rule| self::rule(policy, direction, rule)));
        }
    }
    Policy {
        name: policy.meta.key.clone(),
        order: POLICY_ORDER,
        subject: subject(policy, &policy.pod_selector.clone().unwrap_or_default()),
        egress: isolating(policy.applies_egress),
        ingress: isolating(policy.applies_ingress),
        rules,
        provenance: policy.spec.clone(),
    }
}

/// Both directions: whether the policy applies, and its rules. A section whose direction the policy does not
/// name is ignored.
fn sections(policy: &NetworkPolicy) -> [(Direction, bool, &[PolicyRule]); 2] {
    [
        (Direction::Egress, policy.applies_egress, &policy.egress),
        (Direction::Ingress, policy.applies_ingress, &policy.ingress),
    ]
}

/// What stands in place of what could not be read.
fn unreadable(policy: &NetworkPolicy) -> Option<Policy> {
    let mut rules = Vec::new();
    let whole = match &policy.pod_selector {
        None => Some(&policy.spec),
        Some(_) => policy.unreadable.as_ref(),
    };
    if let Some(provenance) = whole {
        rules.extend(Direction::ALL.map(|direction| Rule::unreadable(direction, provenance.clone())));
    }
    for (direction, applies, written) in sections(policy) {
        if applies {
            let holes = written.iter().filter(|rule| rule.body.is_none());
            rules.extend(holes.map(|rule| Rule::unreadable(direction, rule.provenance.clone())));
        }
    }
    let subject = subject(policy, &policy.pod_selector.clone().unwrap_or_default());
    (!rules.is_empty()).then(|| denying(&policy.meta.key, subject, rules, &policy.spec))
}

fn rule(policy: &NetworkPolicy, direction: Direction, rule: &PolicyRule) -> Option<Rule> {
    let body = rule.body.as_ref()?;
    // Missing, null and empty lists all mean "any".
    let peers = match &body.peers[..] {
        [] => Peers::Any,
        peers => Peers::OneOf(peers.iter().map(|peer| self::peer(policy, peer)).collect()),
    };
    let ports = match &body.ports[..] {
        [] => Ports::Any,
        ports => Ports::OneOf(ports.iter().map(port).collect()),
    };
    Some(Rule { peers, ports, ..Rule::about_all(direction, RuleAction::Allow, rule.provenance.clone()) })
}

/// A peer as the model has it.
pub(crate) fn peer(policy: &NetworkPolicy, peer: &PolicyPeer) -> Peer {
    match peer {
        PolicyPeer::IpBlock(block) => Peer::Addresses(block.clone()),
        PolicyPeer::Selectors { pods, namespaces } => Peer::Pods(PodSelection {
            namespaces: match namespaces {
                Some(selector) => Namespaces::Matching(selector.clone()),
                None => Namespaces::Named(policy.meta.key.namespace.clone()),
            },
            pods: pods.as_ref().map(Into::into).unwrap_or_default(),
        }),
    }
}

fn port(port: &PolicyPort) -> PortSpec {
    let protocol = Protocol::new(port.protocol);
    match &port.port {
        PolicyPortNumber::All => PortSpec::all(protocol),
        &PolicyPortNumber::Range(first, last) => PortSpec::Range { protocol, first, last },
        PolicyPortNumber::Named(name) => PortSpec::Named { protocol, name: name.clone() },
    }
}
