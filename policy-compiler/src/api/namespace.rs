//! v1 Namespace: its labels are all that policies see of it.

use super::meta::{Meta, RawMeta};

/// The label the API server keeps on every namespace; added where a raw manifest lacks it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A namespace. `meta.labels` always holds [`NAME_LABEL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Name and labels.
    pub meta: Meta,
}

impl Namespace {
    pub(crate) fn from_meta(raw: RawMeta<'_>) -> Self {
        let mut meta = raw.meta;
        // The API server overwrites whatever a manifest says here.
        meta.labels.insert(NAME_LABEL.to_owned(), meta.key.name.clone());
        Self { meta }
    }
}
