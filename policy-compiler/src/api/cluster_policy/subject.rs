//! Pods by their namespaces' labels and their own, as subjects and peers name them, and what exactly-one fields share.

use super::ClusterPods;
use super::dialect::Dialect;
use crate::api::reader::{Reader, closest};
use crate::api::selector::{Selector, read_selector};
use crate::api::tree::{Entry, Node, Value};

/// The one field of a mapping that may have only one of several. `Err(true)`: there is none, or only unknown ones.
///
/// Null is no field: the API server drops it before it validates.
pub(super) fn only_field<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    what: &str,
    known: &'static [&'static str],
) -> Result<(&'static str, &'t Node), bool> {
    let expected = format!("exactly one of {}", known.join(", "));
    if node.value == Value::Null {
        reader.error(node.mark, format!("an empty {what}"), &expected);
        return Err(true);
    }
    let Some(entries) = reader.mapping(node) else { return Err(false) };
    reader.refuse_unknown(entries, known);
    let set: Vec<&Entry> = entries.iter().filter(|entry| entry.value.value != Value::Null).collect();
    match set[..] {
        [] => {
            reader.error(node.mark, format!("an empty {what}"), &expected);
            Err(true)
        }
        [entry] => match known.iter().find(|name| **name == entry.key) {
            Some(&name) => Ok((name, &entry.value)),
            None => Err(true),
        },
        _ => {
            let names: Vec<&str> = set.iter().map(|entry| entry.key.as_str()).collect();
            if names.iter().all(|name| known.contains(name)) {
                reader.error(node.mark, format!("{} in one {what}", names.join(" and ")), &expected);
            }
            Err(names.iter().all(|name| !known.contains(name)))
        }
    }
}

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

/// Reads a list of at least one and at most `most` elements; `None`: it is none such, and none of it was read.
pub(super) fn elements<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    most: usize,
    mut read: impl FnMut(&mut Reader<'t>, &'t Node),
) -> Option<()> {
    let count = reader.sequence(node)?.len();
    if count == 0 {
        reader.error(node.mark, "an empty list", "at least one element");
        return None;
    }
    too_many(reader, node, count, most)?;
    reader.each(node, &mut read);
    Some(())
}

/// Reports a list of more elements than the API takes.
pub(super) fn too_many(reader: &mut Reader<'_>, node: &Node, count: usize, most: usize) -> Option<()> {
    if count <= most {
        return Some(());
    }
    reader.error(node.mark, format!("{count} elements"), &format!("at most {most}"));
    None
}

/// A message about a word that is not one of a list, with the one it most probably should be.
pub(super) fn not_one_of(word: &str, what: &str, known: &[&str], meant: Option<&str>) -> String {
    match meant.or_else(|| closest(word, known)) {
        Some(meant) => format!("{word:?} is not {what}, did you mean {meant}?"),
        None => format!("{word:?} is not {what}"),
    }
}
