//! What objects need to know of each other to become policies.

use super::tiers::Tiers;
use crate::api::{CalicoNetworkSet, CiliumCidrGroup, Object, ObjectKey};

/// The surroundings of every policy of a state.
#[derive(Debug, Clone, Default)]
pub struct Context<'o> {
    /// All tiers.
    pub tiers: Tiers,
    /// Calico's network sets, which its selectors match beside pods.
    pub network_sets: Vec<&'o CalicoNetworkSet>,
    /// Cilium's CIDR groups, which its rules name.
    pub cidr_groups: Vec<&'o CiliumCidrGroup>,
    /// A policy of Calico's that is in force, if there is one. Cilium's policies do not mix with it: each language
    /// decides alone what a pod without rules may do.
    pub calico: Option<&'o ObjectKey>,
    /// A policy of Cilium's, if there is one.
    pub cilium: Option<&'o ObjectKey>,
    /// Staged policies count as if they were in force.
    pub staged: bool,
}

impl<'o> Context<'o> {
    /// The context of these objects.
    pub fn new(objects: impl Iterator<Item = &'o Object>, staged: bool) -> Self {
        let mut context = Self { staged, ..Self::default() };
        for object in objects {
            match object {
                Object::CalicoTier(tier) => super::calico::add_tier(&mut context.tiers, tier),
                Object::CalicoNetworkSet(set) => context.network_sets.push(set),
                Object::CiliumCidrGroup(group) => context.cidr_groups.push(group),
                Object::CalicoPolicy(policy) => context.calico = context.calico.or(Some(&policy.meta.key)),
                Object::CiliumPolicy(policy) => context.cilium = context.cilium.or(Some(&policy.meta.key)),
                _ => {}
            }
        }
        context
    }
}
