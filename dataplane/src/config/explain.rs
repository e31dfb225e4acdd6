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
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (locate::key_at(text, place), format!("{variant:?} {}", unknown("is not known", variant, expected)))
        }
        Error::SerdeMissingField { field, .. } => {
            let within = locate::mapping_at(text, place);
            let key = if within.is_empty() { (*field).to_owned() } else { format!("{within}.{field}") };
            (key, "is missing: expected this key, which has no default".to_owned())
        }
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            (locate::key_at(text, place), format!("{unexpected} is not valid here: expected {expected}"))
        }
        Error::InvalidScalar { ty, .. } => {
            (locate::key_at(text, place), format!("is not valid: expected {}", scalar(ty)))
        }
        Error::DuplicateMappingKey { key, .. } => {
            (key.clone().unwrap_or_default(), "is given twice: expected each key once".to_owned())
        }
        other => (locate::key_at(text, place), first_line(&other.render())),
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

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("cannot be read").to_owned()
}
