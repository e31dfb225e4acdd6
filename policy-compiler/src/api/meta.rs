//! `metadata`: what names an object and what selectors see of it.

use super::diagnostic::{Diagnostic, Origin};
use super::object::{Kind, ObjectKey};
use super::reader::Reader;
use super::syntax::{is_dns_label, is_dns_subdomain};
use super::tree::{Entry, Mark, Node, Value};
use std::collections::BTreeMap;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// The part of `metadata` that weir uses, and where the object came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Kind, namespace and name.
    pub key: ObjectKey,
    /// UID; empty in hand-written manifests.
    pub uid: String,
    /// Resource version; empty in hand-written manifests.
    pub resource_version: String,
    /// Labels.
    pub labels: Labels,
    /// Where the object starts.
    pub origin: Origin,
    /// What was wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Meta {
    /// Whether something of the object could not be read.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// What is read of `metadata` before it is known whether the object is usable.
pub(crate) struct RawMeta<'t> {
    pub(crate) meta: Meta,
    pub(crate) annotations: &'t [Entry],
    pub(crate) deleting: bool,
}

/// Reads `metadata`. `None`: the object cannot be named, and the reader knows why.
pub(crate) fn read_meta<'t>(
    reader: &mut Reader<'t>,
    kind: Kind,
    mark: Mark,
    entries: &'t [Entry],
) -> Option<RawMeta<'t>> {
    let Some(metadata) = reader.field(entries, "metadata", Reader::mapping) else {
        reader.error(mark, format!("{kind} without metadata"), "metadata with a name");
        return None;
    };
    let metadata = metadata?;
    reader.within("metadata", |reader| {
        let mut readable = true;
        let mut text = |reader: &mut Reader<'t>, name, valid: fn(&str) -> bool, expected| {
            reader.field(metadata, name, |reader, node| {
                let text = reader.string(node);
                readable &= text.is_some_and(valid);
                if let Some(text) = text.filter(|text| !valid(text)) {
                    reader.error(node.mark, format!("{text:?} is not a valid {name}"), expected);
                }
                text
            })
        };
        let subdomain = "lower case letters, digits, '-' and '.', like web-1";
        let label = "lower case letters, digits and '-', like shop";
        let valid_name = if kind == Kind::Namespace { is_dns_label } else { is_dns_subdomain };
        let name = text(reader, "name", valid_name, subdomain);
        let namespace = text(reader, "namespace", is_dns_label, label);
        let Some(name) = name else {
            reader.error(mark, format!("{kind} without a name"), "metadata.name");
            return None;
        };
        if !readable {
            return None;
        }
        // A cluster-scoped object with a namespace is what some generators write; it means nothing.
        let namespace = match namespace.flatten() {
            Some(namespace) if kind.is_namespaced() => namespace.to_owned(),
            None if kind.is_namespaced() => "default".to_owned(),
            _ => String::new(),
        };
        let key = ObjectKey { kind, namespace, name: name?.to_owned() };
        reader.set_object(key.clone());
        let meta = Meta {
            key,
            uid: plain_text(metadata, "uid"),
            resource_version: plain_text(metadata, "resourceVersion"),
            labels: reader.field(metadata, "labels", read_labels).unwrap_or_default(),
            origin: reader.origin(mark),
            diagnostics: Vec::new(),
        };
        let annotations = metadata.iter().find(|entry| entry.key == "annotations");
        let annotations = match annotations.map(|entry| &entry.value.value) {
            Some(Value::Mapping(annotations)) => annotations.as_slice(),
            _ => &[],
        };
        let deleting =
            metadata.iter().any(|entry| entry.key == "deletionTimestamp" && entry.value.value != Value::Null);
        Some(RawMeta { meta, annotations, deleting })
    })
}

/// Reads a map of labels. A null value is the empty value, as the API server decodes it.
fn read_labels<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Labels {
    let mut labels = Labels::new();
    for entry in reader.mapping(node).unwrap_or_default() {
        let value = match entry.value.value {
            Value::Null => Some(""),
            _ => reader.within(&entry.key, |reader| reader.string(&entry.value)),
        };
        if let Some(value) = value {
            labels.insert(entry.key.clone(), value.to_owned());
        }
    }
    labels
}

fn plain_text(entries: &[Entry], name: &str) -> String {
    let entry = entries.iter().find(|entry| entry.key == name);
    entry.and_then(|entry| entry.value.text()).unwrap_or_default().to_owned()
}
