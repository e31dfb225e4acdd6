//! Verdicts with their reasons, in the form scripts read. Fields may be added; none changes its meaning.

use super::end::{End, EndKind};
use super::judge::Judge;
use crate::api::Provenance;
use crate::classifier::{RuleKind, Step, Verdict};
use crate::model::{Action, Direction, PolicyName, RuleAction};
use serde::Serialize;
use std::net::IpAddr;

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Field path, like `spec.ingress[0]`.
    pub field: String,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Place {
    pub(super) fn of(provenance: &Provenance) -> Self {
        let origin = &provenance.origin;
        Self {
            field: provenance.field.clone(),
            file: origin.file.to_string(),
            line: origin.line,
            column: origin.column,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRef {
    /// Its kind, as manifests spell it.
    pub kind: String,
    /// Its namespace; empty where the kind has none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it was written; only where it is not the deciding rule that matters.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl PolicyRef {
    pub(super) fn new(name: &PolicyName, place: Option<Place>) -> Self {
        Self {
            kind: name.kind.to_string(),
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            place,
        }
    }
}

impl std::fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {}{slash}{}", self.kind, self.namespace, self.name)
    }
}

/// Something on the way to a verdict that did not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepRef {
    /// `logged`: a rule asks to note the connection; `passed`: a rule left its tier; `undecided`: policies of the tier
    /// apply to the pod, and none of their rules decided.
    pub step: &'static str,
    /// The tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// With `logged` and `passed`: the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// With `logged` and `passed`: where the rule was written.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl StepRef {
    fn new(judge: &Judge, step: &Step, direction: Direction) -> Self {
        let written = |policy, provenance| (Some(PolicyRef::new(policy, None)), Some(Place::of(provenance)));
        let (step, tier, (policy, place)) = match step {
            Step::Logged { policy, provenance } => {
                let tier = judge
                    .rule(policy, provenance, direction, RuleAction::Log)
                    .map(|(tier, _)| tier.name.clone());
                ("logged", tier, written(policy, provenance))
            }
            Step::Passed { tier, policy, provenance } => {
                ("passed", Some(tier.clone()), written(policy, provenance))
            }
            Step::Undecided { tier } => ("undecided", Some(tier.clone()), (None, None)),
        };
        Self { step, tier, policy, place }
    }
}

/// Why a connection is allowed to which policies applied, without deciding.
const UNDECIDED: &str = "allowed: no tier decides";

/// What one end of a connection says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// Why: `rule`, `default_deny`, `not_isolated`, `own_node`, `self`, `unreadable`, `unreadable_object`,
    /// `ip_conflict`, `misplaced`, `unknown_pod`, or `not_judged` where the end is no pod.
    pub reason: &'static str,
    /// The pod that was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// With `rule` and `unreadable`: the deciding policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// With `rule`, `unreadable` and `unreadable_object`: where that was written.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// With `rule`, `unreadable` and `default_deny`: the tier that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// With `default_deny`: the policies that isolate the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRef>,
    /// What was on the way to the verdict, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<StepRef>,
    /// The reason in words.
    pub message: String,
}

impl Side {
    pub(super) fn new(judge: &Judge, end: &End, verdict: Option<Verdict>) -> Self {
        let Some(verdict) = verdict else {
            let message = match end.kind {
                EndKind::Node => format!("not judged: {} is a node", end.name),
                _ => format!("not judged: {} is no pod", end.name),
            };
            return Self::plain(Action::Allow, "not_judged", None, message);
        };
        let info = judge.rule_of(verdict);
        let reason = match &info.kind {
            RuleKind::Rule { .. } => "rule",
            RuleKind::DefaultDeny { .. } => "default_deny",
            RuleKind::NotIsolated => "not_isolated",
            RuleKind::OwnNode => "own_node",
            RuleKind::SelfTraffic => "self",
            RuleKind::Unreadable { .. } => "unreadable",
            RuleKind::TooLarge { .. } => "too_large",
            RuleKind::UnreadableObject { .. } => "unreadable_object",
            RuleKind::IpConflict { .. } => "ip_conflict",
            RuleKind::Misplaced { .. } => "misplaced",
            RuleKind::UnknownSubject => "unknown_pod",
        };
        let message = match &info.kind {
            // Policies did apply: they are on the way.
            RuleKind::NotIsolated if !info.via.is_empty() => UNDECIDED.to_owned(),
            _ => info.to_string(),
        };
        let mut side = Self::plain(verdict.action, reason, Some(end.name.clone()), message);
        match &info.kind {
            RuleKind::Rule { policy, provenance }
            | RuleKind::Unreadable { policy, provenance }
            | RuleKind::TooLarge { policy, provenance } => {
                side.policy = Some(PolicyRef::new(policy, None));
                side.place = Some(Place::of(provenance));
                let rule = judge.rule(policy, provenance, info.direction, action_of(info.action));
                side.tier = rule.map(|(tier, _)| tier.name.clone());
            }
            RuleKind::DefaultDeny { tier, policies } => {
                side.tier = Some(tier.clone());
                let named = policies.iter();
                side.policies =
                    named.map(|name| PolicyRef::new(name, judge.place_of(name).map(Place::of))).collect();
            }
            RuleKind::UnreadableObject { provenance, .. } => side.place = Some(Place::of(provenance)),
            _ => {}
        }
        side.via = info.via.iter().map(|step| StepRef::new(judge, step, info.direction)).collect();
        side
    }

    fn plain(action: Action, reason: &'static str, pod: Option<String>, message: String) -> Self {
        Self {
            verdict: action.name(),
            reason,
            pod,
            policy: None,
            place: None,
            tier: None,
            policies: Vec::new(),
            via: Vec::new(),
            message,
        }
    }
}

/// The rules that decide so.
pub(super) const fn action_of(action: Action) -> RuleAction {
    match action {
        Action::Allow => RuleAction::Allow,
        Action::Deny => RuleAction::Deny,
    }
}

/// What becomes of a connection, and what each end says to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// `allow` if both ends allow it, else `deny`.
    pub verdict: &'static str,
    /// The source's address that was taken.
    pub src_ip: IpAddr,
    /// The destination's.
    pub dst_ip: IpAddr,
    /// What the source's policies say.
    pub egress: Side,
    /// What the destination's policies say.
    pub ingress: Side,
}

impl Answer {
    pub(super) fn new(src_ip: IpAddr, dst_ip: IpAddr, egress: Side, ingress: Side) -> Self {
        let allowed = [&egress, &ingress].iter().all(|side| side.verdict == Action::Allow.name());
        let verdict = if allowed { Action::Allow } else { Action::Deny };
        Self { verdict: verdict.name(), src_ip, dst_ip, egress, ingress }
    }
}
