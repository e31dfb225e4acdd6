//! v1 ServiceAccount: its labels, which some selectors of Calico's ask for.

use super::meta::{Meta, RawMeta};

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Name and labels.
    pub meta: Meta,
}

impl ServiceAccount {
    pub(crate) fn from_meta(raw: RawMeta<'_>) -> Self {
        Self { meta: raw.meta }
    }
}
