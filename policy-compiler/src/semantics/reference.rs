//! The oracle: judges one connection by walking objects and model, as obviously as possible.
//!
//! It shares no code with lowering or with any engine beyond the model and the selectors themselves: it looks
//! at every pod to find an address's owner and at every rule of every policy. Cost per probe: all pods plus
//! all rules. Used by tests, which hold every engine to it, never by the packet path.

use crate::api::{Labels, NAME_LABEL, Object, Pod, Provenance};
use crate::classifier::{Key, RuleInfo, RuleKind, Step};
use crate::cluster::{Cluster, Misplacement, PodName};
use crate::model::{
    Action, Applies, Attributes, Direction, Model, Peer, Policy, PolicyName, PortSpec, Ports, Rule,
    RuleAction, Undecided,
};
use std::net::IpAddr;

/// Judges connections by the book.
#[derive(Debug)]
pub struct Reference<'o> {
    objects: Vec<&'o Object>,
    model: Model,
    cluster: &'o Cluster,
    /// The node of the scope, if it is one node's.
    scope: Option<String>,
    /// Addresses that count as that node's, beside what its Node says.
    node_addresses: Vec<IpAddr>,
}

impl<'o> Reference<'o> {
    /// An evaluator of these objects. Subjects are those of `cluster`; `scope` is the node they run on, if they are
    /// one node's, with further addresses of it.
    pub fn new(
        objects: impl Iterator<Item = &'o Object>,
        model: Model,
        cluster: &'o Cluster,
        scope: Option<(&str, &[IpAddr])>,
    ) -> Self {
        let (scope, node_addresses) = match scope {
            Some((node, addresses)) => (Some(node.to_owned()), addresses.to_vec()),
            None => (None, Vec::new()),
        };
        Self { objects: objects.collect(), model, cluster, scope, node_addresses }
    }

    /// What becomes of the connection, and why.
    pub fn judge(&self, key: &Key) -> RuleInfo {
        let direct = |action, kind| RuleInfo::direct(action, key.direction, kind);
        let subject = self.cluster.subjects.get(key.subject.0 as usize);
        let subject = subject.and_then(|subject| self.live_pods().find(|pod| name_of(pod) == subject.name));
        let Some(subject) = subject else {
            return RuleInfo::direct(Action::Deny, Direction::Ingress, RuleKind::UnknownSubject);
        };
        let remote = key.remote();
        if let Some(kind) = self.cut_off(subject) {
            return direct(Action::Deny, kind);
        }
        if subject.pod_ips.contains(&remote) {
            return direct(Action::Allow, RuleKind::SelfTraffic);
        }
        let owners: Vec<&Pod> = self.claimants(remote).collect();
        if owners.len() > 1 {
            let pods = owners.iter().map(|pod| name_of(pod)).collect();
            return direct(Action::Deny, RuleKind::IpConflict { address: remote, pods });
        }
        let owner = owners.first().copied();
        if let Some(kind) = owner.and_then(|owner| self.cut_off(owner)) {
            return direct(Action::Deny, kind);
        }
        if key.direction == Direction::Ingress && owner.is_none() && self.is_node(&subject.node_name, remote)
        {
            return direct(Action::Allow, RuleKind::OwnNode);
        }
        self.walk(key, subject, remote, owner)
    }

    fn walk(&self, key: &Key, subject: &Pod, remote: IpAddr, owner: Option<&Pod>) -> RuleInfo {
        let direction = key.direction;
        let mut via = Vec::new();
        'tiers: for tier in &self.model.tiers {
            let applicable: Vec<&Policy> = tier
                .policies
                .iter()
                .filter(|policy| policy.applies(direction) != Applies::No && self.selects(policy, subject))
                .collect();
            for policy in &applicable {
                for rule in policy.rules.iter().filter(|rule| rule.direction == direction) {
                    if !self.matches(rule, key, subject, remote, owner) {
                        continue;
                    }
                    let provenance = rule.provenance.clone();
                    let policy = policy.name.clone();
                    let action = match rule.action {
                        RuleAction::Allow => Action::Allow,
                        RuleAction::Deny => Action::Deny,
                        RuleAction::Log => {
                            via.push(Step::Logged { policy, provenance });
                            continue;
                        }
                        RuleAction::Pass => {
                            via.push(Step::Passed { tier: tier.name.clone(), policy, provenance });
                            continue 'tiers;
                        }
                    };
                    let kind = RuleKind::of(rule.hole, policy, provenance);
                    return RuleInfo { action, direction, kind, via };
                }
            }
            let isolating =
                applicable.iter().filter(|policy| policy.applies(direction) == Applies::Isolating);
            let mut policies: Vec<PolicyName> = isolating.map(|policy| policy.name.clone()).collect();
            policies.dedup();
            if !policies.is_empty() && tier.undecided == Undecided::Deny {
                let kind = RuleKind::DefaultDeny { tier: tier.name.clone(), policies };
                return RuleInfo { action: Action::Deny, direction, kind, via };
            }
            if !applicable.is_empty() {
                via.push(Step::Undecided { tier: tier.name.clone() });
            }
        }
        RuleInfo { action: Action::Allow, direction, kind: RuleKind::NotIsolated, via }
    }

    fn matches(&self, rule: &Rule, key: &Key, subject: &Pod, remote: IpAddr, owner: Option<&Pod>) -> bool {
        let local = subject.pod_ips.iter().copied().find(|address| address.is_ipv4() == remote.is_ipv4());
        let is_subject = |part: &Peer| match part {
            Peer::Pods(selection) => self.with_attributes(subject, |pod| selection.matches(pod)),
            Peer::Addresses(block) => local.is_some_and(|address| block.contains(address)),
            _ => false,
        };
        let is_remote = |part: &Peer| match part {
            Peer::Pods(selection) => {
                owner.is_some_and(|owner| self.with_attributes(owner, |pod| selection.matches(pod)))
            }
            Peer::Addresses(block) => block.contains(remote),
            Peer::Nodes(selector) => {
                owner.is_none()
                    && self
                        .node_names()
                        .any(|name| self.is_node(name, remote) && selector.matches(&self.node_labels(name)))
            }
            Peer::OwnNode => owner.is_none() && self.is_node(&subject.node_name, remote),
            Peer::Not(_) | Peer::All(_) | Peer::Any(_) => false,
        };
        let (source, destination) = match key.direction {
            Direction::Egress => (Some(subject), owner),
            Direction::Ingress => (owner, Some(subject)),
        };
        // A name stands for what the pod at that end calls so.
        let covers = |spec: &PortSpec, port: u16, pod: Option<&Pod>| {
            spec.covers(key.protocol, port, |name| {
                let named = pod.map(|pod| &pod.named_ports[..]).unwrap_or_default();
                named
                    .iter()
                    .any(|known| known.name == name && known.protocol == key.protocol && known.port == port)
            })
        };
        let is_destination = |spec: &PortSpec| covers(spec, key.dst_port, destination);
        let is_source = |spec: &PortSpec| covers(spec, key.src_port, source);
        let listed = |ports: &Ports, matches: &dyn Fn(&PortSpec) -> bool| match ports {
            Ports::Any => true,
            Ports::OneOf(specs) => specs.iter().any(matches),
        };
        rule.local.as_ref().is_none_or(|local| local.holds(&mut { is_subject }))
            && rule.peers.hold(&mut { is_remote })
            && listed(&rule.ports, &is_destination)
            && !rule.not_ports.iter().any(is_destination)
            && listed(&rule.source_ports, &is_source)
            && !rule.not_source_ports.iter().any(is_source)
    }

    fn selects(&self, policy: &Policy, subject: &Pod) -> bool {
        self.with_attributes(subject, |pod| policy.subject.matches(pod))
    }

    fn with_attributes<T>(&self, pod: &Pod, ask: impl FnOnce(&Attributes<'_>) -> T) -> T {
        let namespace = &pod.meta.key.namespace;
        let account = self.objects.iter().find_map(|object| match object {
            Object::ServiceAccount(account)
                if account.meta.key.namespace == *namespace
                    && account.meta.key.name == pod.service_account =>
            {
                Some(account.meta.labels.clone())
            }
            _ => None,
        });
        ask(&Attributes {
            namespace,
            namespace_labels: &self.namespace_labels(namespace),
            labels: &pod.meta.labels,
            service_account: &pod.service_account,
            service_account_labels: &account.unwrap_or_default(),
        })
    }

    /// Every node that an object mentions, and that of the scope.
    fn node_names(&self) -> impl Iterator<Item = &str> {
        let mentioned = self.objects.iter().filter_map(|object| match object {
            Object::Node(node) => Some(node.meta.key.name.as_str()),
            Object::Pod(pod) if !pod.node_name.is_empty() => Some(pod.node_name.as_str()),
            _ => None,
        });
        mentioned.chain(self.scope.as_deref())
    }

    fn node_labels(&self, name: &str) -> Labels {
        let found = self.objects.iter().find_map(|object| match object {
            Object::Node(node) if node.meta.key.name == name => Some(node.meta.labels.clone()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    fn live_pods(&self) -> impl Iterator<Item = &'o Pod> {
        self.objects.iter().filter_map(|object| match object {
            Object::Pod(pod) if pod.is_endpoint() && !pod.pod_ips.is_empty() => Some(pod),
            _ => None,
        })
    }

    /// Why the pod is denied everything, if it is: unreadable itself, in an unreadable namespace, with
    /// an address it cannot have, or one of several that show an address.
    fn cut_off(&self, pod: &Pod) -> Option<RuleKind> {
        let around = self.objects.iter().filter_map(|object| match object {
            Object::Namespace(namespace) => {
                (namespace.meta.key.name == pod.meta.key.namespace).then_some(&namespace.meta)
            }
            Object::ServiceAccount(account) => (account.meta.key.namespace == pod.meta.key.namespace
                && account.meta.key.name == pod.service_account)
                .then_some(&account.meta),
            _ => None,
        });
        for meta in std::iter::once(&pod.meta).chain(around) {
            if let Some(error) = meta.diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
                let provenance = Provenance { origin: error.origin.clone(), field: error.field.clone() };
                return Some(RuleKind::UnreadableObject { object: meta.key.clone(), provenance });
            }
        }
        let mut addresses = pod.pod_ips.clone();
        addresses.sort();
        let misplaced = addresses.iter().find_map(|&address| Some((address, self.misplaced(pod, address)?)));
        if let Some((address, reason)) = misplaced {
            let (pod, node) = (name_of(pod), pod.node_name.clone());
            return Some(RuleKind::Misplaced { pod, node, address, reason });
        }
        addresses.into_iter().find_map(|address| {
            let pods: Vec<PodName> = self.claimants(address).map(name_of).collect();
            (pods.len() > 1).then_some(RuleKind::IpConflict { address, pods })
        })
    }

    /// Why no pod of the pod's node can have the address.
    fn misplaced(&self, pod: &Pod, address: IpAddr) -> Option<Misplacement> {
        let nodes = || {
            self.objects.iter().filter_map(|object| match object {
                Object::Node(node) => Some(node),
                _ => None,
            })
        };
        let of_a_node = self.node_addresses.contains(&address)
            || nodes().any(|node| {
                let mut cidrs = node.pod_cidrs.iter();
                node.addresses.contains(&address)
                    || node.flannel.public_ip.is_some_and(|public| IpAddr::V4(public) == address)
                    || node.flannel.public_ipv6.is_some_and(|public| IpAddr::V6(public) == address)
                    || cidrs
                        .any(|cidr| cidr.contains(&address) && is_first_or_second(cidr.network(), address))
            });
        if of_a_node {
            return Some(Misplacement::OfANode);
        }
        let own = nodes().filter(|node| {
            node.meta.key.name == pod.node_name && (self.scope.is_some() || node.flannel.is_there())
        });
        let mut cidrs = own
            .flat_map(|node| &node.pod_cidrs)
            .filter(|cidr| cidr.addr().is_ipv4() == address.is_ipv4())
            .peekable();
        cidrs.peek()?;
        (!cidrs.any(|cidr| cidr.contains(&address))).then_some(Misplacement::OutsidePodCidrs)
    }

    /// The live pods that show the address and can have it.
    fn claimants(&self, address: IpAddr) -> impl Iterator<Item = &'o Pod> {
        let claims =
            move |pod: &&Pod| pod.pod_ips.contains(&address) && self.misplaced(pod, address).is_none();
        self.live_pods().filter(claims)
    }

    /// Whether the address is one of the node's. The caller knows that no live pod owns it.
    fn is_node(&self, name: &str, address: IpAddr) -> bool {
        (self.scope.as_deref() == Some(name) && self.node_addresses.contains(&address))
            || self.objects.iter().any(|object| match object {
                Object::Node(node) if node.meta.key.name == name => {
                    node.addresses.contains(&address)
                        || node.pod_cidrs.iter().any(|cidr| {
                            cidr.contains(&address) && is_first_or_second(cidr.network(), address)
                        })
                }
                Object::Pod(pod) => {
                    pod.host_network
                        && !pod.is_finished()
                        && !pod.node_name.is_empty()
                        && pod.node_name == name
                        && pod.pod_ips.contains(&address)
                }
                _ => false,
            })
    }

    fn namespace_labels(&self, name: &str) -> Labels {
        let found = self.objects.iter().find_map(|object| match object {
            Object::Namespace(namespace) if namespace.meta.key.name == name => {
                Some(namespace.meta.labels.clone())
            }
            _ => None,
        });
        found.unwrap_or_else(|| Labels::from([(NAME_LABEL.to_owned(), name.to_owned())]))
    }
}

fn name_of(pod: &Pod) -> PodName {
    PodName { namespace: pod.meta.key.namespace.clone(), name: pod.meta.key.name.clone() }
}

fn is_first_or_second(network: IpAddr, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => address.to_bits().wrapping_sub(network.to_bits()) <= 1,
        (IpAddr::V6(network), IpAddr::V6(address)) => address.to_bits().wrapping_sub(network.to_bits()) <= 1,
        _ => false,
    }
}
