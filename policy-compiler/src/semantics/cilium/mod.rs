//! Cilium's policies as policies of the model.
//!
//! Per spec, in tier `default`:
//!
//! | order | what | applies |
//! | --- | --- | --- |
//! | first | what stands in place of what could not be read: it denies | isolating |
//! | 0 | `ingressDeny`, `egressDeny`: before every allow, NetworkPolicy's included | rules only |
//! | 1000 | `ingress`, `egress`: beside NetworkPolicy's, any allow wins | isolating, unless `enableDefaultDeny` says no |
//! | last | where `enableDefaultDeny` says no: what rules of another layer restrict | rules only |
//!
//! The last line is there because a spec that does not isolate still restricts what it has HTTP or DNS rules for; to leave
//! those out would open it. Elsewhere the default deny says the same.

mod peers;
mod problems;

pub(super) use peers::is_control_plane;
pub(super) use problems::problems;

use self::peers::{Reading, peers};
use super::tiers::{DEFAULT, UNREADABLE};
use super::{Context, Placed, denying, mixture};
use crate::api::{CiliumPolicy, CiliumPort, CiliumPortRule, CiliumRule, CiliumSpec, CiliumSubject};
use crate::model::{
    Applies, Direction, Expression, Namespaces, Order, PodSelection, Policy, PortSpec, Ports, Protocol, Rule,
    RuleAction,
};

const DENIES: Order = Order::at(0.0);
/// That of NetworkPolicies, with which Cilium's allows form a union.
const ALLOWS: Order = Order::at(1000.0);

/// What the policy says, and before it what stands in place of what could not be read.
pub(super) fn policies(policy: &CiliumPolicy, context: &Context<'_>) -> Vec<Placed> {
    let mut placed = Vec::new();
    if let Some(provenance) = &policy.unreadable {
        let rules = Direction::ALL.map(|direction| Rule::unreadable(direction, provenance.clone()));
        placed.push(denying(&policy.meta.key, everyone(policy), rules.into(), provenance));
    }
    if mixture::refuses(context) {
        // Before every tier: Calico's may allow what is denied here.
        let closed = policy.specs.iter().filter_map(|spec| closed(policy, spec)).chain(placed);
        return closed.map(|policy| Placed { tier: UNREADABLE.to_owned(), policy }).collect();
    }
    for spec in &policy.specs {
        placed.extend(of_spec(policy, spec, context));
    }
    placed.into_iter().map(|policy| Placed { tier: DEFAULT.to_owned(), policy }).collect()
}

/// Denies everything of whom a spec is about.
fn closed(policy: &CiliumPolicy, spec: &CiliumSpec) -> Option<Policy> {
    let subject = match &spec.subject {
        CiliumSubject::Nodes => return None,
        CiliumSubject::Unreadable => everyone(policy),
        CiliumSubject::Pods(selector) => {
            PodSelection { pods: peers::expression(selector), ..everyone(policy) }
        }
    };
    let rules = Direction::ALL.map(|direction| Rule::unreadable(direction, spec.provenance.clone()));
    Some(denying(&policy.meta.key, subject, rules.into(), &spec.provenance))
}

fn of_spec(policy: &CiliumPolicy, spec: &CiliumSpec, context: &Context<'_>) -> Vec<Policy> {
    let (subject, whole) = match &spec.subject {
        // About no pod; that it is refused has been reported.
        CiliumSubject::Nodes => return Vec::new(),
        CiliumSubject::Unreadable => (everyone(policy), Some(&spec.provenance)),
        CiliumSubject::Pods(selector) => {
            let subject = PodSelection { pods: peers::expression(selector), ..everyone(policy) };
            (subject, spec.unreadable.as_ref())
        }
    };
    let mut policies = Vec::new();
    let mut holes: Vec<Rule> = Vec::new();
    if let Some(provenance) = whole {
        holes.extend(Direction::ALL.map(|direction| Rule::unreadable(direction, provenance.clone())));
    }
    for section in sections(spec) {
        let unread = section.rules.iter().filter(|rule| rule.body.is_none());
        holes.extend(unread.map(|rule| Rule::unreadable(section.direction, rule.provenance.clone())));
    }
    if !holes.is_empty() {
        policies.push(denying(&policy.meta.key, subject.clone(), holes, &spec.provenance));
    }
    let mut rest = Rest { denies: Vec::new(), allows: Vec::new(), restricts: Vec::new() };
    for section in sections(spec) {
        let isolates = spec.isolates(section.direction);
        for rule in section.rules {
            rest.take(rule, &section, isolates, policy, context);
        }
    }
    let make = |order, rules: Vec<Rule>, isolating: bool| {
        let applies = |direction| {
            if isolating && spec.isolates(direction) {
                Applies::Isolating
            } else if rules.iter().any(|rule| rule.direction == direction) {
                Applies::RulesOnly
            } else {
                Applies::No
            }
        };
        let (egress, ingress) = (applies(Direction::Egress), applies(Direction::Ingress));
        let name = policy.meta.key.clone();
        Policy {
            name,
            order,
            subject: subject.clone(),
            egress,
            ingress,
            rules,
            provenance: spec.provenance.clone(),
        }
    };
    let made = [
        make(DENIES, rest.denies, false),
        make(ALLOWS, rest.allows, true),
        make(Order::LAST, rest.restricts, false),
    ];
    policies
        .extend(made.into_iter().filter(|made| made.egress != Applies::No || made.ingress != Applies::No));
    policies
}

/// The rules of a spec by the policy of the model they become part of.
struct Rest {
    denies: Vec<Rule>,
    allows: Vec<Rule>,
    restricts: Vec<Rule>,
}

impl Rest {
    fn take(
        &mut self,
        rule: &CiliumRule,
        section: &Section<'_>,
        isolates: bool,
        policy: &CiliumPolicy,
        context: &Context<'_>,
    ) {
        let Some(body) = &rule.body else { return };
        let make = |reading, action, of_another_layer| Rule {
            peers: peers(body, reading, policy, context),
            ports: ports(body.ports.as_deref(), of_another_layer),
            ..Rule::about_all(section.direction, action, rule.provenance.clone())
        };
        if section.deny {
            self.denies.push(make(Reading::Deny, RuleAction::Deny, false));
            return;
        }
        self.allows.push(make(Reading::Allow, RuleAction::Allow, false));
        let restricted = body.ports.iter().flatten().any(|ports| ports.l7.is_some());
        if restricted && !isolates {
            self.restricts.push(make(Reading::Deny, RuleAction::Deny, true));
        }
    }
}

struct Section<'s> {
    direction: Direction,
    deny: bool,
    rules: &'s [CiliumRule],
}

fn sections(spec: &CiliumSpec) -> [Section<'_>; 4] {
    let section = |direction, deny, rules| Section { direction, deny, rules };
    [
        section(Direction::Egress, true, &spec.egress_deny),
        section(Direction::Ingress, true, &spec.ingress_deny),
        section(Direction::Egress, false, &spec.egress),
        section(Direction::Ingress, false, &spec.ingress),
    ]
}

impl CiliumSpec {
    fn isolates(&self, direction: Direction) -> bool {
        match direction {
            Direction::Egress => self.isolates_egress,
            Direction::Ingress => self.isolates_ingress,
        }
    }
}

/// Every pod in reach of the policy.
fn everyone(policy: &CiliumPolicy) -> PodSelection {
    let namespaces = match policy.namespace() {
        Some(namespace) => Namespaces::Named(namespace.to_owned()),
        None => Namespaces::any(),
    };
    PodSelection { namespaces, pods: Expression::EVERYTHING }
}

/// The ports that need no other layer, or those that do.
fn ports(rules: Option<&[CiliumPortRule]>, of_another_layer: bool) -> Ports {
    let Some(rules) = rules else { return Ports::Any };
    let wanted = rules.iter().filter(|rule| rule.l7.is_some() == of_another_layer);
    Ports::OneOf(wanted.flat_map(|rule| &rule.ports).flat_map(specs).collect())
}

fn specs(port: &CiliumPort) -> Vec<PortSpec> {
    let protocols = |protocol: Option<u8>| match protocol {
        Some(number) => vec![Protocol::new(number)],
        None => Protocol::WITH_PORTS.to_vec(),
    };
    match port {
        &CiliumPort::Range { protocol, first, last } => protocols(protocol)
            .into_iter()
            .map(|protocol| PortSpec::Range { protocol, first, last })
            .collect(),
        CiliumPort::Named { protocol, name } => protocols(*protocol)
            .into_iter()
            .map(|protocol| PortSpec::Named { protocol, name: name.clone() })
            .collect(),
        &CiliumPort::Icmp { protocol, kind } => vec![PortSpec::icmp(Protocol::new(protocol), kind, None)],
        &CiliumPort::Protocol(number) => vec![PortSpec::all(Protocol::new(number))],
    }
}

#[cfg(test)]
mod tests;
