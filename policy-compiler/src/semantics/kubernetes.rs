//! networking.k8s.io/v1 NetworkPolicy as a tier of the model.
//!
//! All policies are of equal order and only allow, so the tier is additive: an allow anywhere wins. What could
//! not be read becomes a policy of its own before all others, which denies: everything in the direction of an
//! unreadable rule, both directions where more than a rule is unreadable, and the whole namespace where it is
//! the podSelector. It never decides alone what to do about invalid objects: that is the compiler's.

use crate::api::{NetworkPolicy, PolicyPeer, PolicyPort, PolicyPortNumber, PolicyRule, Provenance, Selector};
use crate::model::{
    Direction, Model, Namespaces, Peer, Peers, PodSelection, Policy, PolicyKind, PolicyName, PortSpec, Ports,
    Protocol, Rule, RuleAction, Tier, Undecided,
};

/// Name of the tier.
pub const TIER: &str = "default";
/// Its order among tiers, as Calico places it.
const TIER_ORDER: u32 = 1_000_000;
/// Order of a NetworkPolicy inside its tier, as Calico places it.
const POLICY_ORDER: i64 = 1000;
/// Before everything else of the tier.
const UNREADABLE_ORDER: i64 = i64::MIN;

/// The model of a cluster whose policies are these. Their order does not matter.
pub fn model<'o>(policies: impl Iterator<Item = &'o NetworkPolicy>) -> Model {
    let mut tier =
        Tier { name: TIER.to_owned(), order: TIER_ORDER, undecided: Undecided::Deny, policies: Vec::new() };
    for policy in policies {
        tier.policies.extend(unreadable(policy));
        tier.policies.push(readable(policy));
    }
    tier.policies.sort_by(|a, b| (a.order, &a.name).cmp(&(b.order, &b.name)));
    Model { tiers: vec![tier] }
}

fn name(policy: &NetworkPolicy) -> PolicyName {
    PolicyName {
        kind: PolicyKind::NetworkPolicy,
        namespace: policy.meta.key.namespace.clone(),
        name: policy.meta.key.name.clone(),
    }
}

fn subject(policy: &NetworkPolicy, pods: Selector) -> PodSelection {
    PodSelection { namespaces: Namespaces::Named(policy.meta.key.namespace.clone()), pods }
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
        name: name(policy),
        order: POLICY_ORDER,
        subject: subject(policy, policy.pod_selector.clone().unwrap_or_default()),
        egress: policy.applies_egress,
        ingress: policy.applies_ingress,
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
        rules.extend(Direction::ALL.map(|direction| denial(direction, provenance)));
    }
    for (direction, applies, written) in sections(policy) {
        if applies {
            let holes = written.iter().filter(|rule| rule.body.is_none());
            rules.extend(holes.map(|rule| denial(direction, &rule.provenance)));
        }
    }
    if rules.is_empty() {
        return None;
    }
    Some(Policy {
        name: name(policy),
        order: UNREADABLE_ORDER,
        subject: subject(policy, policy.pod_selector.clone().unwrap_or_default()),
        egress: rules.iter().any(|rule| rule.direction == Direction::Egress),
        ingress: rules.iter().any(|rule| rule.direction == Direction::Ingress),
        rules,
        provenance: policy.spec.clone(),
    })
}

fn denial(direction: Direction, provenance: &Provenance) -> Rule {
    Rule {
        direction,
        peers: Peers::Any,
        ports: Ports::Any,
        action: RuleAction::Deny,
        unreadable: true,
        provenance: provenance.clone(),
    }
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
        ports => Ports::OneOf(ports.iter().filter_map(port).collect()),
    };
    let provenance = rule.provenance.clone();
    Some(Rule { direction, peers, ports, action: RuleAction::Allow, unreadable: false, provenance })
}

/// A peer as the model has it.
pub(crate) fn peer(policy: &NetworkPolicy, peer: &PolicyPeer) -> Peer {
    match peer {
        PolicyPeer::IpBlock(block) => Peer::Addresses(block.clone()),
        PolicyPeer::Selectors { pods, namespaces } => Peer::Pods {
            namespaces: match namespaces {
                Some(selector) => Namespaces::Matching(selector.clone()),
                None => Namespaces::Named(policy.meta.key.namespace.clone()),
            },
            pods: pods.clone().unwrap_or_default(),
        },
    }
}

fn port(port: &PolicyPort) -> Option<PortSpec> {
    let protocol = Protocol::from_number(port.protocol)?;
    Some(match &port.port {
        PolicyPortNumber::All => PortSpec::Range { protocol, first: 0, last: u16::MAX },
        &PolicyPortNumber::Range(first, last) => PortSpec::Range { protocol, first, last },
        PolicyPortNumber::Named(name) => PortSpec::Named { protocol, name: name.clone() },
    })
}
