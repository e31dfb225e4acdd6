//! Cilium's peers as formulas of the model.
//!
//! CIDRs and `world` speak only of addresses without an identity in the cluster: no pod's, no node's. Where it is not known
//! whom a peer stands for, an allow is about nobody and a deny about everyone it could be. So it is with all that depends on
//! which addresses are a node's, where a Node could not be read.

use crate::api::{
    CiliumCidrGroup, CiliumCidrGroups, CiliumEntity, CiliumKey, CiliumPeer, CiliumPolicy, CiliumRequirement,
    CiliumRuleBody, CiliumSelector, IpBlock, Node, Requirement, Selector,
};
use crate::model::{Attribute, Expression, Namespaces, Peer, Peers, PodSelection, Test};
use crate::semantics::Context;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Labels of nodes the API server runs on.
pub(super) const CONTROL_PLANE: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Whether the API server runs on this node.
pub(in crate::semantics) fn is_control_plane(node: &Node) -> bool {
    CONTROL_PLANE.iter().any(|label| node.meta.labels.contains_key(*label))
}

/// What the rule does, which decides how doubt is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Allow,
    Deny,
}

/// Whom a rule is about.
pub(super) fn peers(
    body: &CiliumRuleBody,
    reading: Reading,
    policy: &CiliumPolicy,
    context: &Context<'_>,
) -> Peers {
    match &body.peers {
        None if body.ports.is_none() => Peers::OneOf(Vec::new()),
        None => Peers::Any,
        Some(peers) => {
            Peers::OneOf(peers.iter().map(|peer| self::peer(peer, reading, policy, context)).collect())
        }
    }
}

fn peer(peer: &CiliumPeer, reading: Reading, policy: &CiliumPolicy, context: &Context<'_>) -> Peer {
    match peer {
        CiliumPeer::Endpoints(selector) => endpoints(selector, reading, policy.namespace(), context),
        &CiliumPeer::Entity(entity) => self::entity(entity, reading, context),
        CiliumPeer::Block(block) => Peer::All(vec![addresses(block), outside(reading, context)]),
        CiliumPeer::CidrGroups { groups, except, .. } => match cidrs(groups, context) {
            Some(cidrs) => {
                let block = |cidr: IpNet| Peer::Addresses(IpBlock { cidr, except: Vec::new() });
                let cut = Peer::Any(except.iter().copied().map(block).collect()).negated();
                let any = Peer::Any(cidrs.into_iter().map(block).collect());
                Peer::All(vec![any, cut, outside(reading, context)])
            }
            None => unknown(reading, context),
        },
        // They extend the entity `remote-node`; that a deny spares the own node is not what its author expects.
        CiliumPeer::Nodes(selector) => match reading {
            Reading::Allow => {
                Peer::All(vec![nodes(selector.clone(), reading, context), Peer::OwnNode.negated()])
            }
            Reading::Deny => nodes(selector.clone(), reading, context),
        },
        CiliumPeer::Names(_) => unknown(reading, context),
    }
}

fn nobody() -> Peer {
    Peer::Any(Vec::new())
}

/// Addresses outside the cluster of which more is not known.
fn unknown(reading: Reading, context: &Context<'_>) -> Peer {
    match reading {
        Reading::Allow => nobody(),
        Reading::Deny => outside(reading, context),
    }
}

/// What is no pod: nodes and the outside, where nobody can tell one from the other.
fn no_pod() -> Peer {
    Peer::Pods(PodSelection::everyone()).negated()
}

/// What has no identity in the cluster.
fn outside(reading: Reading, context: &Context<'_>) -> Peer {
    match reading {
        _ if !context.unread_nodes.addresses => Peer::outside(),
        Reading::Allow => nobody(),
        Reading::Deny => no_pod(),
    }
}

/// The nodes whose labels match.
fn nodes(selector: Selector, reading: Reading, context: &Context<'_>) -> Peer {
    match reading {
        _ if !context.unread_nodes.concern(&selector) => Peer::Nodes(selector),
        Reading::Allow => nobody(),
        Reading::Deny if context.unread_nodes.addresses => no_pod(),
        Reading::Deny => Peer::Nodes(Selector::default()),
    }
}

fn addresses(block: &IpBlock) -> Peer {
    // In the model exceptions are smaller than the block.
    if block.except.contains(&block.cidr) { nobody() } else { Peer::Addresses(block.clone()) }
}

/// The CIDRs of the groups; nothing where a group is missing or could not be read.
fn cidrs(groups: &CiliumCidrGroups, context: &Context<'_>) -> Option<Vec<IpNet>> {
    let chosen: Vec<&CiliumCidrGroup> = self::groups(groups, context);
    // A group whose labels could not be read may be one of them.
    let misread = |group: &&CiliumCidrGroup| {
        let errors = group.meta.diagnostics.iter().filter(|problem| problem.is_error());
        errors.into_iter().any(|error| !error.field.starts_with("spec"))
    };
    if chosen.iter().any(|group| group.meta.has_errors()) || context.cidr_groups.iter().any(misread) {
        return None;
    }
    let named = matches!(groups, CiliumCidrGroups::Named(_));
    if named && chosen.is_empty() {
        return None;
    }
    let mut cidrs: Vec<IpNet> = chosen.iter().flat_map(|group| group.cidrs.iter().copied()).collect();
    cidrs.sort();
    cidrs.dedup();
    Some(cidrs)
}

/// The groups that are there.
pub(super) fn groups<'o>(groups: &CiliumCidrGroups, context: &Context<'o>) -> Vec<&'o CiliumCidrGroup> {
    let matches = |group: &&CiliumCidrGroup| match groups {
        CiliumCidrGroups::Named(name) => group.meta.key.name == *name,
        CiliumCidrGroups::Labelled(selector) => selector.matches(&group.meta.labels),
    };
    context.cidr_groups.iter().copied().filter(matches).collect()
}

fn entity(entity: CiliumEntity, reading: Reading, context: &Context<'_>) -> Peer {
    let within = |cidr: IpNet| {
        Peer::All(vec![Peer::Addresses(IpBlock { cidr, except: Vec::new() }), outside(reading, context)])
    };
    match entity {
        CiliumEntity::All => Peer::All(Vec::new()),
        CiliumEntity::World => outside(reading, context),
        CiliumEntity::WorldIpv4 => within(IpNet::V4(Ipv4Net::default())),
        CiliumEntity::WorldIpv6 => within(IpNet::V6(Ipv6Net::default())),
        CiliumEntity::Cluster => outside(reading.under(true), context).negated(),
        CiliumEntity::Host if reading == Reading::Deny && context.unread_nodes.addresses => no_pod(),
        CiliumEntity::Host => Peer::OwnNode,
        CiliumEntity::RemoteNode => {
            Peer::All(vec![nodes(Selector::default(), reading, context), Peer::OwnNode.negated()])
        }
        // It may be anywhere but in a pod.
        CiliumEntity::KubeApiServer if reading == Reading::Deny && !context.control_plane => no_pod(),
        CiliumEntity::KubeApiServer => {
            let with = |label: &str| Selector { requirements: vec![Requirement::Exists(label.to_owned())] };
            Peer::Any(CONTROL_PLANE.map(|label| nodes(with(label), reading, context)).into())
        }
        CiliumEntity::Ingress
        | CiliumEntity::Health
        | CiliumEntity::Init
        | CiliumEntity::Unmanaged
        | CiliumEntity::Nobody => nobody(),
    }
}

/// An endpoint selector of a peer. One that asks for entities speaks of everything; others of pods only, those of `own`
/// unless they name namespaces.
fn endpoints(selector: &CiliumSelector, reading: Reading, own: Option<&str>, context: &Context<'_>) -> Peer {
    if selector.names_entities() {
        let part = |requirement: &CiliumRequirement| {
            let holds = match requirement.key {
                // The label of an entity has the empty value.
                CiliumKey::Reserved(_)
                    if requirement
                        .values
                        .as_ref()
                        .is_some_and(|values| !values.iter().any(String::is_empty)) =>
                {
                    nobody()
                }
                // Inside a negation doubt is read the other way round.
                CiliumKey::Reserved(entity) => {
                    self::entity(entity, reading.under(requirement.negated), context)
                }
                _ => Peer::Pods(PodSelection { pods: plain(requirement), ..PodSelection::everyone() }),
            };
            if requirement.negated { holds.negated() } else { holds }
        };
        return Peer::All(selector.requirements.iter().map(part).collect());
    }
    let namespaces = match own {
        Some(own) if !selector.names_namespaces() => Namespaces::Named(own.to_owned()),
        _ => Namespaces::any(),
    };
    Peer::Pods(PodSelection { namespaces, pods: expression(selector) })
}

impl Reading {
    fn under(self, negated: bool) -> Self {
        match (self, negated) {
            (same, false) => same,
            (Self::Allow, true) => Self::Deny,
            (Self::Deny, true) => Self::Allow,
        }
    }
}

/// An endpoint selector as a test of a pod.
pub(super) fn expression(selector: &CiliumSelector) -> Expression {
    let part = |requirement: &CiliumRequirement| {
        let holds = plain(requirement);
        if requirement.negated { holds.negated() } else { holds }
    };
    Expression::All(selector.requirements.iter().map(part).collect())
}

/// A requirement without its negation.
fn plain(requirement: &CiliumRequirement) -> Expression {
    let attribute = match &requirement.key {
        CiliumKey::Label(key) => Attribute::Label(key.clone()),
        CiliumKey::Namespace => Attribute::Namespace,
        CiliumKey::NamespaceLabel(key) => Attribute::NamespaceLabel(key.clone()),
        CiliumKey::ServiceAccount => Attribute::ServiceAccount,
        CiliumKey::Cluster => return Expression::EVERYTHING,
        CiliumKey::Reserved(_) => return Expression::NOTHING,
    };
    let test = match &requirement.values {
        Some(values) => Test::In(values.clone()),
        None => Test::Exists,
    };
    Expression::Is(attribute, test)
}
