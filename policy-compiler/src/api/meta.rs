//! `metadata`: what names an object and what selectors see of it.

use super::diagnostic::{Diagnostic, Origin};
use super::object::{Kind, ObjectKey};
use super::reader::Reader;
use super::syntax::{
    LABEL_KEY_EXPECTED, LABEL_VALUE_EXPECTED, is_dns_label, is_dns_subdomain, is_label_key, is_label_value,
};
use super::tree::{Entry, Mark, Node, Value};
use super::words::quoted;
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

/// The fields of an object with a `spec`; anything else is probably one of them misspelled.
pub(crate) const OBJECT_FIELDS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
/// The fields of `metadata` that weir reads.
const FIELDS: [&str; 7] =
    ["name", "namespace", "uid", "resourceVersion", "labels", "annotations", "deletionTimestamp"];
/// The others.
const OTHER_FIELDS: [&str; 9] = [
    "generateName",
    "selfLink",
    "generation",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "clusterName",
];

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
    // Policies refuse every field they do not know themselves.
    if matches!(kind, Kind::Namespace | Kind::Node | Kind::Pod) {
        reader.refuse_misspelled(entries, &OBJECT_FIELDS, &[]);
    }
    reader.within("metadata", |reader| {
        let errors = reader.error_count();
        reader.refuse_misspelled(metadata, &FIELDS, &OTHER_FIELDS);
        // What is misspelled may be the namespace: then it would be an object of another name that is read.
        let named = !kind.is_namespaced() || metadata.iter().any(|entry| entry.key == "namespace");
        let mut readable = named || reader.error_count() == errors;
        let mut text = |reader: &mut Reader<'t>, name, valid: fn(&str) -> bool, expected| {
            reader.field(metadata, name, |reader, node| {
                let text = reader.string(node);
                readable &= text.is_some_and(valid);
                if let Some(text) = text.filter(|text| !valid(text)) {
                    reader.error(node.mark, format!("{} is not a valid {name}", quoted(text)), expected);
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
        let annotations = reader.field(metadata, "annotations", Reader::mapping);
        let annotations = annotations.flatten().unwrap_or_default();
        let deleting =
            metadata.iter().any(|entry| entry.key == "deletionTimestamp" && entry.value.value != Value::Null);
        Some(RawMeta { meta, annotations, deleting })
    })
}

/// Reads a map of labels, by the API server's rules for keys and values. A null value is the empty value, as the API
/// server decodes it.
fn read_labels<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Labels {
    let mut labels = Labels::new();
    for entry in reader.mapping(node).unwrap_or_default() {
        reader.within(&entry.key, |reader| {
            if !is_label_key(&entry.key) {
                let message = format!("{} is not a label key", quoted(&entry.key));
                reader.error(entry.key_mark, message, LABEL_KEY_EXPECTED);
            }
            let value = match entry.value.value {
                Value::Null => Some(""),
                _ => reader.string(&entry.value),
            };
            let Some(value) = value else { return };
            if !is_label_value(value) {
                let message = format!("{} is not a label value", quoted(value));
                reader.error(entry.value.mark, message, LABEL_VALUE_EXPECTED);
            }
            labels.insert(entry.key.clone(), value.to_owned());
        });
    }
    labels
}

fn plain_text(entries: &[Entry], name: &str) -> String {
    let entry = entries.iter().find(|entry| entry.key == name);
    entry.and_then(|entry| entry.value.text()).unwrap_or_default().to_owned()
}
