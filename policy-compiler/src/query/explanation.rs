//! An answer for people: who decided, in words, and what was on the way.
//!
//! Built on the [`Answer`] that scripts get. What is added comes from the model, by the place of the rule that the
//! classifier named; it explains the verdict and never makes one.

use super::answer::{Answer, PolicyRef, Side, StepRef, action_of};
use super::end::End;
use super::judge::Judge;
use super::probe::Probe;
use super::words::rule_in_words;
use crate::classifier::{RuleKind, Step, Verdict};
use crate::model::{Applies, Direction, RuleAction, Undecided};
use serde::Serialize;
use std::net::IpAddr;

/// Most rules of a policy that are put in words where none of them matched.
const MAX_RULES: usize = 4;

/// A step in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepDetail {
    /// What scripts are told.
    #[serde(flatten)]
    pub step: StepRef,
    /// What the rule says, and what follows.
    pub says: String,
}

/// A policy that isolates, with what it does allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyDetail {
    /// The policy, and where it was written.
    #[serde(flatten)]
    pub policy: PolicyRef,
    /// Its rules of the direction, in words: none of them is about the connection.
    pub rules: Vec<String>,
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
    /// What was on the way, in order.
    #[serde(rename = "via", skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDetail>,
    /// With `default_deny`: the policies that isolate the pod, and what they do allow.
    #[serde(rename = "policies", skip_serializing_if = "Vec::is_empty")]
    pub isolated_by: Vec<PolicyDetail>,
}

impl SideDetail {
    fn new(judge: &Judge, side: Side, end: &End, verdict: Option<Verdict>) -> Self {
        let mut detail = Self { side, says: None, steps: Vec::new(), isolated_by: Vec::new() };
        let Some(info) = verdict.map(|verdict| judge.rule_of(verdict)) else { return detail };
        let direction = info.direction;
        detail.steps = std::mem::take(&mut detail.side.via)
            .into_iter()
            .zip(&info.via)
            .map(|(step, meant)| StepDetail { step, says: step_in_words(judge, meant, direction) })
            .collect();
        match &info.kind {
            RuleKind::Rule { policy, provenance } => {
                let rule = judge.rule(policy, provenance, direction, action_of(info.action));
                detail.says = rule.map(|(_, rule)| rule_in_words(rule));
            }
            RuleKind::DefaultDeny { policies, .. } => {
                let name = &end.name;
                let which = if policies.len() == 1 {
                    "this policy does not allow"
                } else {
                    "none of these policies allows"
                };
                detail.says = Some(format!("default deny: {name} is isolated, and {which} the connection"));
                let named = std::mem::take(&mut detail.side.policies).into_iter().zip(policies);
                detail.isolated_by = named
                    .map(|(policy, name)| {
                        let written = judge.policies_named(name);
                        let rules = written
                            .flat_map(|(_, policy)| &policy.rules)
                            .filter(|rule| rule.direction == direction);
                        let mut rules: Vec<String> = rules.map(rule_in_words).collect();
                        let more = rules.len().saturating_sub(MAX_RULES);
                        if more > 1 {
                            rules.truncate(MAX_RULES);
                            rules.push(format!("and {more} more rules"));
                        }
                        PolicyDetail { policy, rules }
                    })
                    .collect();
            }
            RuleKind::NotIsolated if !info.via.is_empty() => {
                detail.says = Some(detail.side.message.clone());
            }
            _ => {}
        }
        detail
    }
}

fn step_in_words(judge: &Judge, step: &Step, direction: Direction) -> String {
    let rule = |policy, provenance, action| {
        let rule = judge.rule(policy, provenance, direction, action);
        rule.map(|(_, rule)| rule_in_words(rule)).unwrap_or_default()
    };
    match step {
        Step::Logged { policy, provenance } => rule(policy, provenance, RuleAction::Log),
        Step::Passed { policy, provenance, tier } => {
            format!("{}: the rest of tier {tier} is left out", rule(policy, provenance, RuleAction::Pass))
        }
        Step::Undecided { tier } => {
            let found = judge.model().tiers.iter().find(|known| known.name == *tier);
            let passes = found.is_some_and(|tier| tier.undecided == Undecided::Pass);
            let isolating = found.is_some_and(|tier| {
                tier.policies.iter().any(|policy| policy.applies(direction) == Applies::Isolating)
            });
            let why = match (passes, isolating) {
                (true, _) => ", and the tier passes what it does not decide",
                (false, true) => ", and none that applies isolates the pod",
                (false, false) => ", and none of its policies isolates",
            };
            format!("policies of tier {tier} apply, none of their rules is about the connection{why}")
        }
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
    /// The source port, where the protocol has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
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
        let ends = ((source, answer.src_ip), (destination, answer.dst_ip));
        let [egress, ingress] = judge.verdicts(ends.0, ends.1, probe.transport, probe.src_port);
        Self {
            verdict: answer.verdict,
            src: source.name.clone(),
            dst: destination.name.clone(),
            port: probe.transport.to_string(),
            src_port: probe.transport.has_ports().then_some(probe.src_port),
            src_ip: answer.src_ip,
            dst_ip: answer.dst_ip,
            egress: SideDetail::new(judge, answer.egress, source, egress),
            ingress: SideDetail::new(judge, answer.ingress, destination, ingress),
        }
    }
}
