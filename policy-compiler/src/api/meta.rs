//! `metadata`: what names an object and what selectors see of it.

use super::diagnostic::{Diagnostic, Origin};
use super::object::ObjectKey;
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
