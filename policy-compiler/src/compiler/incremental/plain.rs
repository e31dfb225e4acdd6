//! What of objects counts: changes in anything else are none.

use crate::api::{Kind, Node, Object, ObjectKey, Pod};
use std::collections::BTreeMap;

/// Whether Calico's selectors see anything of the namespace beside its pods.
pub(super) fn has_network_sets(objects: &BTreeMap<ObjectKey, Object>, namespace: &str) -> bool {
    let (kind, name) = (Kind::CalicoNetworkSet, String::new());
    let first = ObjectKey { kind, namespace: namespace.to_owned(), name };
    let next = objects.range(first..).next();
    next.is_some_and(|(key, _)| key.kind == kind && key.namespace == namespace)
}

pub(super) fn pod(object: Option<&Object>) -> Option<&Pod> {
    if let Some(Object::Pod(pod)) = object { Some(pod) } else { None }
}

/// Whether a changed pod changed in nothing that counts.
pub(super) fn says_the_same(before: &Pod, after: &Pod) -> bool {
    let says = |pod: &Pod| (pod.is_finished(), pod.host_network, pod.meta.has_errors());
    says(before) == says(after)
        && !after.meta.has_errors()
        && before.meta.labels == after.meta.labels
        && before.meta.uid == after.meta.uid
        && before.node_name == after.node_name
        && before.service_account == after.service_account
        && before.pod_ips == after.pod_ips
        && before.named_ports == after.named_ports
}

pub(super) fn same_node(before: &Node, after: &Node) -> bool {
    let stripped = |node: &Node| {
        let mut node = node.clone();
        node.meta.resource_version.clear();
        node
    };
    !after.meta.has_errors() && stripped(before) == stripped(after)
}

/// Whether it may become policies of the model.
pub(in crate::compiler) fn is_policy(object: Option<&Object>) -> bool {
    matches!(
        object,
        Some(
            Object::NetworkPolicy(_)
                | Object::ClusterPolicy(_)
                | Object::CalicoPolicy(_)
                | Object::CiliumPolicy(_)
        )
    )
}
