//! Calico's policies as written: NetworkPolicy, GlobalNetworkPolicy and the staged kinds.

use super::rule::CalicoRule;
use super::selector::CalicoSelector;
use super::tier::CalicoOrder;
use crate::api::diagnostic::Provenance;
use crate::api::meta::Meta;
use crate::api::network_policy::NetworkPolicy;
use crate::api::object::Kind;

/// `stagedAction`: what would be done with the policy of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StagedAction {
    /// Put it in force, in place of one of its name.
    #[default]
    Set,
    /// Remove the one of its name.
    Delete,
    /// As [`Self::Set`]; made by a program that watched traffic.
    Learn,
    /// Nothing.
    Ignore,
}

/// Whom a policy is about: pods of which all given selectors hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CalicoSubject {
    /// `selector`.
    pub selector: Option<CalicoSelector>,
    /// `namespaceSelector`, of global policies.
    pub namespaces: Option<CalicoSelector>,
    /// `serviceAccountSelector`.
    pub service_accounts: Option<CalicoSelector>,
}

/// The `spec` of all kinds but StagedKubernetesNetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoPolicySpec {
    /// `tier`; `None`: it or the order could not be read.
    pub tier: Option<String>,
    /// Where the tier is named; the spec where it is not.
    pub tier_at: Provenance,
    /// `order`; missing ones come last.
    pub order: CalicoOrder,
    /// Whom it is about; `None`: it could not be read.
    pub subject: Option<CalicoSubject>,
    /// Whether it applies to ingress, by `types` or its default.
    pub applies_ingress: bool,
    /// Whether it applies to egress, by `types` or its default.
    pub applies_egress: bool,
    /// `ingress`.
    pub ingress: Vec<CalicoRule>,
    /// `egress`.
    pub egress: Vec<CalicoRule>,
    /// Something else that could not be read.
    pub unreadable: Option<Provenance>,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CalicoPolicyBody {
    /// In Calico's words.
    Calico(CalicoPolicySpec),
    /// In those of NetworkPolicy: StagedKubernetesNetworkPolicy.
    Kubernetes(NetworkPolicy),
}

/// A policy of Calico's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalicoPolicy {
    /// Name and labels.
    pub meta: Meta,
    /// Where `spec` stands.
    pub spec: Provenance,
    /// What it says.
    pub body: Box<CalicoPolicyBody>,
    /// `stagedAction`; `None`: it could not be read. Kinds that are not staged have [`StagedAction::Set`].
    pub staged_action: Option<StagedAction>,
}

impl CalicoPolicy {
    /// For staged kinds, the kind that the policy would be.
    pub fn staged_for(&self) -> Option<Kind> {
        match self.meta.key.kind {
            Kind::CalicoStagedNetworkPolicy => Some(Kind::CalicoNetworkPolicy),
            Kind::CalicoStagedGlobalNetworkPolicy => Some(Kind::CalicoGlobalNetworkPolicy),
            Kind::CalicoStagedKubernetesNetworkPolicy => Some(Kind::NetworkPolicy),
            _ => None,
        }
    }

    /// Notes that nothing of it is certain: where it stands, whom it is about, what it says.
    pub(in crate::api) fn doubt(&mut self) {
        match &mut *self.body {
            CalicoPolicyBody::Calico(spec) => {
                spec.tier = None;
                spec.subject = None;
                spec.unreadable.get_or_insert_with(|| self.spec.clone());
            }
            CalicoPolicyBody::Kubernetes(policy) => policy.doubt(),
        }
        if self.staged_for().is_some() {
            self.staged_action = None;
        }
    }
}
