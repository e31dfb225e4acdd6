//! projectcalico.org/v3: policies, tiers and network sets, as written and validated as Calico's API server does.
//!
//! ```text
//!  NetworkPolicy, GlobalNetworkPolicy, Staged… ─► policy_reader ─► rule_reader ─► entity_reader ─► selector
//!  Tier, NetworkSet, GlobalNetworkSet ──────────► tier, network_set ─────────────────┘ (nets)
//! ```
//! What cannot be read is a hole (`None`) where it stood. A field that is not known is refused at any depth of `spec`;
//! one that another layer would have to judge (HTTP, domains, services) or that is about host endpoints is refused
//! by name, with what to write instead.

mod entity_reader;
mod network_set;
mod policy;
mod policy_reader;
mod rule;
mod rule_reader;
mod selector;
mod tier;

pub use network_set::CalicoNetworkSet;
pub use policy::{CalicoPolicy, CalicoPolicyBody, CalicoPolicySpec, CalicoSubject, StagedAction};
pub use rule::{
    CalicoAction, CalicoEntity, CalicoIcmp, CalicoPort, CalicoRule, CalicoRuleBody, CalicoServiceAccounts,
    IpFamily,
};
pub use selector::{CalicoNamespaces, CalicoSelector, LabelTest, SelectorError};
pub use tier::{CalicoOrder, CalicoTier};

pub(super) use policy_reader::read_calico_policy;
pub(crate) use tier::{ADMIN_TIER, BASELINE_TIER, DEFAULT_TIER, FIXED_TIERS, UNREADABLE_TIER};
