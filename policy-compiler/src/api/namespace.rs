//! v1 Namespace: its labels are all that policies see of it.

use super::meta::Meta;

/// The label the API server keeps on every namespace; added where a raw manifest lacks it.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A namespace. `meta.labels` always holds [`NAME_LABEL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Name and labels.
    pub meta: Meta,
}
