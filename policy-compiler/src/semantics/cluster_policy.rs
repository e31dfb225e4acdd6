//! ClusterNetworkPolicy and its ancestors as the tiers before and after NetworkPolicy.
//!
//! Rules decide in their order; without a match nothing follows, so a policy never isolates by itself. The first rule
//! of the lowest priority wins; which of two policies with one priority does is left open by the API, here it is by
//! kind and name.
//!
//! What could not be read denies what reaches it: a rule in its place, everything of the subject (or of everyone) at
//! the start of the tier where more than a rule is unreadable, and before all tiers where the policy's own place is. A rule
//! about nodes cannot be read where a Node cannot.

use super::tiers::{ADMIN, BASELINE, UNREADABLE};
use super::{Context, Placed, UnreadNodes};
use crate::api::{
    ClusterAction, ClusterPeer, ClusterPlace, ClusterPods, ClusterPolicy, ClusterPort, ClusterRule,
    ClusterRuleBody, ClusterTier, IpBlock,
};
use crate::model::{
    Applies, Direction, Namespaces, Order, Peer, Peers, PodSelection, Policy, PortSpec, Ports, Protocol,
    Rule, RuleAction,
};

/// What the policy says.
pub(super) fn policies(policy: &ClusterPolicy, context: &Context<'_>) -> Vec<Placed> {
    let unread_nodes = context.unread_nodes;
    let sections = [(Direction::Egress, &policy.egress), (Direction::Ingress, &policy.ingress)];
    // Unknown is what was meant: both directions. Else the policy is about the directions it has rules for.
    let whole = match policy.subject {
        None => Some(&policy.spec),
        Some(_) => policy.unreadable.as_ref(),
    };
    let unreadable = |provenance| {
        let written = |rules: &[ClusterRule]| whole.is_some() || !rules.is_empty();
        let directions = sections.into_iter().filter(|(_, rules)| written(rules));
        directions.map(|(direction, _)| Rule::unreadable(direction, Clone::clone(provenance))).collect()
    };
    let (tier, order, rules): (&str, Order, Vec<Rule>) = match (policy.place, whole) {
        (None, whole) => (UNREADABLE, Order::FIRST, unreadable(whole.unwrap_or(&policy.spec))),
        (Some(place), Some(whole)) => (tier(place), Order::FIRST, unreadable(whole)),
        (Some(place), None) => {
            let rules = sections.into_iter().flat_map(|(direction, rules)| {
                rules.iter().map(move |rule| self::rule(direction, rule, unread_nodes))
            });
            (tier(place), order(place), rules.collect())
        }
    };
    let applies = |direction| {
        let has_rules = rules.iter().any(|rule| rule.direction == direction);
        if has_rules { Applies::RulesOnly } else { Applies::No }
    };
    let policy = Policy {
        name: policy.meta.key.clone(),
        order,
        subject: policy.subject.as_ref().map_or_else(PodSelection::everyone, selection),
        egress: applies(Direction::Egress),
        ingress: applies(Direction::Ingress),
        rules,
        provenance: policy.spec.clone(),
    };
    vec![Placed { tier: tier.to_owned(), policy }]
}

fn tier(place: ClusterPlace) -> &'static str {
    match place.tier {
        ClusterTier::Admin => ADMIN,
        ClusterTier::Baseline => BASELINE,
    }
}

fn order(place: ClusterPlace) -> Order {
    place.priority.map_or(Order::LAST, |priority| Order::at(f64::from(priority)))
}

fn selection(pods: &ClusterPods) -> PodSelection {
    PodSelection { namespaces: Namespaces::Matching(pods.namespaces.clone()), pods: (&pods.pods).into() }
}

fn rule(direction: Direction, rule: &ClusterRule, unread_nodes: UnreadNodes) -> Rule {
    let provenance = rule.provenance.clone();
    let Some(body) = &rule.body else { return Rule::unreadable(direction, provenance) };
    let is_uncertain =
        |peer: &ClusterPeer| matches!(peer, ClusterPeer::Nodes(selector) if unread_nodes.concern(selector));
    if body.peers.iter().any(is_uncertain) {
        return Rule::unreadable(direction, provenance);
    }
    let action = match body.action {
        ClusterAction::Accept => RuleAction::Allow,
        ClusterAction::Deny => RuleAction::Deny,
        ClusterAction::Pass => RuleAction::Pass,
    };
    // As the API asks for: with a peer of unknown kind a rule that accepts is about nobody, every other denies all.
    let peers = match (body.peers.contains(&ClusterPeer::Unknown), body.action) {
        (true, ClusterAction::Accept) => Vec::new(),
        (true, ClusterAction::Deny | ClusterAction::Pass) => return Rule::unreadable(direction, provenance),
        (false, _) => body.peers.iter().flat_map(peer).collect(),
    };
    let peers = Peers::OneOf(peers);
    Rule { peers, ports: ports(body), ..Rule::about_all(direction, action, provenance) }
}

fn peer(peer: &ClusterPeer) -> Vec<Peer> {
    match peer {
        ClusterPeer::Pods(pods) => vec![Peer::Pods(selection(pods))],
        ClusterPeer::Nodes(selector) => vec![Peer::Nodes(selector.clone())],
        ClusterPeer::Networks(networks) => {
            let block = |&cidr| Peer::Addresses(IpBlock { cidr, except: Vec::new() });
            networks.iter().map(block).collect()
        }
        // Nothing resolves names: no address is known to be one of theirs.
        ClusterPeer::DomainNames(_) | ClusterPeer::Unknown => Vec::new(),
    }
}

fn ports(body: &ClusterRuleBody) -> Ports {
    if body.ports.is_empty() {
        return Ports::Any;
    }
    let spec = |port: &ClusterPort| match port {
        &ClusterPort::Range { protocol, first, last } => {
            vec![PortSpec::Range { protocol: Protocol::new(protocol), first, last }]
        }
        ClusterPort::Named(name) => {
            let named = |protocol| PortSpec::Named { protocol, name: name.clone() };
            Protocol::WITH_PORTS.map(named).into()
        }
    };
    Ports::OneOf(body.ports.iter().flat_map(spec).collect())
}

#[cfg(test)]
mod tests;
