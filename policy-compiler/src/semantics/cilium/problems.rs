//! What is wrong with Cilium's policies only because of what else the state holds.

use super::peers;
use crate::api::{
    CiliumCidrGroups, CiliumEntity, CiliumKey, CiliumPeer, CiliumPolicy, CiliumRule, Diagnostic, Provenance,
    Severity,
};
use crate::semantics::{Context, mixture};

/// What is wrong with the policy in this state.
pub(in crate::semantics) fn problems(policy: &CiliumPolicy, context: &Context<'_>) -> Vec<Diagnostic> {
    let mut problems: Vec<Diagnostic> = mixture::problem(&policy.meta, context).into_iter().collect();
    let rules = policy
        .specs
        .iter()
        .flat_map(|spec| [&spec.egress, &spec.egress_deny, &spec.ingress, &spec.ingress_deny])
        .flatten();
    for rule in rules {
        for peer in rule.body.iter().flat_map(|body| &body.peers).flatten() {
            problems.extend(of_peer(policy, rule, peer, context));
        }
    }
    problems
}

fn of_peer(
    policy: &CiliumPolicy,
    rule: &CiliumRule,
    peer: &CiliumPeer,
    context: &Context<'_>,
) -> Option<Diagnostic> {
    let api_server = |key: &CiliumKey| *key == CiliumKey::Reserved(CiliumEntity::KubeApiServer);
    match peer {
        CiliumPeer::CidrGroups { groups, provenance, .. } => {
            let found = peers::groups(groups, context);
            let (severity, message) = match (groups, found.first()) {
                (CiliumCidrGroups::Named(name), None) => {
                    (Severity::Error, format!("there is no CiliumCIDRGroup {name}"))
                }
                (CiliumCidrGroups::Labelled(_), None) => (
                    Severity::Warning,
                    "no CiliumCIDRGroup has these labels, so this is about nobody".to_owned(),
                ),
                _ => return None,
            };
            let expected = "a CiliumCIDRGroup in the state".to_owned();
            Some(diagnostic(policy, provenance, severity, message, expected))
        }
        CiliumPeer::Entity(CiliumEntity::KubeApiServer) => no_control_plane(policy, rule, context),
        CiliumPeer::Endpoints(selector) if selector.requirements.iter().any(|part| api_server(&part.key)) => {
            no_control_plane(policy, rule, context)
        }
        _ => None,
    }
}

/// Nobody knows where the API server is: allows of it are about nobody, denies about everything that is no pod.
fn no_control_plane(policy: &CiliumPolicy, rule: &CiliumRule, context: &Context<'_>) -> Option<Diagnostic> {
    if context.control_plane {
        return None;
    }
    let message =
        "no Node is labelled as the API server's, so this allows nothing, or denies all that is no pod";
    let [label, _] = peers::CONTROL_PLANE;
    let expected = format!("a Node with the label {label}, or toCIDRSet with the API server's addresses");
    Some(diagnostic(policy, &rule.provenance, Severity::Warning, message.to_owned(), expected))
}

fn diagnostic(
    policy: &CiliumPolicy,
    provenance: &Provenance,
    severity: Severity,
    message: String,
    expected: String,
) -> Diagnostic {
    Diagnostic {
        severity,
        origin: provenance.origin.clone(),
        object: Some(policy.meta.key.clone()),
        field: provenance.field.clone(),
        message,
        expected: Some(expected),
        help: None,
    }
}
