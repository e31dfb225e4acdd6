//! Verdicts with their reasons, in the form scripts read. Fields may be added; none changes its meaning.

use super::end::{End, EndKind};
use super::judge::Judge;
use super::probe::{Probe, Transport};
use super::words::{peers_in_words, ports_in_words};
use crate::api::Provenance;
use crate::classifier::{RuleKind, Verdict};
use crate::model::{Action, PolicyName};
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
    fn of(provenance: &Provenance) -> Self {
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
    fn new(name: &PolicyName, place: Option<Place>) -> Self {
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
    /// With `default_deny`: the tier that denies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// With `default_deny`: the policies that isolate the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRef>,
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
            RuleKind::UnreadableObject { .. } => "unreadable_object",
            RuleKind::IpConflict { .. } => "ip_conflict",
            RuleKind::Misplaced { .. } => "misplaced",
            RuleKind::UnknownSubject => "unknown_pod",
        };
        let mut side = Self::plain(verdict.action, reason, Some(end.name.clone()), info.to_string());
        match &info.kind {
            RuleKind::Rule { policy, provenance } | RuleKind::Unreadable { policy, provenance } => {
                side.policy = Some(PolicyRef::new(policy, None));
                side.place = Some(Place::of(provenance));
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
            message,
        }
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

/// A [`Side`] with what people want to know beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SideDetail {
    /// What scripts are told.
    #[serde(flatten)]
    pub side: Side,
    /// What the deciding rule says, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
}

impl SideDetail {
    fn new(judge: &Judge, side: Side, end: &End, verdict: Option<Verdict>) -> Self {
        let says = verdict.and_then(|verdict| match &judge.rule_of(verdict).kind {
            RuleKind::Rule { policy, provenance } => {
                let rule = judge.rule(policy, provenance)?;
                let peers = peers_in_words(&rule.peers);
                let ports = ports_in_words(&rule.ports);
                let way = rule.direction.name();
                let preposition = if way == "egress" { "to" } else { "from" };
                Some(format!("{way} {preposition} {peers}, on {ports}"))
            }
            RuleKind::DefaultDeny { .. } => {
                let name = &end.name;
                Some(format!(
                    "default deny: {name} is isolated, and none of these policies allows the connection"
                ))
            }
            _ => None,
        });
        Self { side, says }
    }
}

/// An [`Answer`] for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// Who connects.
    pub src: String,
    /// To whom.
    pub dst: String,
    /// Protocol and port, like `8080/TCP`.
    pub port: String,
    /// The source's address that was taken.
    pub src_ip: IpAddr,
    /// The destination's.
    pub dst_ip: IpAddr,
    /// What the source's policies say.
    pub egress: SideDetail,
    /// What the destination's policies say.
    pub ingress: SideDetail,
}

impl Explanation {
    pub(super) fn new(judge: &Judge, probe: &Probe, source: &End, destination: &End, answer: Answer) -> Self {
        let transport: Transport = probe.transport;
        let ends = ((source, answer.src_ip), (destination, answer.dst_ip));
        let [egress, ingress] = judge.verdicts(ends.0, ends.1, transport, probe.src_port);
        Self {
            verdict: answer.verdict,
            src: source.name.clone(),
            dst: destination.name.clone(),
            port: transport.to_string(),
            src_ip: answer.src_ip,
            dst_ip: answer.dst_ip,
            egress: SideDetail::new(judge, answer.egress, source, egress),
            ingress: SideDetail::new(judge, answer.ingress, destination, ingress),
        }
    }
}
