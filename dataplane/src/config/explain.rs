//! serde's and the YAML reader's errors in the words of a configuration: key, what was seen, what is expected.

use std::path::Path;

use serde_saphyr::Error;

use super::error::{ConfigError, Problem};
use super::located::Place;
use super::{locate, names};

/// The one problem that stopped the reading.
pub(super) fn explain(error: &Error, text: &str, file: &Path) -> ConfigError {
    let error = error.without_snippet();
    let place = error.location().map_or(Place::START, |location| Place {
        line: location.line().max(1),
        column: location.column().max(1),
    });
    let (key, message) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (locate::key_at(text, place), unknown("is not a key of this configuration", field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => (
            locate::key_at(text, place),
            format!("{variant:?} {}", unknown("is not known", variant, expected)),
        ),
        Error::SerdeMissingField { field, .. } => {
            // The reader's place is the last key that is there: the missing one is its neighbour.
            let neighbour = locate::key_at(text, place);
            let key = neighbour
                .rsplit_once('.')
                .map_or((*field).to_owned(), |(within, _)| format!("{within}.{field}"));
            (key, "is missing: expected this key, which has no default".to_owned())
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (locate::key_at(text, place), format!("{unexpected} is not valid here: expected {expected}"))
        }
        Error::InvalidScalar { ty, .. } => {
            let seen = locate::scalar_at(text, place).map_or_else(String::new, |seen| format!("{seen} "));
            (locate::key_at(text, place), format!("{seen}is not valid here: expected {}", scalar(ty)))
        }
        Error::Unexpected { expected, .. } => {
            (locate::key_at(text, place), format!("is of another kind: expected {}", node(expected)))
        }
        Error::Eof { .. } => (String::new(), "holds nothing: expected at least the key node".to_owned()),
        Error::MultipleDocuments { .. } => {
            (String::new(), "a second document begins here: expected one".to_owned())
        }
        Error::DuplicateMappingKey { key, .. } => {
            (key.clone().unwrap_or_default(), "is given twice: expected each key once".to_owned())
        }
        other => (locate::key_at(text, place), without_place(&other.render())),
    };
    ConfigError::Invalid(vec![Problem {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        key,
        message,
    }])
}

fn unknown(what: &str, word: &str, expected: &[&'static str]) -> String {
    let list = expected.join(", ");
    match names::nearest(word, expected) {
        Some(meant) => format!("{what}: did you mean {meant}? (expected one of {list})"),
        None => format!("{what}: expected one of {list}"),
    }
}

fn scalar(ty: &str) -> String {
    match ty {
        "bool" | "boolean" => "true or false".to_owned(),
        other if other.starts_with(['u', 'i']) || other.contains("integer") => "a whole number".to_owned(),
        other => other.to_owned(),
    }
}

fn node(expected: &str) -> &str {
    match expected {
        "mapping start" => "a mapping of keys to values",
        "sequence start" => "a list",
        "string scalar" => "a text",
        other => other,
    }
}

/// The reader ends its messages with the place, which stands in front of ours.
fn without_place(text: &str) -> String {
    let line = text.lines().next().unwrap_or("cannot be read");
    line.rsplit_once(" at line ").map_or(line, |(message, _)| message).to_owned()
}
