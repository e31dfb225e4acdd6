//! Policies that do something else than a newcomer reads in them: one peer or two, what `policyTypes` and empty lists
//! do, what an empty rule does.
//!
//! These are guesses at what was meant, so each asks for evidence before it speaks; the evidence is said with each.

use super::scene::{Remote, Scene};
use super::selectors::peer_field;
use super::{Findings, Lint};
use crate::api::{Kind, NetworkPolicy, Object};
use crate::model::{
    Applies, Direction, Namespaces, Peer, Peers, PodSelection, Policy, Ports, Rule, RuleAction,
};

/// Words in names of policies that are to keep something out.
const STRICT: [&str; 6] = ["deny", "isolat", "block", "restrict", "lock", "quarantine"];

pub(super) fn policy(scene: &Scene<'_>, policy: &Policy, findings: &mut Findings) {
    for rule in policy.rules.iter().filter(|rule| rule.hole.is_none()) {
        probably_one(scene, policy, rule, findings);
    }
    for direction in Direction::ALL {
        let rules: Vec<&Rule> = policy.rules.iter().filter(|rule| rule.direction == direction).collect();
        if let (Applies::No, Some(rule)) = (policy.applies(direction), rules.first()) {
            section_ignored(policy, direction, rule, findings);
        }
        if policy.applies(direction) == Applies::Isolating {
            empty_rules(scene, policy, direction, &rules, findings);
        }
    }
}

fn section_ignored(policy: &Policy, direction: Direction, rule: &Rule, findings: &mut Findings) {
    findings.add(
        Lint::SectionIgnored,
        &policy.name,
        (&format!("{}.{direction}", policy.provenance.field), &rule.provenance.origin),
        format!("the {direction} rules have no effect: the policy's types leave {direction} out"),
        "name both directions in the types",
    );
}

fn is_strict(policy: &Policy) -> bool {
    let name = policy.name.name.to_lowercase();
    STRICT.iter().any(|word| name.contains(word))
}

fn about_everything(rule: &Rule) -> bool {
    rule.local.is_none()
        && rule.peers == Peers::Any
        && rule.ports == Ports::Any
        && rule.not_ports.is_empty()
        && rule.source_ports == Ports::Any
        && rule.not_source_ports.is_empty()
}

/// Rules that are about nobody, and rules that are about everything.
fn empty_rules(
    scene: &Scene<'_>,
    policy: &Policy,
    direction: Direction,
    rules: &[&Rule],
    findings: &mut Findings,
) {
    if matches!(policy.name.kind, Kind::CiliumNetworkPolicy | Kind::CiliumClusterwideNetworkPolicy) {
        cilium(scene, policy, direction, rules, findings);
    }
    let open = rules.iter().find(|rule| rule.action == RuleAction::Allow && about_everything(rule));
    let (Some(open), true) = (open, is_additive(policy.name.kind)) else { return };
    let (of, what) = match direction {
        Direction::Ingress => ("ingress: [{}]", "everybody is let in"),
        Direction::Egress => ("egress: [{}]", "everybody may be reached"),
    };
    // Evidence that it was not meant: the name speaks of denying, or other rules are made pointless by it.
    let others = pointless(scene, policy, direction, open);
    let message = match &others[..] {
        [] if is_strict(policy) => {
            format!("an empty rule is about everything, so {what}: {of} isolates nobody")
        }
        [] => return,
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and of {} more", rest.len()) };
            format!(
                "an empty rule is about everything, so {what}, and the rules of {first}{more} say nothing more"
            )
        }
    };
    findings.add(
        Lint::AllowsEverything,
        &policy.name,
        (&open.provenance.field, &open.provenance.origin),
        message,
        &format!("to deny everything, write no rule at all ({direction}: []); to allow everything, keep this policy alone"),
    );
}

/// What isolates in Cilium's policies and does not look like it.
///
/// Evidence that it was not meant: the name does not speak of denying; of rules that only deny, that nothing else allows
/// the pods anything, so that what they leave is denied too.
fn cilium(
    scene: &Scene<'_>,
    policy: &Policy,
    direction: Direction,
    rules: &[&Rule],
    findings: &mut Findings,
) {
    let field = format!("{}.{direction}", policy.provenance.field);
    if let (Some(first), true) =
        (rules.first(), rules.iter().all(|rule| rule.peers == Peers::OneOf(Vec::new())))
        && !is_strict(policy)
    {
        findings.add(
            Lint::AllowsNobody,
            &policy.name,
            (&field, &first.provenance.origin),
            format!(
                "an empty {direction} rule selects nobody, so everything is denied; in a NetworkPolicy it would \
                 allow everything"
            ),
            "to allow everything, write fromEntities or toEntities: [all]; to deny, say so in the policy's name",
        );
    }
    let subjects = scene.subjects(policy);
    let allowed = scene.judge.model().tiers.iter().flat_map(|tier| &tier.policies).any(|other| {
        let allows = |rule: &Rule| rule.direction == direction && rule.action == RuleAction::Allow;
        other.rules.iter().any(allows) && subjects.iter().any(|pod| other.subject.matches(&pod.attributes))
    });
    let denies = |rule: &Rule| rule.direction == direction && rule.action == RuleAction::Deny;
    let mut written = scene.judge.policies_named(&policy.name);
    let denies = written.any(|(_, policy)| policy.rules.iter().any(denies));
    if rules.is_empty() && denies && !subjects.is_empty() && !allowed {
        findings.add(
            Lint::AllowsNobody,
            &policy.name,
            (&format!("{field}Deny"), &policy.provenance.origin),
            format!("the {direction} rules only deny, and yet all other {direction} is denied too: nothing allows any"),
            &format!("to deny only what they name, write enableDefaultDeny: {{{direction}: false}}"),
        );
    }
}

/// Languages in which rules only add up, whatever their order.
pub(super) const fn is_additive(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::CalicoStagedKubernetesNetworkPolicy
            | Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
    )
}

/// The additive policies whose allowing rules of the direction are about pods of this policy's only.
fn pointless(scene: &Scene<'_>, policy: &Policy, direction: Direction, open: &Rule) -> Vec<String> {
    let subjects = scene.subjects(policy);
    let mut names = Vec::new();
    for other in scene.judge.model().tiers.iter().flat_map(|tier| &tier.policies) {
        let mut rules = other.rules.iter().filter(|rule| {
            rule.direction == direction
                && rule.action == RuleAction::Allow
                && rule.provenance != open.provenance
                && !about_everything(rule)
        });
        if !is_additive(other.name.kind) || rules.next().is_none() {
            continue;
        }
        let theirs = scene.subjects(other);
        let covered = theirs.iter().all(|pod| subjects.iter().any(|own| std::ptr::eq(own.pod, pod.pod)));
        if !theirs.is_empty() && covered {
            names.push(other.name.to_string());
        }
    }
    names
}

/// A peer that is all pods of some namespaces, then one that is some pods of the policy's own namespace.
///
/// Evidence for one peer: pods of those namespaces meet the second selector, or none of the own namespace does, or
/// there are no such namespaces to tell.
fn probably_one(scene: &Scene<'_>, policy: &Policy, rule: &Rule, findings: &mut Findings) {
    if !is_kubernetes(policy.name.kind) {
        return;
    }
    for (position, pair) in rule.peers.listed().windows(2).enumerate() {
        let [
            Peer::Pods(PodSelection { namespaces: namespaces @ Namespaces::Matching(_), pods: all }),
            Peer::Pods(PodSelection { namespaces: own @ Namespaces::Named(_), pods }),
        ] = pair
        else {
            continue;
        };
        if !all.is_everything() || pods.is_everything() {
            continue;
        }
        let among = |namespaces: &Namespaces, all: bool| {
            scene.pods.iter().any(|seen| {
                let of = namespaces.matches(seen.attributes.namespace, seen.attributes.namespace_labels);
                of && (all || pods.matches(&seen.attributes))
            })
        };
        if among(own, false) && among(namespaces, true) && !among(namespaces, false) {
            continue;
        }
        findings.add(
            Lint::PeersProbablyOne,
            &policy.name,
            (&peer_field(policy, rule, position + 1), &rule.provenance.origin),
            "two peers: all pods of those namespaces, or these pods of the policy's own namespace".to_owned(),
            "if pods in those namespaces were meant, write both selectors in one element: remove the '-' before \
             podSelector",
        );
    }
}

/// Whether a peer with both selectors, that matches nobody, was meant as two: its pods are in the policy's own
/// namespace, and its namespaces have others.
pub(super) fn probably_two(scene: &Scene<'_>, policy: &Policy, peer: &Peer) -> bool {
    let Peer::Pods(PodSelection { namespaces: Namespaces::Matching(selector), pods }) = peer else {
        return false;
    };
    let (Namespaces::Named(own), false) = (&policy.subject.namespaces, selector.requirements.is_empty())
    else {
        return false;
    };
    if pods.is_everything() || !is_kubernetes(policy.name.kind) {
        return false;
    }
    let alone = |namespaces: Namespaces, pods| Peer::Pods(PodSelection { namespaces, pods });
    let here = alone(Namespaces::Named(own.clone()), pods.clone());
    let there = alone(Namespaces::Matching(selector.clone()), crate::model::Expression::EVERYTHING);
    [here, there].iter().all(|peer| scene.pods.iter().any(|seen| scene.holds(peer, Remote::Pod(*seen))))
}

const fn is_kubernetes(kind: Kind) -> bool {
    matches!(kind, Kind::NetworkPolicy | Kind::CalicoStagedKubernetesNetworkPolicy)
}

/// What the model no longer shows: policies that say nothing, and how a NetworkPolicy came by its directions.
pub(super) fn objects(scene: &Scene<'_>, findings: &mut Findings) {
    for object in scene.judge.compiler().objects() {
        let in_force = is_enforced(object.key().kind) && object.diagnostics().is_empty();
        let mut made = scene.judge.policies_named(object.key());
        if in_force && made.all(|(_, made)| made.egress == Applies::No && made.ingress == Applies::No) {
            findings.add(
                Lint::SaysNothing,
                object.key(),
                ("spec", object.origin()),
                "the policy has no rule in any direction: it neither allows nor denies anything".to_owned(),
                "write a rule, or remove the policy",
            );
        }
        let Object::NetworkPolicy(policy) = object else { continue };
        for (direction, applies, rules) in [
            (Direction::Ingress, policy.applies_ingress, &policy.ingress),
            (Direction::Egress, policy.applies_egress, &policy.egress),
        ] {
            if let (false, Some(rule)) = (applies, rules.first()) {
                findings.add(
                    Lint::SectionIgnored,
                    &policy.meta.key,
                    (&format!("spec.{direction}"), &rule.provenance.origin),
                    format!("the {direction} rules have no effect: policyTypes leaves {direction} out"),
                    "name both directions in policyTypes",
                );
            }
        }
        types(policy, findings);
    }
}

fn types(policy: &NetworkPolicy, findings: &mut Findings) {
    if policy.types_written {
        return;
    }
    let origin = &policy.spec.origin;
    if policy.ingress.is_empty() && !policy.egress.is_empty() {
        findings.add(
            Lint::IsolatesIngressToo,
            &policy.meta.key,
            ("spec.policyTypes", origin),
            "the policy has egress rules alone, and yet lets nobody in: without policyTypes it is about ingress too"
                .to_owned(),
            "write policyTypes: [Egress], or [Ingress, Egress] if that was meant",
        );
    }
    if let Some(place) = &policy.empty_egress {
        findings.add(
            Lint::EgressNotIsolated,
            &policy.meta.key,
            (&place.field, &place.origin),
            "egress without a rule isolates nobody: without policyTypes the policy is about ingress alone"
                .to_owned(),
            "to deny egress, write policyTypes: [Ingress, Egress], or [Egress]",
        );
    }
}

/// Kinds of policies that are in force, which staged ones are not.
pub(super) const fn is_enforced(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::ClusterNetworkPolicy
            | Kind::AdminNetworkPolicy
            | Kind::BaselineAdminNetworkPolicy
            | Kind::CalicoNetworkPolicy
            | Kind::CalicoGlobalNetworkPolicy
            | Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
    )
}
