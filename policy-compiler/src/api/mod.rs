//! Kubernetes objects, from text to types: every problem located, nothing silently ignored that could matter.

mod document;

mod object_reader;

mod object;

mod calico;
mod cilium;
mod cluster_policy;

mod namespace;
mod node;
mod pod;
mod policy_reader;
mod service_account;

mod flannel;
mod meta;
mod network_policy;
mod selector;

mod diagnostic;
mod misspelled;
mod reader;
mod syntax;
mod tree;
mod words;

pub(crate) use calico::{ADMIN_TIER, BASELINE_TIER, DEFAULT_TIER, FIXED_TIERS, UNREADABLE_TIER};
pub use calico::{
    CalicoAction, CalicoEntity, CalicoIcmp, CalicoNamespaces, CalicoNetworkSet, CalicoOrder, CalicoPolicy,
    CalicoPolicyBody, CalicoPolicySpec, CalicoPort, CalicoRule, CalicoRuleBody, CalicoSelector,
    CalicoServiceAccounts, CalicoSubject, CalicoTier, IpFamily, LabelTest, SelectorError, StagedAction,
};
pub use cilium::{
    CiliumCidrGroup, CiliumCidrGroups, CiliumDnsMatch, CiliumEntity, CiliumHttpRule, CiliumKey,
    CiliumL7Rules, CiliumPeer, CiliumPolicy, CiliumPort, CiliumPortRule, CiliumRequirement, CiliumRule,
    CiliumRuleBody, CiliumSelector, CiliumSpec, CiliumSubject,
};
pub use cluster_policy::{
    ClusterAction, ClusterPeer, ClusterPlace, ClusterPods, ClusterPolicy, ClusterPort, ClusterRule,
    ClusterRuleBody, ClusterTier,
};
pub use diagnostic::{Diagnostic, Origin, Provenance, Severity};
pub use document::parse;
pub use flannel::Flannel;
pub use meta::{Labels, Meta};
pub use namespace::{NAME_LABEL, Namespace};
pub use network_policy::{
    IpBlock, NetworkPolicy, PolicyPeer, PolicyPort, PolicyPortNumber, PolicyRule, RuleBody,
};
pub use node::Node;
pub use object::{Kind, Object, ObjectKey};
pub use pod::{NamedPort, Phase, Pod};
pub use selector::{Requirement, Selector};
pub use service_account::ServiceAccount;
pub(crate) use words::{closest, listed};

use std::collections::BTreeMap;

/// What a text held.
#[derive(Debug, Clone, Default)]
pub struct ParseOutput {
    /// The objects weir uses. A policy with errors is among them, with holes where it could not be read.
    pub objects: Vec<Object>,
    /// All problems of all documents, those of [`Self::objects`] included.
    pub diagnostics: Vec<Diagnostic>,
    /// Objects of other kinds: kind → how many.
    pub skipped: BTreeMap<String, usize>,
}

#[cfg(test)]
mod tests;
