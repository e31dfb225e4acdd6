//! Kinds and apiVersions that are most probably misspelled ones of objects weir reads.
//!
//! Other kinds are skipped. Skipping an object that was to be a policy would leave open what it was to close, so what
//! lies near a policy's kind is refused, in whatever group, and a policy's kind itself in every group that weir reads
//! anything of; what is near a core kind, in the core group only, whose kinds are all known.

use super::object::Kind;
use super::words::closest;

/// Every kind of policy that a cluster can have, and what policies refer to, whether this release reads it or not.
const POLICY_KINDS: [(&str, &str); 16] = [
    ("NetworkPolicy", "networking.k8s.io"),
    ("ClusterNetworkPolicy", "policy.networking.k8s.io"),
    ("AdminNetworkPolicy", "policy.networking.k8s.io"),
    ("BaselineAdminNetworkPolicy", "policy.networking.k8s.io"),
    ("NetworkPolicy", "projectcalico.org"),
    ("GlobalNetworkPolicy", "projectcalico.org"),
    ("StagedNetworkPolicy", "projectcalico.org"),
    ("StagedGlobalNetworkPolicy", "projectcalico.org"),
    ("StagedKubernetesNetworkPolicy", "projectcalico.org"),
    ("NetworkSet", "projectcalico.org"),
    ("GlobalNetworkSet", "projectcalico.org"),
    ("Tier", "projectcalico.org"),
    ("CiliumNetworkPolicy", "cilium.io"),
    ("CiliumClusterwideNetworkPolicy", "cilium.io"),
    ("CiliumCIDRGroup", "cilium.io"),
    ("MultiNetworkPolicy", "k8s.cni.cncf.io"),
];

/// The kinds of the core group that are not weir's.
const OTHER_CORE_KINDS: [&str; 13] = [
    "Binding",
    "ComponentStatus",
    "ConfigMap",
    "Endpoints",
    "Event",
    "LimitRange",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodTemplate",
    "ReplicationController",
    "ResourceQuota",
    "Secret",
    "Service",
];

/// What was probably meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// Another kind.
    Kind(&'static str),
    /// The same kind in another apiVersion.
    ApiVersion(&'static str),
}

/// What a kind and apiVersion that are none of `known` were probably meant to be.
pub(super) fn meant(kind: &str, api_version: &str, known: &[Kind]) -> Option<Meant> {
    let (group, _) = api_version.split_once('/').unwrap_or(("", api_version));
    let group_of = |version: &'static str| version.split_once('/').map_or("", |(group, _)| group);
    let same_name = known.iter().filter(|known| known.name() == kind);
    let mut same_name = same_name.flat_map(|known| known.api_versions()).copied();
    let is_policy = POLICY_KINDS.iter().any(|(policy, _)| *policy == kind);
    let first_version = same_name.clone().next().filter(|_| is_policy);
    let wrong_version = same_name.find(|right| {
        // Other groups have kinds of the same names: Longhorn's Node, Antrea's ClusterNetworkPolicy.
        group == group_of(right)
            || group.is_empty()
            || group == "extensions"
            || closest(api_version, &[right]).is_some()
    });
    if let Some(right) = wrong_version {
        return Some(Meant::ApiVersion(right));
    }
    // One language's kind in the group of another is nobody else's.
    if known.iter().flat_map(|known| known.api_versions()).any(|version| group == group_of(version))
        && let Some(right) = first_version
    {
        return Some(Meant::ApiVersion(right));
    }
    if is_policy {
        return None;
    }
    let policies = POLICY_KINDS.map(|(policy, _)| policy);
    // Short words have neighbours that mean something else elsewhere.
    let near = closest(kind, &policies).filter(|near| {
        near.len() > 8
            || POLICY_KINDS.iter().any(|(policy, of)| policy == near && closest(group, &[of]).is_some())
    });
    if let Some(near) = near {
        return Some(Meant::Kind(near));
    }
    if !group.is_empty() || OTHER_CORE_KINDS.contains(&kind) {
        return None;
    }
    let core: Vec<&'static str> =
        known.iter().filter(|known| known.api_versions() == ["v1"]).map(|known| known.name()).collect();
    closest(kind, &core).map(Meant::Kind)
}

#[cfg(test)]
mod tests {
    use super::{Kind, Meant, OTHER_CORE_KINDS, meant};

    const KNOWN: [Kind; 5] =
        [Kind::Namespace, Kind::Node, Kind::Pod, Kind::ServiceAccount, Kind::NetworkPolicy];

    #[test]
    fn a_kind_near_a_policys_is_no_other_kind() {
        let policy = Some(Meant::Kind("NetworkPolicy"));
        assert_eq!(meant("NetworkPolcy", "networking.k8s.io/v1", &KNOWN), policy);
        assert_eq!(meant("networkpolicy", "networking.k8s.io/v1", &KNOWN), policy);
        assert_eq!(meant("NetworkPolicies", "v1", &KNOWN), policy);
        assert_eq!(
            meant("CilliumNetworkPolicy", "cilium.io/v2", &KNOWN),
            Some(Meant::Kind("CiliumNetworkPolicy"))
        );
        assert_eq!(
            meant("GlobalNetworPolicy", "projectcalico.org/v3", &KNOWN),
            Some(Meant::Kind("GlobalNetworkPolicy"))
        );
        assert_eq!(meant("Teir", "projectcalico.org/v3", &KNOWN), Some(Meant::Kind("Tier")));
    }

    #[test]
    fn a_group_near_the_right_one_is_that() {
        let right = Some(Meant::ApiVersion("networking.k8s.io/v1"));
        for wrong in [
            "v1",
            "networking.k8s.io/v1beta1",
            "extensions/v1beta1",
            "network.k8s.io/v1",
            "netwroking.k8s.io/v1",
        ] {
            assert_eq!(meant("NetworkPolicy", wrong, &KNOWN), right, "{wrong}");
        }
        assert_eq!(meant("Pod", "v2", &KNOWN), Some(Meant::ApiVersion("v1")));
    }

    #[test]
    fn a_policys_kind_in_a_group_of_another_language_is_that_policy() {
        let known = Kind::ALL;
        for (kind, wrong, right) in [
            ("NetworkPolicy", "cilium.io/v2", "networking.k8s.io/v1"),
            ("NetworkPolicy", "policy.networking.k8s.io/v1alpha2", "networking.k8s.io/v1"),
            ("NetworkPolicy", "projectcalico.org/v2", "projectcalico.org/v3"),
            ("ClusterNetworkPolicy", "networking.k8s.io/v1", "policy.networking.k8s.io/v1alpha2"),
            ("Tier", "policy.networking.k8s.io/v1alpha2", "projectcalico.org/v3"),
        ] {
            assert_eq!(meant(kind, wrong, &known), Some(Meant::ApiVersion(right)), "{kind} {wrong}");
        }
        for (kind, api_version) in [
            ("ClusterNetworkPolicy", "crd.antrea.io/v1beta1"),
            ("Tier", "crd.antrea.io/v1beta1"),
            ("Tier", "example.com/v1"),
            ("IPPool", "projectcalico.org/v3"),
        ] {
            assert_eq!(meant(kind, api_version, &known), None, "{kind}");
        }
    }

    #[test]
    fn core_kinds_are_told_from_kinds_of_other_groups() {
        assert_eq!(meant("Pdo", "v1", &KNOWN), Some(Meant::Kind("Pod")));
        assert_eq!(meant("namespace", "v1", &KNOWN), Some(Meant::Kind("Namespace")));
        for other in OTHER_CORE_KINDS {
            assert_eq!(meant(other, "v1", &KNOWN), None, "{other}");
        }
        for (kind, api_version) in [
            ("Role", "rbac.authorization.k8s.io/v1"),
            ("Node", "longhorn.io/v1beta2"),
            ("NetworkPolicy", "projectcalico.org/v3"),
            ("ClusterNetworkPolicy", "crd.antrea.io/v1beta1"),
            ("MultiNetworkPolicy", "k8s.cni.cncf.io/v1beta1"),
            ("Timer", "example.com/v1"),
            ("NetworkAttachmentDefinition", "k8s.cni.cncf.io/v1"),
            ("IPPool", "projectcalico.org/v3"),
            ("AuthorizationPolicy", "security.istio.io/v1"),
        ] {
            assert_eq!(meant(kind, api_version, &KNOWN), None, "{kind}");
        }
    }
}
