//! Pods that come and go: which of them concern nobody but themselves, and what is kept of them beside the tables.

use super::State;
use crate::api::{Kind, Namespace, Object, ObjectKey, Pod, ServiceAccount};
use crate::cluster::{LivePod, Subject, Waiting, pod_name, wait_reason};
use crate::compiler::Scope;
use crate::lower::Refused;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

impl State {
    fn in_scope(&self, pod: &Pod) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Node(node) => *node == pod.node_name,
        }
    }

    /// A pod that was there is no more, or not as it was.
    pub(super) fn leave(&mut self, pod: &Pod) -> Result<(), Refused> {
        let name = pod_name(pod);
        self.leaves_nodes_alone(pod)?;
        if wait_reason(pod).is_some() {
            if self.in_scope(pod)
                && let Ok(position) = self.cluster.waiting.binary_search_by(|one| one.name.cmp(&name))
            {
                self.cluster.waiting.remove(position);
            }
            return Ok(());
        }
        // What was this pod's would be a node's again.
        if pod.pod_ips.iter().any(|address| self.host_pods.contains(address)) {
            return Err(Refused::NotHere);
        }
        let number = self.plain.remove(&name).ok_or(Refused::NotHere)?;
        self.names.remove(&number);
        let place = self.cluster.subjects.binary_search_by(|one| one.name.cmp(&name)).ok();
        if let Some(place) = place {
            self.cluster.subjects.remove(place);
        }
        for address in &pod.pod_ips {
            self.cluster.pod_addresses.remove(address);
        }
        if let Some(pods) = self.namespaces.get_mut(&name.namespace) {
            *pods = pods.saturating_sub(1);
        }
        self.session.remove_pod(number, place)
    }

    /// A pod is there that was not, or not as it is.
    pub(super) fn come(&mut self, pod: &Pod, objects: &BTreeMap<ObjectKey, Object>) -> Result<(), Refused> {
        let name = pod_name(pod);
        self.leaves_nodes_alone(pod)?;
        if pod.meta.has_errors() {
            return Err(Refused::NotHere);
        }
        if let Some(reason) = wait_reason(pod) {
            if self.in_scope(pod)
                && let Err(position) = self.cluster.waiting.binary_search_by(|one| one.name.cmp(&name))
            {
                self.cluster.waiting.insert(position, Waiting { name, reason });
            }
            return Ok(());
        }
        let namespace = find(objects, Kind::Namespace, "", &name.namespace).and_then(|object| match object {
            Object::Namespace(namespace) => Some(namespace),
            _ => None,
        });
        let account = find(objects, Kind::ServiceAccount, &name.namespace, &pod.service_account);
        let account = account.and_then(|object| match object {
            Object::ServiceAccount(account) => Some(account),
            _ => None,
        });
        self.is_plain(pod, namespace, account)?;
        let live = LivePod::plain(pod, namespace, account);
        let place = self.cluster.subjects.binary_search_by(|one| one.name.cmp(&name));
        let place = if self.in_scope(pod) { Some(place.err().ok_or(Refused::NotHere)?) } else { None };
        let number = self.session.add_pod(&live, place)?;
        if let Some(place) = place {
            let subject = Subject {
                name: name.clone(),
                uid: pod.meta.uid.clone(),
                addresses: pod.pod_ips.clone(),
                node: pod.node_name.clone(),
            };
            self.cluster.subjects.insert(place, subject);
        }
        for &address in &pod.pod_ips {
            self.cluster.pod_addresses.insert(address, name.clone());
        }
        *self.namespaces.entry(name.namespace.clone()).or_default() += 1;
        self.names.insert(number, name.clone());
        self.plain.insert(name, number);
        Ok(())
    }

    /// Whether a pod concerns nobody but itself: its addresses are its own, and such as a pod of its node can have.
    fn is_plain(
        &self,
        pod: &Pod,
        namespace: Option<&Namespace>,
        account: Option<&ServiceAccount>,
    ) -> Result<(), Refused> {
        let readable = namespace.is_none_or(|namespace| !namespace.meta.has_errors())
            && account.is_none_or(|account| !account.meta.has_errors());
        let taken = |address: &IpAddr| {
            self.host_pods.contains(address)
                || self.cluster.pod_addresses.contains_key(address)
                || self.cluster.conflicts.iter().any(|(conflict, _)| conflict == address)
        };
        let placed = |address: &IpAddr| self.places.misplaced(pod, *address).is_none();
        let distinct: BTreeSet<bool> = pod.pod_ips.iter().map(IpAddr::is_ipv4).collect();
        let own = distinct.len() == pod.pod_ips.len() && !pod.pod_ips.iter().any(taken);
        if readable && own && pod.pod_ips.iter().all(placed) { Ok(()) } else { Err(Refused::NotHere) }
    }

    /// Whether the pod adds no address to its node, because it is not on the host network or its Node says them itself.
    fn leaves_nodes_alone(&self, pod: &Pod) -> Result<(), Refused> {
        let silent = !pod.host_network || pod.is_finished() || pod.node_name.is_empty();
        let known = self.node(&pod.node_name);
        let says = |address: &IpAddr| known.is_some_and(|known| known.addresses.contains(address));
        if silent || pod.pod_ips.iter().all(says) { Ok(()) } else { Err(Refused::NotHere) }
    }
}

fn find<'o>(
    objects: &'o BTreeMap<ObjectKey, Object>,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Option<&'o Object> {
    objects.get(&ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}
