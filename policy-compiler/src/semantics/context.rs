//! What objects need to know of each other to become policies.

use super::tiers::Tiers;
use crate::api::{
    CalicoNetworkSet, CiliumCidrGroup, NAME_LABEL, Namespace, Node, Object, ObjectKey, Selector,
};
use std::collections::{BTreeMap, BTreeSet};

/// The surroundings of every policy of a state.
#[derive(Debug, Clone, Default)]
pub struct Context<'o> {
    /// All tiers.
    pub tiers: Tiers,
    /// Calico's network sets, which its selectors match beside pods.
    pub network_sets: NetworkSets<'o>,
    /// Cilium's CIDR groups, which its rules name.
    pub cidr_groups: Vec<&'o CiliumCidrGroup>,
    /// What is unknown of nodes, which some rules ask about.
    pub unread_nodes: UnreadNodes,
    /// Some Node is labelled as one the API server runs on.
    pub control_plane: bool,
    /// A policy of Calico's that is in force, if there is one. Cilium's policies do not mix with it: each language
    /// decides alone what a pod without rules may do.
    pub calico: Option<&'o ObjectKey>,
    /// A policy of Cilium's, if there is one.
    pub cilium: Option<&'o ObjectKey>,
    /// Policies that a staged one replaces or deletes, where staged ones count.
    pub hidden: BTreeSet<ObjectKey>,
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
                Object::CalicoNetworkSet(set) => context.network_sets.sets.push(set),
                Object::Namespace(namespace) => {
                    context.network_sets.namespaces.insert(&namespace.meta.key.name, namespace);
                }
                Object::Node(node) => {
                    context.control_plane |= super::cilium::is_control_plane(node);
                    context.unread_nodes.add(node);
                }
                Object::CiliumCidrGroup(group) => context.cidr_groups.push(group),
                Object::CalicoPolicy(policy) => {
                    if super::calico::is_in_force(policy, staged) {
                        context.calico = context.calico.or(Some(&policy.meta.key));
                    }
                    if staged {
                        context.hidden.extend(super::calico::hides(policy));
                    }
                }
                Object::CiliumPolicy(policy) => context.cilium = context.cilium.or(Some(&policy.meta.key)),
                _ => {}
            }
        }
        context.network_sets.forget_other_namespaces();
        context
    }
}

/// What could not be read of some Node. Where labels are unknown, so is which nodes a selector picks; where anything else
/// is, which addresses are a node's, and hence what is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnreadNodes {
    /// Its labels.
    pub labels: bool,
    /// Something else of it.
    pub addresses: bool,
}

impl UnreadNodes {
    fn add(&mut self, node: &Node) {
        for problem in node.meta.diagnostics.iter().filter(|problem| problem.is_error()) {
            let of_labels = problem.field.starts_with("metadata.labels");
            *(if of_labels { &mut self.labels } else { &mut self.addresses }) = true;
        }
    }

    /// Whether it is uncertain which addresses are those of the nodes it picks.
    pub fn concern(self, selector: &Selector) -> bool {
        self.addresses || (self.labels && !selector.requirements.is_empty())
    }
}

/// Calico's network sets, with the namespaces they are in, whose labels are theirs too.
#[derive(Debug, Clone, Default)]
pub struct NetworkSets<'o> {
    /// The sets.
    pub sets: Vec<&'o CalicoNetworkSet>,
    /// Namespaces of sets, as far as there is an object for them.
    pub namespaces: BTreeMap<&'o str, &'o Namespace>,
}

impl NetworkSets<'_> {
    /// So that other namespaces can change without any policy of Calico's changing.
    fn forget_other_namespaces(&mut self) {
        let used: BTreeSet<&str> = self.sets.iter().filter_map(|set| set.namespace()).collect();
        self.namespaces.retain(|name, _| used.contains(name));
    }

    /// A label of a namespace. Without an object it has the one that the API server would have given it.
    pub(super) fn namespace_label<'s>(&'s self, namespace: &'s str, key: &str) -> Option<&'s str> {
        match self.namespaces.get(namespace) {
            Some(object) => object.meta.labels.get(key).map(String::as_str),
            None => (key == NAME_LABEL).then_some(namespace),
        }
    }

    /// Whether the labels of the set's namespace are unknown.
    pub(super) fn is_namespace_unreadable(&self, set: &CalicoNetworkSet) -> bool {
        let namespace = set.namespace().and_then(|name| self.namespaces.get(name));
        namespace.is_some_and(|namespace| namespace.meta.has_errors())
    }
}
