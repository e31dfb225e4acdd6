//! One compilation's view of the objects: who is live, who is cut off, which addresses are a pod's own node.
//!
//! Input: the objects and a scope. Output: live pods sorted by name (subjects are positions among them), the
//! public [`Cluster`], and what is in conflict. Cost: a few map operations per pod and per node.

use super::nodes::{self, Places, gateway_addresses};
use super::{Cluster, Misplacement, NodeView, PodName, Subject, WaitReason, Waiting};
use crate::api::{
    Diagnostic, Labels, NAME_LABEL, Namespace, Node, Object, ObjectKey, Pod, Provenance, ServiceAccount,
};
use crate::model::Attributes;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Why a pod is denied everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// Live pods show one address.
    Conflict { address: IpAddr, pods: Vec<PodName> },
    /// The pod shows an address that no pod of its node can have.
    Misplaced { pod: PodName, node: String, address: IpAddr, reason: Misplacement },
    /// The pod or its namespace could not be read.
    Unreadable { object: ObjectKey, provenance: Provenance },
}

/// A pod that is a possible peer: live, not on the host network, with an address.
#[derive(Debug)]
pub(crate) struct LivePod<'o> {
    pub(crate) pod: &'o Pod,
    pub(crate) namespace_labels: Arc<Labels>,
    pub(crate) account_labels: Arc<Labels>,
    /// Those of its addresses that a pod of its node can have; of the others it is not the owner.
    pub(crate) addresses: Vec<IpAddr>,
    /// Position in [`View::cut_offs`].
    pub(crate) cut_off: Option<usize>,
}

impl LivePod<'_> {
    pub(crate) fn namespace(&self) -> &str {
        &self.pod.meta.key.namespace
    }

    pub(crate) fn name(&self) -> PodName {
        pod_name(self.pod)
    }

    /// What selectors see of it.
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes {
            namespace: self.namespace(),
            namespace_labels: &self.namespace_labels,
            labels: &self.pod.meta.labels,
            service_account: &self.pod.service_account,
            service_account_labels: &self.account_labels,
        }
    }
}

impl<'o> LivePod<'o> {
    /// A pod that nothing is wrong with; with it the objects it refers to, where they are there.
    pub(crate) fn plain(
        pod: &'o Pod,
        namespace: Option<&Namespace>,
        account: Option<&ServiceAccount>,
    ) -> Self {
        let name = &pod.meta.key.namespace;
        let implied = || Labels::from([(NAME_LABEL.to_owned(), name.clone())]);
        Self {
            pod,
            namespace_labels: Arc::new(
                namespace.map_or_else(implied, |namespace| namespace.meta.labels.clone()),
            ),
            account_labels: Arc::new(account.map(|account| account.meta.labels.clone()).unwrap_or_default()),
            addresses: pod.pod_ips.clone(),
            cut_off: None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct View<'o> {
    /// All possible peers, sorted by name.
    pub(crate) pods: Vec<LivePod<'o>>,
    /// Positions in `pods`, in order of subject ids.
    pub(crate) subjects: Vec<usize>,
    pub(crate) cut_offs: Vec<CutOff>,
    /// What nodes say of themselves that cannot all be true.
    pub(crate) contradictions: Vec<Diagnostic>,
    /// Every address a live pod shows and can have: the position in `pods` of its owner, and why it is cut off, if so.
    pub(crate) owners: BTreeMap<IpAddr, (usize, Option<usize>)>,
    /// Per node: the addresses that are the node towards its own pods; none of them is a pod's.
    pub(crate) own_node: BTreeMap<&'o str, BTreeSet<IpAddr>>,
    /// Labels of every Node.
    pub(crate) node_labels: BTreeMap<&'o str, &'o Labels>,
    /// What addresses of pods are held against.
    pub(crate) places: Places,
    pub(crate) cluster: Cluster,
}

pub(crate) fn pod_name(pod: &Pod) -> PodName {
    PodName { namespace: pod.meta.key.namespace.clone(), name: pod.meta.key.name.clone() }
}

/// Why the pod is no possible peer, if it is none.
pub(crate) fn wait_reason(pod: &Pod) -> Option<WaitReason> {
    if pod.is_finished() {
        Some(WaitReason::Finished)
    } else if pod.host_network {
        Some(WaitReason::HostNetwork)
    } else {
        pod.pod_ips.is_empty().then_some(WaitReason::NoAddress)
    }
}

impl<'o> View<'o> {
    /// `scope`: a node's name, or none for all pods. `extra`: further addresses of that node.
    pub(crate) fn new(
        objects: impl Iterator<Item = &'o Object>,
        scope: Option<&'o str>,
        extra: &[IpAddr],
    ) -> Self {
        let mut namespaces = Vec::new();
        let mut nodes = Vec::new();
        let mut pods = Vec::new();
        let mut accounts = Vec::new();
        for object in objects {
            match object {
                Object::Namespace(namespace) => namespaces.push(namespace),
                Object::Node(node) => nodes.push(node),
                Object::Pod(pod) => pods.push(pod),
                Object::ServiceAccount(account) => accounts.push(account),
                _ => {}
            }
        }
        let mut view = Self {
            pods: Vec::new(),
            subjects: Vec::new(),
            cut_offs: Vec::new(),
            contradictions: nodes::contradictions(&nodes),
            owners: BTreeMap::new(),
            own_node: BTreeMap::new(),
            node_labels: BTreeMap::new(),
            places: Places::new(&nodes, scope, extra),
            cluster: Cluster::default(),
        };
        view.add_pods(&pods, &namespaces, &accounts, scope);
        view.add_owners();
        view.add_nodes(&nodes, &pods);
        if let Some(scope) = scope {
            view.own_node.entry(scope).or_default().extend(extra.iter().copied());
        }
        // An address a live pod owns is that pod, whatever a node says.
        for addresses in view.own_node.values_mut() {
            addresses.retain(|address| !view.owners.contains_key(address));
        }
        if let Some(own) = scope.and_then(|scope| view.own_node.get(scope)) {
            view.cluster.own_node = own.iter().copied().collect();
        }
        view
    }

    fn add_pods(
        &mut self,
        pods: &[&'o Pod],
        namespaces: &[&'o Namespace],
        accounts: &[&'o ServiceAccount],
        scope: Option<&str>,
    ) {
        let mut labels: BTreeMap<&str, Arc<Labels>> = BTreeMap::new();
        let mut unreadable: BTreeMap<&str, usize> = BTreeMap::new();
        for namespace in namespaces {
            let name = namespace.meta.key.name.as_str();
            labels.insert(name, Arc::new(namespace.meta.labels.clone()));
            if namespace.meta.has_errors() {
                unreadable.insert(name, self.cut_offs.len());
                self.cut_offs.push(unreadable_object(&namespace.meta));
            }
        }
        let mut account_labels: BTreeMap<(&str, &str), Arc<Labels>> = BTreeMap::new();
        let mut unreadable_accounts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for account in accounts {
            let key = (account.meta.key.namespace.as_str(), account.meta.key.name.as_str());
            account_labels.insert(key, Arc::new(account.meta.labels.clone()));
            if account.meta.has_errors() {
                unreadable_accounts.insert(key, self.cut_offs.len());
                self.cut_offs.push(unreadable_object(&account.meta));
            }
        }
        let no_labels = Arc::new(Labels::new());
        for &pod in pods {
            let in_scope = scope.is_none_or(|scope| pod.node_name == scope);
            if let Some(reason) = wait_reason(pod) {
                if in_scope {
                    self.cluster.waiting.push(Waiting { name: pod_name(pod), reason });
                }
                continue;
            }
            let namespace = pod.meta.key.namespace.as_str();
            let namespace_labels = labels.entry(namespace).or_insert_with(|| {
                // Raw manifests often lack the Namespace; the API server would have put its name there.
                Arc::new(Labels::from([(NAME_LABEL.to_owned(), namespace.to_owned())]))
            });
            let account = (namespace, pod.service_account.as_str());
            let mut cut_off = unreadable.get(namespace).or(unreadable_accounts.get(&account)).copied();
            if pod.meta.has_errors() {
                cut_off = Some(self.cut_offs.len());
                self.cut_offs.push(unreadable_object(&pod.meta));
            }
            let mut addresses = pod.pod_ips.clone();
            addresses.retain(|address| self.places.misplaced(pod, *address).is_none());
            let misplaced = pod.pod_ips.iter().filter_map(|ip| Some((*ip, self.places.misplaced(pod, *ip)?)));
            if let Some((address, reason)) = misplaced.min() {
                let (name, node) = (pod_name(pod), pod.node_name.clone());
                self.cluster.misplaced.push((name.clone(), address, reason));
                if cut_off.is_none() {
                    cut_off = Some(self.cut_offs.len());
                    self.cut_offs.push(CutOff::Misplaced { pod: name, node, address, reason });
                }
            }
            if in_scope {
                self.subjects.push(self.pods.len());
                self.cluster.subjects.push(Subject {
                    name: pod_name(pod),
                    uid: pod.meta.uid.clone(),
                    addresses: pod.pod_ips.clone(),
                    node: pod.node_name.clone(),
                });
            }
            self.pods.push(LivePod {
                pod,
                namespace_labels: Arc::clone(namespace_labels),
                account_labels: Arc::clone(account_labels.get(&account).unwrap_or(&no_labels)),
                addresses,
                cut_off,
            });
        }
    }

    fn add_owners(&mut self) {
        let mut claims: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
        for (position, live) in self.pods.iter().enumerate() {
            for &address in &live.addresses {
                claims.entry(address).or_default().push(position);
            }
        }
        for (&address, claimants) in claims.iter().filter(|(_, claimants)| claimants.len() > 1) {
            let pods: Vec<PodName> =
                claimants.iter().filter_map(|&position| self.pods.get(position)).map(LivePod::name).collect();
            let conflict = self.cut_offs.len();
            self.cluster.conflicts.push((address, pods.clone()));
            self.cut_offs.push(CutOff::Conflict { address, pods });
            for &position in claimants {
                if let Some(live) = self.pods.get_mut(position) {
                    live.cut_off.get_or_insert(conflict);
                }
            }
            if let Some(&first) = claimants.first() {
                self.owners.insert(address, (first, Some(conflict)));
            }
        }
        for (address, claimants) in claims {
            if let [position] = claimants[..]
                && let Some(live) = self.pods.get(position)
            {
                self.owners.insert(address, (position, live.cut_off));
                self.cluster.pod_addresses.insert(address, live.name());
            }
        }
    }

    fn add_nodes(&mut self, nodes: &[&'o Node], pods: &[&'o Pod]) {
        for node in nodes {
            self.node_labels.insert(&node.meta.key.name, &node.meta.labels);
            let own = self.own_node.entry(&node.meta.key.name).or_default();
            own.extend(node.addresses.iter().copied());
            for cidr in &node.pod_cidrs {
                own.extend(gateway_addresses(*cidr));
            }
            self.cluster.nodes.push(NodeView {
                name: node.meta.key.name.clone(),
                addresses: node.addresses.clone(),
                pod_cidrs: node.pod_cidrs.clone(),
                vtep_mac: node.flannel.vtep_mac,
                vtep_mac_v6: node.flannel.vtep_mac_v6,
                public_ip: node.flannel.public_ip,
                public_ipv6: node.flannel.public_ipv6,
                vni: node.flannel.vni,
                vni_v6: node.flannel.vni_v6,
            });
        }
        // Traffic of a host-network pod is its node's.
        for pod in
            pods.iter().filter(|pod| pod.host_network && !pod.is_finished() && !pod.node_name.is_empty())
        {
            self.own_node.entry(&pod.node_name).or_default().extend(pod.pod_ips.iter().copied());
        }
    }
}

fn unreadable_object(meta: &crate::api::Meta) -> CutOff {
    let error = meta.diagnostics.iter().find(|diagnostic| diagnostic.is_error());
    let (origin, field) = error.map_or_else(
        || (meta.origin.clone(), String::new()),
        |error| (error.origin.clone(), error.field.clone()),
    );
    CutOff::Unreadable { object: meta.key.clone(), provenance: Provenance { origin, field } }
}
