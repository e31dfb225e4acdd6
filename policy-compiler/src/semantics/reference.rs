//! The oracle: judges one connection by walking objects and model, as obviously as possible.
//!
//! It shares no code with lowering or with any engine beyond the model and the selectors themselves: it looks
//! at every pod to find an address's owner and at every rule of every policy. Cost per probe: all pods plus
//! all rules. Used by tests, which hold every engine to it, never by the packet path.

use crate::api::{Labels, NAME_LABEL, Object, Pod, Provenance};
use crate::classifier::{Key, RuleKind};
use crate::cluster::{Cluster, Misplacement, PodName};
use crate::model::{
    Action, Direction, Model, Peer, Peers, Policy, PolicyName, PortSpec, Ports, Protocol, Rule, RuleAction,
    Undecided,
};
use std::net::IpAddr;

/// Judges connections by the book.
#[derive(Debug)]
pub struct Reference<'o> {
    objects: Vec<&'o Object>,
    model: Model,
    cluster: &'o Cluster,
    /// Addresses that count as the own node of every subject, beside what its Node says.
    node_addresses: Vec<IpAddr>,
}

impl<'o> Reference<'o> {
    /// An evaluator of these objects. Subjects are those of `cluster`; `node_addresses` are further addresses of
    /// their own node.
    pub fn new(
        objects: impl Iterator<Item = &'o Object>,
        model: Model,
        cluster: &'o Cluster,
        node_addresses: &[IpAddr],
    ) -> Self {
        Self { objects: objects.collect(), model, cluster, node_addresses: node_addresses.to_vec() }
    }

    /// What becomes of the connection, and why.
    pub fn judge(&self, key: &Key) -> (Action, RuleKind) {
        let subject = self.cluster.subjects.get(key.subject.0 as usize);
        let subject = subject.and_then(|subject| self.live_pods().find(|pod| name_of(pod) == subject.name));
        let Some(subject) = subject else { return (Action::Deny, RuleKind::UnknownSubject) };
        let remote = key.remote();
        if let Some(kind) = self.cut_off(subject) {
            return (Action::Deny, kind);
        }
        if subject.pod_ips.contains(&remote) {
            return (Action::Allow, RuleKind::SelfTraffic);
        }
        let owners: Vec<&Pod> = self.claimants(remote).collect();
        if owners.len() > 1 {
            let pods = owners.iter().map(|pod| name_of(pod)).collect();
            return (Action::Deny, RuleKind::IpConflict { address: remote, pods });
        }
        let owner = owners.first().copied();
        if let Some(kind) = owner.and_then(|owner| self.cut_off(owner)) {
            return (Action::Deny, kind);
        }
        if key.direction == Direction::Ingress && owner.is_none() && self.is_own_node(subject, remote) {
            return (Action::Allow, RuleKind::OwnNode);
        }
        self.walk(key, subject, remote, owner)
    }

    fn walk(&self, key: &Key, subject: &Pod, remote: IpAddr, owner: Option<&Pod>) -> (Action, RuleKind) {
        for tier in &self.model.tiers {
            let applicable: Vec<&Policy> = tier
                .policies
                .iter()
                .filter(|policy| policy.applies(key.direction) && self.selects(policy, subject))
                .collect();
            if applicable.is_empty() {
                continue;
            }
            let mut passed = false;
            'tier: for policy in &applicable {
                for rule in policy.rules.iter().filter(|rule| rule.direction == key.direction) {
                    if !self.matches(rule, key, subject, remote, owner) {
                        continue;
                    }
                    let provenance = rule.provenance.clone();
                    let policy = policy.name.clone();
                    let kind = if rule.unreadable {
                        RuleKind::Unreadable { policy, provenance }
                    } else {
                        RuleKind::Rule { policy, provenance }
                    };
                    match rule.action {
                        RuleAction::Allow => return (Action::Allow, kind),
                        RuleAction::Deny => return (Action::Deny, kind),
                        RuleAction::Log => {}
                        RuleAction::Pass => {
                            passed = true;
                            break 'tier;
                        }
                    }
                }
            }
            if !passed && tier.undecided == Undecided::Deny {
                let mut policies: Vec<PolicyName> =
                    applicable.iter().map(|policy| policy.name.clone()).collect();
                policies.dedup();
                return (Action::Deny, RuleKind::DefaultDeny { tier: tier.name.clone(), policies });
            }
        }
        (Action::Allow, RuleKind::NotIsolated)
    }

    fn matches(&self, rule: &Rule, key: &Key, subject: &Pod, remote: IpAddr, owner: Option<&Pod>) -> bool {
        let peer_matches = |peer: &Peer| match peer {
            Peer::Addresses(block) => block.contains(remote),
            Peer::Pods { namespaces, pods } => owner.is_some_and(|owner| {
                let namespace = &owner.meta.key.namespace;
                namespaces.matches(namespace, &self.namespace_labels(namespace))
                    && pods.matches(&owner.meta.labels)
            }),
        };
        // Ports are the destination's: the subject for ingress, the other end for egress.
        let destination = match key.direction {
            Direction::Ingress => Some(subject),
            Direction::Egress => owner,
        };
        let port_matches = |spec: &PortSpec| match spec {
            PortSpec::Range { protocol, first, last } => {
                protocol.number() == key.protocol && (*first..=*last).contains(&key.dst_port)
            }
            PortSpec::Named { protocol, name } => {
                protocol.number() == key.protocol
                    && destination.is_some_and(|pod| {
                        pod.named_ports.iter().any(|port| {
                            port.name == *name && port.protocol == key.protocol && port.port == key.dst_port
                        })
                    })
            }
        };
        let peers = match &rule.peers {
            Peers::Any => true,
            Peers::OneOf(peers) => peers.iter().any(peer_matches),
        };
        let ports = match &rule.ports {
            Ports::Any => true,
            // A list of ports says nothing about protocols that have none.
            Ports::OneOf(specs) => {
                Protocol::from_number(key.protocol).is_some() && specs.iter().any(port_matches)
            }
        };
        peers && ports
    }

    fn selects(&self, policy: &Policy, subject: &Pod) -> bool {
        let namespace = &subject.meta.key.namespace;
        policy.subject.matches(namespace, &self.namespace_labels(namespace), &subject.meta.labels)
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
        let namespace = self.objects.iter().find_map(|object| match object {
            Object::Namespace(namespace) if namespace.meta.key.name == pod.meta.key.namespace => {
                Some(&namespace.meta)
            }
            _ => None,
        });
        for meta in [Some(&pod.meta), namespace].into_iter().flatten() {
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
        let own = nodes().filter(|node| node.meta.key.name == pod.node_name);
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

    fn is_own_node(&self, subject: &Pod, remote: IpAddr) -> bool {
        self.node_addresses.contains(&remote)
            || self.objects.iter().any(|object| match object {
                Object::Node(node) if node.meta.key.name == subject.node_name => {
                    node.addresses.contains(&remote)
                        || node
                            .pod_cidrs
                            .iter()
                            .any(|cidr| cidr.contains(&remote) && is_first_or_second(cidr.network(), remote))
                }
                Object::Pod(pod) => {
                    pod.host_network
                        && !pod.is_finished()
                        && !pod.node_name.is_empty()
                        && pod.node_name == subject.node_name
                        && pod.pod_ips.contains(&remote)
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
