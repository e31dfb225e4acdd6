//! Model and view → the linear engine's rules, subject by subject: selectors become addresses, names become ports,
//! order stays.
//!
//! As plain as it can be: every policy is tried on every subject, every selector on every pod. What is kept is what
//! a selector or a name resolved to, because subjects share rules. Its size is that of the rules times the subjects.

use super::fixed::cut_off_kind;
use crate::api::Labels;
use crate::classifier::linear::{
    Linear, LinearPort, LinearPorts, LinearRule, LinearSubject, LinearTier, Remote,
};
use crate::classifier::{LaterRules, RuleId, RuleInfo, RuleInterner, RuleKind, RuleTable, Step};
use crate::cluster::{LivePod, View};
use crate::model::{
    Action, Applies, Direction, Model, Peer, Peers, Policy, PolicyName, PortSpec, Ports, Protocol, Rule,
    RuleAction, Tier, Undecided,
};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) fn build(view: &View<'_>, model: &Model) -> (Linear, RuleTable) {
    let mut builder =
        Builder { view, interner: RuleInterner::new(), hosts: BTreeMap::new(), names: BTreeMap::new() };
    let self_traffic = builder.both(Action::Allow, &RuleKind::SelfTraffic);
    let not_isolated = builder.both(Action::Allow, &RuleKind::NotIsolated);
    let own_node = RuleInfo::direct(Action::Allow, Direction::Ingress, RuleKind::OwnNode);
    let own_node = builder.interner.direct(own_node);
    let cut_offs: Vec<[RuleId; 2]> =
        view.cut_offs.iter().map(|cut_off| builder.both(Action::Deny, &cut_off_kind(cut_off))).collect();
    let cut_off = view.owners.iter();
    let cut_off = cut_off.filter_map(|(&address, &(_, why))| Some((address, *cut_offs.get(why?)?))).collect();
    let mut subjects = Vec::new();
    for live in view.subjects.iter().filter_map(|&position| view.pods.get(position)) {
        subjects.push(LinearSubject {
            own: live.pod.pod_ips.clone(),
            cut_off: live.cut_off.and_then(|position| cut_offs.get(position)).copied(),
            own_node: builder.node(&live.pod.node_name),
            tiers: model.tiers.iter().map(|tier| builder.tier(tier, live)).collect(),
        });
    }
    let direct = builder.interner.finish();
    let later = Arc::new(LaterRules::default());
    let rules = RuleTable::with_later(direct.clone(), Arc::clone(&later));
    (Linear { subjects, cut_off, self_traffic, not_isolated, own_node, direct, later }, rules)
}

/// What a name stands for at each pod's address.
type NamedAt = Arc<BTreeMap<IpAddr, Vec<u16>>>;

struct Builder<'a, 'm> {
    view: &'a View<'a>,
    interner: RuleInterner,
    /// Addresses of the pods or nodes a peer matches.
    hosts: BTreeMap<&'m Peer, Arc<[IpAddr]>>,
    names: BTreeMap<(Protocol, &'m str), NamedAt>,
}

impl<'m> Builder<'_, 'm> {
    fn both(&mut self, action: Action, kind: &RuleKind) -> [RuleId; 2] {
        Direction::ALL
            .map(|direction| self.interner.direct(RuleInfo::direct(action, direction, kind.clone())))
    }

    fn node(&self, name: &str) -> Arc<[IpAddr]> {
        self.view.own_node.get(name).into_iter().flatten().copied().collect()
    }

    fn tier(&mut self, tier: &'m Tier, live: &LivePod<'_>) -> LinearTier {
        let selecting = || tier.policies.iter().filter(|policy| policy.subject.matches(&live.attributes()));
        let mut rules = Vec::new();
        for policy in selecting() {
            for rule in policy.rules.iter().filter(|rule| policy.applies(rule.direction) != Applies::No) {
                rules.push(self.rule(tier, policy, rule, live));
            }
        }
        let default_deny = Direction::ALL.map(|direction| {
            let isolating = selecting().filter(|policy| policy.applies(direction) == Applies::Isolating);
            let mut policies: Vec<PolicyName> = isolating.map(|policy| policy.name.clone()).collect();
            policies.dedup();
            let denies = !policies.is_empty() && tier.undecided == Undecided::Deny;
            let kind = RuleKind::DefaultDeny { tier: tier.name.clone(), policies };
            denies.then(|| self.interner.direct(RuleInfo::direct(Action::Deny, direction, kind)))
        });
        let applies = Direction::ALL
            .map(|direction| selecting().any(|policy| policy.applies(direction) != Applies::No));
        LinearTier { rules, default_deny, applies, undecided: Step::Undecided { tier: tier.name.clone() } }
    }

    fn rule(&mut self, tier: &Tier, policy: &Policy, rule: &'m Rule, live: &LivePod<'_>) -> LinearRule {
        let (name, provenance) = (policy.name.clone(), rule.provenance.clone());
        let action = if rule.action == RuleAction::Deny { Action::Deny } else { Action::Allow };
        let (step, kind) = match rule.action {
            RuleAction::Log => (Some(Step::Logged { policy: name, provenance }), None),
            RuleAction::Pass => {
                (Some(Step::Passed { tier: tier.name.clone(), policy: name, provenance }), None)
            }
            _ => (None, Some(RuleKind::of(rule.hole, name, provenance))),
        };
        let id = kind.map(|kind| self.interner.direct(RuleInfo::direct(action, rule.direction, kind)));
        let remotes = match &rule.peers {
            Peers::Any => None,
            Peers::OneOf(peers) => Some(peers.iter().map(|peer| self.remote(peer)).collect::<Vec<_>>()),
        };
        let subject_is_source = rule.direction == Direction::Egress;
        let source_end = subject_is_source.then_some(live);
        let destination_end = (!subject_is_source).then_some(live);
        LinearRule {
            direction: rule.direction,
            local: [true, false].map(|v4| rule.local.as_ref().is_none_or(|local| is_local(local, live, v4))),
            remotes,
            destinations: self.ports(&rule.ports, &rule.not_ports, destination_end),
            sources: self.ports(&rule.source_ports, &rule.not_source_ports, source_end),
            action: rule.action,
            id: id.unwrap_or(RuleId(0)),
            step,
        }
    }

    fn remote(&mut self, peer: &'m Peer) -> Remote {
        match peer {
            Peer::Addresses(block) => return Remote::Block(block.clone()),
            Peer::OwnNode => return Remote::OwnNode,
            Peer::Not(part) => return Remote::Not(Box::new(self.remote(part))),
            Peer::All(parts) => return Remote::All(parts.iter().map(|part| self.remote(part)).collect()),
            Peer::Any(parts) => return Remote::Any(parts.iter().map(|part| self.remote(part)).collect()),
            Peer::Pods(_) | Peer::Nodes(_) => {}
        }
        let view = self.view;
        let hosts = self.hosts.entry(peer).or_insert_with(|| {
            let mut hosts: Vec<IpAddr> = match peer {
                Peer::Pods(selection) => {
                    let pods = view.pods.iter().filter(|live| selection.matches(&live.attributes()));
                    pods.flat_map(|live| live.addresses.iter().copied()).collect()
                }
                Peer::Nodes(selector) => {
                    let none = Labels::new();
                    let labels = |name: &&str| view.node_labels.get(name).copied().unwrap_or(&none);
                    let nodes = view.own_node.iter().filter(|(name, _)| selector.matches(labels(name)));
                    nodes.flat_map(|(_, addresses)| addresses.iter().copied()).collect()
                }
                _ => Vec::new(),
            };
            hosts.sort_unstable();
            hosts.into()
        });
        Remote::Hosts(Arc::clone(hosts))
    }

    /// `subject`: the pod whose end it is, where that is the subject; names at the other end are looked up by address.
    fn ports(&mut self, only: &'m Ports, not: &'m [PortSpec], subject: Option<&LivePod<'_>>) -> LinearPorts {
        let only = match only {
            Ports::Any => None,
            Ports::OneOf(specs) => Some(specs.iter().flat_map(|spec| self.port(spec, subject)).collect()),
        };
        LinearPorts { only, not: not.iter().flat_map(|spec| self.port(spec, subject)).collect() }
    }

    fn port(&mut self, spec: &'m PortSpec, subject: Option<&LivePod<'_>>) -> Vec<LinearPort> {
        let (protocol, name) = match spec {
            PortSpec::Range { protocol, first, last } => {
                return vec![LinearPort::Range(protocol.number(), *first, *last)];
            }
            PortSpec::Named { protocol, name } => (*protocol, name.as_str()),
        };
        if let Some(live) = subject {
            let ports = named(live, protocol, name);
            return ports.map(|port| LinearPort::Range(protocol.number(), port, port)).collect();
        }
        let view = self.view;
        let known = self.names.entry((protocol, name)).or_insert_with(|| {
            let mut known: BTreeMap<IpAddr, Vec<u16>> = BTreeMap::new();
            for live in &view.pods {
                for &address in &live.addresses {
                    known.entry(address).or_default().extend(named(live, protocol, name));
                }
            }
            Arc::new(known)
        });
        vec![LinearPort::Named(protocol.number(), Arc::clone(known))]
    }
}

/// Whether a rule is about the subject, as far as its address of a family goes.
fn is_local(local: &Peer, live: &LivePod<'_>, v4: bool) -> bool {
    let own = live.pod.pod_ips.iter().copied().find(|address| address.is_ipv4() == v4);
    local.holds(&mut |part| match part {
        Peer::Pods(selection) => selection.matches(&live.attributes()),
        Peer::Addresses(block) => own.is_some_and(|own| block.contains(own)),
        _ => false,
    })
}

/// What a name stands for on a pod.
fn named(live: &LivePod<'_>, protocol: Protocol, name: &str) -> impl Iterator<Item = u16> {
    let ports = live.pod.named_ports.iter();
    ports.filter(move |port| port.name == name && port.protocol == protocol.number()).map(|port| port.port)
}
