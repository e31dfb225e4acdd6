//! The objects the compiler is fed, and how they are named.

use super::calico::{CalicoNetworkSet, CalicoPolicy, CalicoTier};
use super::cilium::{CiliumCidrGroup, CiliumPolicy};
use super::cluster_policy::ClusterPolicy;
use super::diagnostic::{Diagnostic, Origin};
use super::meta::Meta;
use super::namespace::Namespace;
use super::network_policy::NetworkPolicy;
use super::node::Node;
use super::pod::Pod;
use super::service_account::ServiceAccount;
use std::fmt;

/// The kinds of objects weir uses. Others are skipped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// v1 Namespace.
    Namespace,
    /// v1 Node.
    Node,
    /// v1 Pod.
    Pod,
    /// v1 ServiceAccount.
    ServiceAccount,
    /// networking.k8s.io/v1 NetworkPolicy.
    NetworkPolicy,
    /// policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy.
    ClusterNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1 AdminNetworkPolicy.
    AdminNetworkPolicy,
    /// policy.networking.k8s.io/v1alpha1 BaselineAdminNetworkPolicy.
    BaselineAdminNetworkPolicy,
    /// Calico's Tier.
    CalicoTier,
    /// Calico's NetworkPolicy.
    CalicoNetworkPolicy,
    /// Calico's GlobalNetworkPolicy.
    CalicoGlobalNetworkPolicy,
    /// Calico's StagedNetworkPolicy: evaluated apart, never enforced.
    CalicoStagedNetworkPolicy,
    /// Calico's StagedGlobalNetworkPolicy: evaluated apart, never enforced.
    CalicoStagedGlobalNetworkPolicy,
    /// Calico's StagedKubernetesNetworkPolicy: evaluated apart, never enforced.
    CalicoStagedKubernetesNetworkPolicy,
    /// Calico's NetworkSet.
    CalicoNetworkSet,
    /// Calico's GlobalNetworkSet.
    CalicoGlobalNetworkSet,
    /// cilium.io/v2 CiliumNetworkPolicy.
    CiliumNetworkPolicy,
    /// cilium.io/v2 CiliumClusterwideNetworkPolicy.
    CiliumClusterwideNetworkPolicy,
    /// cilium.io/v2alpha1 CiliumCIDRGroup.
    CiliumCidrGroup,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Namespace,
        Self::Node,
        Self::Pod,
        Self::ServiceAccount,
        Self::NetworkPolicy,
        Self::ClusterNetworkPolicy,
        Self::AdminNetworkPolicy,
        Self::BaselineAdminNetworkPolicy,
        Self::CalicoTier,
        Self::CalicoNetworkPolicy,
        Self::CalicoGlobalNetworkPolicy,
        Self::CalicoStagedNetworkPolicy,
        Self::CalicoStagedGlobalNetworkPolicy,
        Self::CalicoStagedKubernetesNetworkPolicy,
        Self::CalicoNetworkSet,
        Self::CalicoGlobalNetworkSet,
        Self::CiliumNetworkPolicy,
        Self::CiliumClusterwideNetworkPolicy,
        Self::CiliumCidrGroup,
    ];

    /// The kind as manifests spell it. Calico has kinds of the names of others.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::Pod => "Pod",
            Self::ServiceAccount => "ServiceAccount",
            Self::NetworkPolicy | Self::CalicoNetworkPolicy => "NetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::CalicoTier => "Tier",
            Self::CalicoGlobalNetworkPolicy => "GlobalNetworkPolicy",
            Self::CalicoStagedNetworkPolicy => "StagedNetworkPolicy",
            Self::CalicoStagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
            Self::CalicoStagedKubernetesNetworkPolicy => "StagedKubernetesNetworkPolicy",
            Self::CalicoNetworkSet => "NetworkSet",
            Self::CalicoGlobalNetworkSet => "GlobalNetworkSet",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::CiliumCidrGroup => "CiliumCIDRGroup",
        }
    }

    /// The `apiVersion`s this release reads; the first is the one to write.
    pub const fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Namespace | Self::Node | Self::Pod | Self::ServiceAccount => &["v1"],
            Self::NetworkPolicy => &["networking.k8s.io/v1"],
            Self::ClusterNetworkPolicy => &["policy.networking.k8s.io/v1alpha2"],
            Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => {
                &["policy.networking.k8s.io/v1alpha1"]
            }
            // The second is how Calico stores them where it has no API server of its own.
            Self::CalicoTier
            | Self::CalicoNetworkPolicy
            | Self::CalicoGlobalNetworkPolicy
            | Self::CalicoStagedNetworkPolicy
            | Self::CalicoStagedGlobalNetworkPolicy
            | Self::CalicoStagedKubernetesNetworkPolicy
            | Self::CalicoNetworkSet
            | Self::CalicoGlobalNetworkSet => &["projectcalico.org/v3", "crd.projectcalico.org/v1"],
            Self::CiliumNetworkPolicy | Self::CiliumClusterwideNetworkPolicy => &["cilium.io/v2"],
            Self::CiliumCidrGroup => &["cilium.io/v2", "cilium.io/v2alpha1"],
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub const fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::Pod
                | Self::ServiceAccount
                | Self::NetworkPolicy
                | Self::CalicoNetworkPolicy
                | Self::CalicoStagedNetworkPolicy
                | Self::CalicoStagedKubernetesNetworkPolicy
                | Self::CalicoNetworkSet
                | Self::CiliumNetworkPolicy
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::CalicoNetworkPolicy {
            f.write_str("Calico ")?;
        }
        f.write_str(self.name())
    }
}

/// What identifies an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ObjectKey {
    /// `ns/name` without the kind.
    pub fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path())
    }
}

/// An object of the cluster, as far as weir reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A pod.
    Pod(Pod),
    /// A service account.
    ServiceAccount(ServiceAccount),
    /// A network policy.
    NetworkPolicy(NetworkPolicy),
    /// A ClusterNetworkPolicy, or one of its ancestors.
    ClusterPolicy(ClusterPolicy),
    /// A policy of Calico's, staged ones included.
    CalicoPolicy(CalicoPolicy),
    /// A tier of Calico's.
    CalicoTier(CalicoTier),
    /// A NetworkSet or GlobalNetworkSet of Calico's.
    CalicoNetworkSet(CalicoNetworkSet),
    /// A policy of Cilium's.
    CiliumPolicy(CiliumPolicy),
    /// A CiliumCIDRGroup.
    CiliumCidrGroup(CiliumCidrGroup),
}

impl Object {
    /// The metadata every object has.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(object) => &object.meta,
            Self::Node(object) => &object.meta,
            Self::Pod(object) => &object.meta,
            Self::ServiceAccount(object) => &object.meta,
            Self::NetworkPolicy(object) => &object.meta,
            Self::ClusterPolicy(object) => &object.meta,
            Self::CalicoPolicy(object) => &object.meta,
            Self::CalicoTier(object) => &object.meta,
            Self::CalicoNetworkSet(object) => &object.meta,
            Self::CiliumPolicy(object) => &object.meta,
            Self::CiliumCidrGroup(object) => &object.meta,
        }
    }

    pub(super) fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Namespace(object) => &mut object.meta,
            Self::Node(object) => &mut object.meta,
            Self::Pod(object) => &mut object.meta,
            Self::ServiceAccount(object) => &mut object.meta,
            Self::NetworkPolicy(object) => &mut object.meta,
            Self::ClusterPolicy(object) => &mut object.meta,
            Self::CalicoPolicy(object) => &mut object.meta,
            Self::CalicoTier(object) => &mut object.meta,
            Self::CalicoNetworkSet(object) => &mut object.meta,
            Self::CiliumPolicy(object) => &mut object.meta,
            Self::CiliumCidrGroup(object) => &mut object.meta,
        }
    }

    /// Kind, namespace and name.
    pub fn key(&self) -> &ObjectKey {
        &self.meta().key
    }

    /// Where the object was read.
    pub fn origin(&self) -> &Origin {
        &self.meta().origin
    }

    /// The UID the API server gave it; empty in hand-written manifests.
    pub fn uid(&self) -> &str {
        &self.meta().uid
    }

    /// What was wrong with it when it was read. Also part of [`super::ParseOutput::diagnostics`].
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.meta().diagnostics
    }
}
