//! Endpoint selectors: label selectors whose keys carry the source of the label, `source:key`.
//!
//! `k8s:` and `any:` (also where no source is written) are the pod's labels. Some keys under them are not labels of the
//! pod: its namespace, its namespace's labels, its service account, its cluster. `reserved:` names entities. Labels of other
//! sources do not exist here, so a selector that asks for them is refused rather than read as matching nobody, which in a
//! deny rule would be a hole.

use super::entity::CiliumEntity;
use crate::api::reader::Reader;
use crate::api::selector::{KeySyntax, Requirement, Selector, read_selector_of};
use crate::api::syntax::is_label_key;
use crate::api::tree::Node;

const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
const SERVICE_ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
const CLUSTER: &str = "io.cilium.k8s.policy.cluster";
/// What Cilium calls a cluster that nobody has named; weir's has no other name.
const CLUSTER_NAME: &str = "default";

/// What a requirement asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CiliumKey {
    /// The pod's label of this key.
    Label(String),
    /// The name of the pod's namespace.
    Namespace,
    /// The label of this key of the pod's namespace.
    NamespaceLabel(String),
    /// The name of the pod's service account.
    ServiceAccount,
    /// The name of the cluster; a requirement on it was checked when it was read, and holds for every pod.
    Cluster,
    /// An entity's label, whose value is always empty.
    Reserved(CiliumEntity),
}

impl CiliumKey {
    fn parse(text: &str) -> Option<Self> {
        let key = match text.split_once(':') {
            None => text,
            Some(("k8s" | "any", key)) => key,
            // `cluster` is a word for several labels, not one of them.
            Some(("reserved", name)) => {
                let entity = CiliumEntity::from_name(name).filter(|&entity| entity != CiliumEntity::Cluster);
                return entity.map(Self::Reserved);
            }
            Some(_) => return None,
        };
        if let Some(label) = key.strip_prefix(NAMESPACE_LABELS) {
            return is_label_key(label).then(|| Self::NamespaceLabel(label.to_owned()));
        }
        match key {
            NAMESPACE => Some(Self::Namespace),
            SERVICE_ACCOUNT => Some(Self::ServiceAccount),
            CLUSTER => Some(Self::Cluster),
            key => is_label_key(key).then(|| Self::Label(key.to_owned())),
        }
    }
}

const KEYS: KeySyntax = KeySyntax {
    is_key: |text| CiliumKey::parse(text).is_some(),
    expected: "a label key, alone or after k8s: or any:, or reserved: and an entity, like k8s:app or reserved:host",
};
/// Keys of labels of Nodes and of CiliumCIDRGroups.
const OBJECT_KEYS: KeySyntax = KeySyntax {
    is_key: |text| is_label_key(without_source(text)),
    expected: "a label key, alone or after k8s:, like node-role.kubernetes.io/control-plane",
};

fn without_source(key: &str) -> &str {
    ["k8s:", "any:", "node:", "cidrgroup:"].iter().find_map(|source| key.strip_prefix(source)).unwrap_or(key)
}

/// One requirement: the label is there, with one of the values where some are named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CiliumRequirement {
    /// What is asked for.
    pub key: CiliumKey,
    /// The values, if it is not only asked whether it is there.
    pub values: Option<Vec<String>>,
    /// It is met where this does not hold.
    pub negated: bool,
}

/// An endpoint selector. Without requirements it matches every endpoint in its reach.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CiliumSelector {
    /// All of them must hold.
    pub requirements: Vec<CiliumRequirement>,
}

impl CiliumSelector {
    /// Whether it says itself which namespaces it is about.
    pub fn names_namespaces(&self) -> bool {
        let names = |key: &CiliumKey| matches!(key, CiliumKey::Namespace | CiliumKey::NamespaceLabel(_));
        self.requirements.iter().any(|requirement| names(&requirement.key))
    }

    /// Whether it asks for entities.
    pub fn names_entities(&self) -> bool {
        self.requirements.iter().any(|requirement| matches!(requirement.key, CiliumKey::Reserved(_)))
    }
}

/// Reads an endpoint selector. `None`: it could not be read.
pub(super) fn read_endpoint_selector<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumSelector> {
    let errors = reader.error_count();
    let read = read_selector_of(reader, node, &KEYS)?;
    let requirements: Option<Vec<CiliumRequirement>> = read.requirements.iter().map(requirement).collect();
    for requirement in requirements.iter().flatten() {
        check_cluster(reader, node, requirement);
    }
    (reader.error_count() == errors).then_some(CiliumSelector { requirements: requirements? })
}

fn requirement(read: &Requirement) -> Option<CiliumRequirement> {
    let (key, values, negated) = match read {
        Requirement::In(key, values) => (key, Some(values.clone()), false),
        Requirement::NotIn(key, values) => (key, Some(values.clone()), true),
        Requirement::Exists(key) => (key, None, false),
        Requirement::DoesNotExist(key) => (key, None, true),
    };
    Some(CiliumRequirement { key: CiliumKey::parse(key)?, values, negated })
}

/// There is one cluster, and weir does not know what its owners call it. Any other name than Cilium's default is refused:
/// to read it as another cluster's would open what a deny rule closes.
fn check_cluster<'t>(reader: &mut Reader<'t>, node: &'t Node, requirement: &CiliumRequirement) {
    if requirement.key != CiliumKey::Cluster {
        return;
    }
    let is_this = |values: &Vec<String>| values.iter().any(|value| value == CLUSTER_NAME);
    if requirement.negated || !requirement.values.as_ref().is_none_or(is_this) {
        let message = format!("{CLUSTER} asks for another cluster than this one");
        reader.error(node.mark, message, &format!("{CLUSTER_NAME:?}, or no word about the cluster"));
    }
}

/// Reads a selector of Nodes or CIDR groups by their labels. `None`: it could not be read.
pub(super) fn read_object_selector<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<Selector> {
    let mut selector = read_selector_of(reader, node, &OBJECT_KEYS)?;
    for requirement in &mut selector.requirements {
        let (Requirement::In(key, _)
        | Requirement::NotIn(key, _)
        | Requirement::Exists(key)
        | Requirement::DoesNotExist(key)) = requirement;
        *key = without_source(key).to_owned();
    }
    selector.requirements.sort();
    selector.requirements.dedup();
    Some(selector)
}

#[cfg(test)]
mod tests {
    use super::{CiliumEntity, CiliumKey};

    #[test]
    fn a_key_says_where_its_label_comes_from() {
        let label = |key: &str| Some(CiliumKey::Label(key.to_owned()));
        let namespace_label = |key: &str| Some(CiliumKey::NamespaceLabel(key.to_owned()));
        for (text, key) in [
            ("app", label("app")),
            ("k8s:app.kubernetes.io/name", label("app.kubernetes.io/name")),
            ("any:app", label("app")),
            ("k8s:io.kubernetes.pod.namespace", Some(CiliumKey::Namespace)),
            ("io.kubernetes.pod.namespace", Some(CiliumKey::Namespace)),
            ("k8s:io.cilium.k8s.namespace.labels.team", namespace_label("team")),
            (
                "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
                namespace_label("kubernetes.io/metadata.name"),
            ),
            ("k8s:io.cilium.k8s.policy.serviceaccount", Some(CiliumKey::ServiceAccount)),
            ("k8s:io.cilium.k8s.policy.cluster", Some(CiliumKey::Cluster)),
            ("reserved:host", Some(CiliumKey::Reserved(CiliumEntity::Host))),
            ("reserved:hst", None),
            ("reserved:cluster", None),
            ("container:image", None),
            ("k8s:", None),
            ("k8s:a:b", None),
            ("io.cilium.k8s.namespace.labels.", None),
        ] {
            assert_eq!(CiliumKey::parse(text), key, "{text}");
        }
    }
}
