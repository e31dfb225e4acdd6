//! Pods by their namespaces' labels and their own, as subjects and peers name them.

use super::ClusterPods;
use super::dialect::Dialect;
use super::shape::only_field;
use crate::api::reader::Reader;
use crate::api::selector::{Selector, read_selector};
use crate::api::tree::Node;

/// Reads `spec.subject`.
pub(super) fn read_subject<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
) -> Option<ClusterPods> {
    let (name, value) = only_field(reader, node, "subject", &["namespaces", "pods"]).ok()?;
    reader.within(name, |reader| match name {
        "namespaces" => read_namespaces(reader, value),
        _ => read_pods(reader, value, dialect),
    })
}

/// All pods of some namespaces.
pub(super) fn read_namespaces<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<ClusterPods> {
    // Blogs and old clusters have it.
    if let Some(inner) = node.child("namespaceSelector") {
        let message = "a namespaceSelector, as the first form of v1alpha1 had it";
        let expected = "what it holds one level up: its matchLabels and matchExpressions";
        reader.within("namespaceSelector", |reader| reader.error(inner.mark, message, expected));
        return None;
    }
    Some(ClusterPods { namespaces: read_selector(reader, node)?, pods: Selector::default() })
}

/// `pods`: some pods of some namespaces.
pub(super) fn read_pods<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
) -> Option<ClusterPods> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["namespaceSelector", "podSelector"]);
    let namespaces = reader.field(entries, "namespaceSelector", read_selector);
    let pods = reader.field(entries, "podSelector", read_selector);
    if pods.is_none() {
        reader.error(node.mark, "pods without podSelector", "podSelector, {} for all pods");
    }
    // v1alpha2 takes its absence for all namespaces.
    if namespaces.is_none() && dialect.is_v1alpha1 {
        let expected = "namespaceSelector, {} for all namespaces";
        reader.error(node.mark, "pods without namespaceSelector", expected);
    }
    if reader.error_count() > errors {
        return None;
    }
    Some(ClusterPods { namespaces: namespaces.unwrap_or(Some(Selector::default()))?, pods: pods?? })
}
