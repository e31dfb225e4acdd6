//! Who there is for selectors to find: live pods in kinds that no rule can tell apart, nodes, parts of the outside.
//!
//! Two pods are of a kind if they look alike to selectors, name the same ports, and their addresses are in the same
//! blocks; what is true of one for a rule is true of the other, but for their own nodes.

use crate::api::{Labels, NAME_LABEL, NamedPort, Object, Pod};
use crate::model::{Attributes, Direction, Peer, Peers, Policy, PortSpec, Rule};
use crate::query::end::{End, EndKind, ends};
use crate::query::judge::Judge;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Namespace, labels, service account, named ports, and in which blocks its addresses are.
type Kind<'p> = (&'p str, &'p Labels, &'p str, &'p [NamedPort], Vec<bool>);

/// A pod as selectors see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'j> {
    pub(super) pod: &'j Pod,
    pub(super) attributes: Attributes<'j>,
}

impl Seen<'_> {
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.pod.meta.key.namespace, self.pod.meta.key.name)
    }
}

/// A possible other end of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) enum Remote<'s> {
    Pod(Seen<'s>),
    /// A node or a part of the outside.
    End(&'s End),
}

/// Everyone.
#[derive(Debug)]
pub(super) struct Scene<'j> {
    pub(super) judge: &'j Judge,
    /// One live pod of each kind.
    pub(super) pods: Vec<Seen<'j>>,
    /// Pods on the host network, which no selector sees.
    pub(super) host_pods: Vec<Seen<'j>>,
    /// Nodes and the parts of the outside.
    pub(super) ends: Vec<End>,
    /// Namespaces that have an object or a pod.
    pub(super) namespaces: &'j BTreeMap<String, Labels>,
    /// Addresses of nodes with their labels.
    nodes: Vec<(IpAddr, &'j Labels)>,
}

impl<'j> Scene<'j> {
    /// `namespaces` is [`namespaces`] of the same judge.
    pub(super) fn new(judge: &'j Judge, namespaces: &'j BTreeMap<String, Labels>) -> Self {
        static NO_LABELS: Labels = Labels::new();
        let mut accounts: BTreeMap<(&str, &str), &Labels> = BTreeMap::new();
        let (mut pods, mut nodes) = (Vec::new(), Vec::new());
        for object in judge.compiler().objects() {
            let key = &object.meta().key;
            match object {
                Object::ServiceAccount(account) => {
                    accounts.insert((&key.namespace, &key.name), &account.meta.labels);
                }
                Object::Node(node) => {
                    nodes.extend(node.addresses.iter().map(|&address| (address, &node.meta.labels)));
                }
                Object::Pod(pod) => pods.push(pod),
                _ => {}
            }
        }
        let blocks = blocks(judge);
        let mut scene =
            Self { judge, pods: Vec::new(), host_pods: Vec::new(), ends: ends(&[judge]), namespaces, nodes };
        let mut known: BTreeSet<Kind<'_>> = BTreeSet::new();
        for pod in pods.into_iter().filter(|pod| !pod.is_finished()) {
            let (namespace, account) = (pod.meta.key.namespace.as_str(), pod.service_account.as_str());
            let attributes = Attributes {
                namespace,
                namespace_labels: namespaces.get(namespace).unwrap_or(&NO_LABELS),
                labels: &pod.meta.labels,
                service_account: account,
                service_account_labels: accounts.get(&(namespace, account)).copied().unwrap_or(&NO_LABELS),
            };
            let seen = Seen { pod, attributes };
            if pod.host_network {
                scene.host_pods.push(seen);
                continue;
            }
            let within = pod.pod_ips.iter().flat_map(|ip| blocks.iter().map(move |block| block.contains(ip)));
            let kind = (namespace, &pod.meta.labels, account, &pod.named_ports[..], within.collect());
            if known.insert(kind) {
                scene.pods.push(seen);
            }
        }
        scene
    }

    /// The kinds of pods that a policy selects.
    pub(super) fn subjects(&self, policy: &Policy) -> Vec<Seen<'j>> {
        self.pods.iter().filter(|seen| policy.subject.matches(&seen.attributes)).copied().collect()
    }

    /// Everyone who can be at the other end of a connection.
    pub(super) fn remotes(&self) -> impl Iterator<Item = Remote<'_>> {
        self.pods.iter().copied().map(Remote::Pod).chain(self.ends.iter().map(Remote::End))
    }

    /// Whether a peer is this one.
    pub(super) fn holds(&self, peer: &Peer, remote: Remote<'_>) -> bool {
        peer.holds(&mut |atom| self.is(atom, remote))
    }

    /// Whether a rule's peers are about this one.
    pub(super) fn hold(&self, peers: &Peers, remote: Remote<'_>) -> bool {
        peers.hold(&mut |atom| self.is(atom, remote))
    }

    /// The same of a pod at one of its addresses.
    pub(super) fn is_at(&self, atom: &Peer, seen: Seen<'_>, address: IpAddr) -> bool {
        match atom {
            Peer::Addresses(block) => block.contains(address),
            other => self.is(other, Remote::Pod(seen)),
        }
    }

    fn is(&self, atom: &Peer, remote: Remote<'_>) -> bool {
        match (atom, remote) {
            (Peer::Pods(selection), Remote::Pod(seen)) => selection.matches(&seen.attributes),
            (Peer::Addresses(block), Remote::Pod(seen)) => {
                seen.pod.pod_ips.iter().any(|&address| block.contains(address))
            }
            (Peer::Addresses(block), Remote::End(end)) => {
                end.addresses.iter().any(|&address| block.contains(address))
            }
            (Peer::Nodes(selector), Remote::End(end)) => {
                end.kind == EndKind::Node && {
                    let mut own = self.nodes.iter().filter(|(address, _)| end.addresses.contains(address));
                    selector.requirements.is_empty() || own.any(|(_, labels)| selector.matches(labels))
                }
            }
            (Peer::OwnNode, Remote::End(end)) => end.kind == EndKind::Node,
            _ => false,
        }
    }

    /// Whether a rule is about this one of its policy's subjects.
    pub(super) fn is_local(&self, rule: &Rule, subject: Seen<'_>) -> bool {
        rule.local.as_ref().is_none_or(|local| self.holds(local, Remote::Pod(subject)))
    }

    /// The kinds of pods that are at the destination of a rule's connections.
    pub(super) fn destinations(&self, rule: &Rule, subjects: &[Seen<'j>]) -> Vec<Seen<'j>> {
        match rule.direction {
            Direction::Ingress => subjects.iter().filter(|pod| self.is_local(rule, **pod)).copied().collect(),
            Direction::Egress => self.peers(rule),
        }
    }

    /// The kinds of pods that are at the source of a rule's connections.
    pub(super) fn sources(&self, rule: &Rule, subjects: &[Seen<'j>]) -> Vec<Seen<'j>> {
        match rule.direction {
            Direction::Egress => subjects.iter().filter(|pod| self.is_local(rule, **pod)).copied().collect(),
            Direction::Ingress => self.peers(rule),
        }
    }

    fn peers(&self, rule: &Rule) -> Vec<Seen<'j>> {
        self.pods.iter().filter(|seen| self.hold(&rule.peers, Remote::Pod(**seen))).copied().collect()
    }
}

/// The labels of every namespace that has an object or a pod.
pub(super) fn namespaces(judge: &Judge) -> BTreeMap<String, Labels> {
    let mut namespaces = BTreeMap::new();
    for object in judge.compiler().objects() {
        match object {
            Object::Namespace(namespace) => {
                namespaces.insert(namespace.meta.key.name.clone(), namespace.meta.labels.clone());
            }
            Object::Pod(pod) => {
                let name = &pod.meta.key.namespace;
                let labels = || Labels::from([(NAME_LABEL.to_owned(), name.clone())]);
                namespaces.entry(name.clone()).or_insert_with(labels);
            }
            _ => {}
        }
    }
    namespaces
}

/// Whether a port list names the port, where the pod at that end has it.
pub(super) fn covers(spec: &PortSpec, protocol: u8, port: u16, pod: Option<&Pod>) -> bool {
    spec.covers(protocol, port, |name| {
        let named = pod.map(|pod| &pod.named_ports[..]).unwrap_or_default();
        named.iter().any(|known| known.name == name && known.protocol == protocol && known.port == port)
    })
}

/// Every block that some rule names.
fn blocks(judge: &Judge) -> Vec<ipnet::IpNet> {
    let rules = judge.model().tiers.iter().flat_map(|tier| &tier.policies).flat_map(|policy| &policy.rules);
    let atoms = rules.flat_map(|rule| rule.peers.listed().iter().chain(&rule.local)).flat_map(Peer::atoms);
    let mut blocks: Vec<ipnet::IpNet> = atoms
        .flat_map(|atom| match atom {
            Peer::Addresses(block) => {
                std::iter::once(block.cidr).chain(block.except.iter().copied()).collect()
            }
            _ => Vec::new(),
        })
        .collect();
    blocks.sort();
    blocks.dedup();
    blocks
}
