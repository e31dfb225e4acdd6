//! Label selectors: `matchLabels` and `matchExpressions`, all ANDed.

use super::meta::Labels;
use super::reader::Reader;
use super::syntax::{LABEL_KEY_EXPECTED, LABEL_VALUE_EXPECTED, is_label_key, is_label_value};
use super::tree::{Node, Value};
use super::words::quoted;

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Requirement {
    /// The label is there with one of these values.
    In(String, Vec<String>),
    /// The label is missing, or has none of these values.
    NotIn(String, Vec<String>),
    /// The label is there, empty or not.
    Exists(String),
    /// The label is missing.
    DoesNotExist(String),
}

/// A label selector. Without requirements it matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Selector {
    /// All of them must hold.
    pub requirements: Vec<Requirement>,
}

impl Selector {
    /// Whether the labels meet every requirement.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

/// What keys of a selector look like.
pub(crate) struct KeySyntax {
    /// Whether it is one.
    pub(crate) is_key: fn(&str) -> bool,
    /// What to say was expected.
    pub(crate) expected: &'static str,
}

const LABEL_KEYS: KeySyntax = KeySyntax { is_key: is_label_key, expected: LABEL_KEY_EXPECTED };

/// Reads a label selector as the API server validates it. `None`: it could not be read.
pub(crate) fn read_selector<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<Selector> {
    read_selector_of(reader, node, &LABEL_KEYS)
}

/// The same, where keys are written in another way than those of Kubernetes; they are kept as written.
pub(crate) fn read_selector_of<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    keys: &KeySyntax,
) -> Option<Selector> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["matchLabels", "matchExpressions"]);
    let mut requirements = Vec::new();
    reader.field(entries, "matchLabels", |reader, node| {
        for entry in reader.mapping(node).unwrap_or_default() {
            reader.within(&entry.key, |reader| {
                if !(keys.is_key)(&entry.key) {
                    reader.error(
                        entry.key_mark,
                        format!("{} is not a label key", quoted(&entry.key)),
                        keys.expected,
                    );
                }
                // A null value is the empty value, as the API server decodes it.
                let empty = entry.value.value == Value::Null;
                let value = if empty { Some("") } else { read_value(reader, &entry.value) };
                if let Some(value) = value {
                    requirements.push(Requirement::In(entry.key.clone(), vec![value.to_owned()]));
                }
            });
        }
    });
    reader.field(entries, "matchExpressions", |reader, node| {
        reader.each(node, |reader, node| {
            if let Some(requirement) = read_expression(reader, node, keys) {
                requirements.push(requirement);
            }
        });
    });
    // One spelling per meaning, so that equal selectors are found equal.
    requirements.sort();
    requirements.dedup();
    (reader.error_count() == errors).then_some(Selector { requirements })
}

fn read_value<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<&'t str> {
    let value = reader.string(node)?;
    if !is_label_value(value) {
        reader.error(node.mark, format!("{} is not a label value", quoted(value)), LABEL_VALUE_EXPECTED);
    }
    Some(value)
}

fn read_expression<'t>(reader: &mut Reader<'t>, node: &'t Node, keys: &KeySyntax) -> Option<Requirement> {
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["key", "operator", "values"]);
    let key = reader.field(entries, "key", |reader, node| {
        let key = reader.string(node)?;
        if !(keys.is_key)(key) {
            reader.error(node.mark, format!("{} is not a label key", quoted(key)), keys.expected);
        }
        Some(key.to_owned())
    });
    let operator = reader.field(entries, "operator", |reader, node| {
        let operator = reader.string(node)?;
        if OPERATORS.contains(&operator) {
            return Some(operator);
        }
        reader.unknown_word(node.mark, operator, "an operator", &OPERATORS);
        None
    });
    let mut values = Vec::new();
    reader.field(entries, "values", |reader, node| {
        reader.each(node, |reader, node| values.extend(read_value(reader, node).map(str::to_owned)));
    });
    if key.is_none() {
        reader.error(node.mark, "the expression has no key", "key, operator and, for In and NotIn, values");
    }
    if operator.is_none() {
        reader.error(node.mark, "the expression has no operator", "In, NotIn, Exists or DoesNotExist");
    }
    let (key, operator) = (key??, operator??);
    match (operator, values.is_empty()) {
        ("In" | "NotIn", true) => {
            reader.error(node.mark, format!("{operator} without values"), "at least one value");
            return None;
        }
        ("Exists" | "DoesNotExist", false) => {
            reader.error(node.mark, format!("{operator} with values"), "no values");
            return None;
        }
        _ => {}
    }
    values.sort();
    values.dedup();
    Some(match operator {
        "In" => Requirement::In(key, values),
        "NotIn" => Requirement::NotIn(key, values),
        "Exists" => Requirement::Exists(key),
        _ => Requirement::DoesNotExist(key),
    })
}
