//! One end of a rule as a formula of the model: networks, and selectors over pods and network sets.
//!
//! As soon as a policy of a namespace uses any selector, `notSelector` included, only what is in its namespace (or in
//! those of `namespaceSelector`) matches. `notSelector` itself takes away whatever it holds of, anywhere. A namespace
//! selector picks namespaces: what is in none matches only `global()`. A service account is a pod's: sets have none.

use super::expressions::{Labels, Seen, all, expression, seen};
use crate::api::{CalicoEntity, CalicoNamespaces, CalicoNetworkSet, CalicoSelector, IpBlock};
use crate::model::{Attribute, Expression, Namespaces, Peer, PodSelection, Test};
use crate::semantics::context::NetworkSets;
use ipnet::IpNet;

/// Where selectors look.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// At everything.
    Everywhere,
    /// At what is in this namespace.
    Own(&'a str),
    /// At what is in a namespace of which this holds.
    Matching(&'a CalicoSelector),
    /// At what is in no namespace.
    Global,
}

/// A rule that may mean a set which could not be read cannot be read either.
pub(super) struct Unreadable;

/// What the end must be; nothing where it may be anything. `own_namespace` is the policy's, if it lives in one.
pub(super) fn end(
    entity: &CalicoEntity,
    own_namespace: Option<&str>,
    sets: &NetworkSets<'_>,
) -> Result<Vec<Peer>, Unreadable> {
    let mut parts = Vec::new();
    if !entity.nets.is_empty() {
        parts.push(networks(&entity.nets));
    }
    if !entity.not_nets.is_empty() {
        parts.push(networks(&entity.not_nets).negated());
    }
    let asks = entity.selector.is_some() || entity.service_accounts.is_given() || entity.namespaces.is_some();
    let scope = match (&entity.namespaces, own_namespace) {
        (Some(CalicoNamespaces::Global), _) => Scope::Global,
        (Some(CalicoNamespaces::Matching(selector)), _) => Scope::Matching(selector),
        (None, Some(namespace)) => Scope::Own(namespace),
        (None, None) => Scope::Everywhere,
    };
    if asks || (entity.not_selector.is_some() && own_namespace.is_some()) {
        parts.push(selected(entity, scope, sets)?);
    }
    if let Some(selector) = &entity.not_selector {
        let taken = CalicoEntity { selector: Some(selector.clone()), ..CalicoEntity::default() };
        parts.push(selected(&taken, Scope::Everywhere, sets)?.negated());
    }
    Ok(parts)
}

fn networks(nets: &[IpNet]) -> Peer {
    let block = |net: &IpNet| Peer::Addresses(IpBlock { cidr: *net, except: Vec::new() });
    match nets {
        [only] => block(only),
        nets => Peer::Any(nets.iter().map(block).collect()),
    }
}

/// The pods and network sets in the scope of which the entity's selectors hold.
fn selected(entity: &CalicoEntity, scope: Scope<'_>, sets: &NetworkSets<'_>) -> Result<Peer, Unreadable> {
    let mut peers: Vec<Peer> = pods(entity, scope).map(Peer::Pods).into_iter().collect();
    if !entity.service_accounts.is_given() {
        for set in &sets.sets {
            let certain = set.labels_known && !sets.is_namespace_unreadable(set);
            if !in_scope(set, scope, sets, certain)
                || (certain && !holds(entity.selector.as_ref(), set, sets))
            {
                continue;
            }
            let Some(nets) = set.nets.as_ref().filter(|_| certain) else { return Err(Unreadable) };
            peers.extend((!nets.is_empty()).then(|| networks(nets)));
        }
    }
    match <[Peer; 1]>::try_from(peers) {
        Ok([only]) => Ok(only),
        Err(peers) => Ok(Peer::Any(peers)),
    }
}

fn pods(entity: &CalicoEntity, scope: Scope<'_>) -> Option<PodSelection> {
    let mut parts = Vec::new();
    let namespaces = match scope {
        Scope::Global => return None,
        Scope::Own(namespace) => Namespaces::Named(namespace.to_owned()),
        Scope::Everywhere => Namespaces::any(),
        Scope::Matching(selector) => {
            parts.push(expression(selector, Labels::Namespace));
            Namespaces::any()
        }
    };
    parts.extend(entity.selector.iter().map(|selector| expression(selector, Labels::Own)));
    let accounts = &entity.service_accounts;
    parts.extend(accounts.selector.iter().map(|selector| expression(selector, Labels::ServiceAccount)));
    if !accounts.names.is_empty() {
        let mut names = accounts.names.clone();
        names.sort();
        names.dedup();
        parts.push(Expression::Is(Attribute::ServiceAccount, Test::In(names)));
    }
    let pods = all(parts);
    (pods != Expression::NOTHING).then_some(PodSelection { namespaces, pods })
}

/// Whether the scope has the set; where its labels are not `certain`, whether it might.
fn in_scope(set: &CalicoNetworkSet, scope: Scope<'_>, sets: &NetworkSets<'_>, certain: bool) -> bool {
    match (scope, set.namespace()) {
        (Scope::Everywhere, _) | (Scope::Global, None) => true,
        (Scope::Own(wanted), Some(namespace)) => wanted == namespace,
        (Scope::Matching(selector), Some(_)) => {
            !certain || selector.matches(&|key| label(&seen(key, Labels::Namespace), set, sets))
        }
        (Scope::Own(_) | Scope::Matching(_), None) | (Scope::Global, Some(_)) => false,
    }
}

fn holds(selector: Option<&CalicoSelector>, set: &CalicoNetworkSet, sets: &NetworkSets<'_>) -> bool {
    selector.is_none_or(|selector| selector.matches(&|key| label(&seen(key, Labels::Own), set, sets)))
}

/// What Calico shows of a set: its labels, its namespace and that one's labels.
fn label<'s>(seen: &Seen<'_>, set: &'s CalicoNetworkSet, sets: &'s NetworkSets<'_>) -> Option<&'s str> {
    match seen {
        Seen::Own(key) => set.meta.labels.get(*key).map(String::as_str),
        Seen::Namespace => set.namespace(),
        Seen::OfNamespace(key) => sets.namespace_label(set.namespace()?, key),
        Seen::ServiceAccount | Seen::OfServiceAccount(_) | Seen::Orchestrator => None,
    }
}
