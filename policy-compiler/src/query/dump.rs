//! Every stage of a compilation in a form that can be read and compared: objects, model, rules, classifier.
//!
//! The classifier is dumped by asking it: for every pod and direction, who is treated how on which ports. So the
//! dump is of any engine, and is exact. Cost: as a matrix.

use super::end::{End, EndKind, ends};
use super::judge::Judge;
use super::ports::PortSpace;
use super::reach::Reach;
use super::sweep::{Mask, Sweep};
use super::words::{peers_in_words, pods, ports_in_words, rule_in_words};
use crate::api::Object;
use crate::classifier::{Step, Verdict};
use crate::model::{Applies, Direction, Hole, RuleAction, Undecided};
use serde_json::{Map, Value, json};

/// A stage of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The objects as they were read.
    Objects,
    /// Tiers, policies and rules.
    Model,
    /// Everything that can decide, by rule id.
    Rules,
    /// What the classifier answers.
    Classifier,
}

/// A stage, as records for scripts and lines for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageDump {
    /// One record for each object, policy, rule, or pod and direction.
    pub records: Vec<Value>,
    /// The same in words.
    pub text: String,
}

/// Dumps a stage.
pub fn dump(judge: &Judge, stage: Stage) -> StageDump {
    let (records, lines): (Vec<Value>, Vec<String>) = match stage {
        Stage::Objects => judge.compiler().objects().map(object).unzip(),
        Stage::Model => model(judge),
        Stage::Rules => rules(judge),
        Stage::Classifier => classifier(judge),
    };
    StageDump { records, text: lines.join("\n") }
}

fn object(object: &Object) -> (Value, String) {
    let meta = object.meta();
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = match &value {
            Value::Array(items) => items.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(set) => !set,
            _ => false,
        };
        if !empty {
            fields.insert(name.to_owned(), value);
        }
    };
    put("labels", json!(meta.labels));
    put("uid", json!(meta.uid));
    match object {
        Object::Node(node) => {
            put("addresses", json!(node.addresses));
            put("podCIDRs", json!(node.pod_cidrs));
        }
        Object::Pod(pod) => {
            put("node", json!(pod.node_name));
            put("phase", json!(format!("{:?}", pod.phase)));
            put("addresses", json!(pod.pod_ips));
            put("hostNetwork", json!(pod.host_network));
            let ports = pod.named_ports.iter().map(|port| {
                let protocol = crate::model::Protocol::new(port.protocol);
                json!(format!("{}={}/{protocol}", port.name, port.port))
            });
            put("namedPorts", ports.collect());
        }
        Object::NetworkPolicy(policy) => {
            let types = [("Ingress", policy.applies_ingress), ("Egress", policy.applies_egress)];
            put("policyTypes", types.iter().filter(|(_, on)| *on).map(|(name, _)| json!(name)).collect());
            put("ingressRules", json!(policy.ingress.len()));
            put("egressRules", json!(policy.egress.len()));
        }
        _ => {}
    }
    let details: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let line = format!("{} ({}) {}", meta.key, meta.origin, details.join(" "));
    let record = json!({
        "kind": meta.key.kind.name(), "namespace": meta.key.namespace, "name": meta.key.name,
        "origin": meta.origin.to_string(), "fields": fields,
    });
    (record, line.trim_end().to_owned())
}

fn model(judge: &Judge) -> (Vec<Value>, Vec<String>) {
    let (mut records, mut lines) = (Vec::new(), Vec::new());
    for tier in &judge.model().tiers {
        let undecided = match tier.undecided {
            Undecided::Deny => "deny",
            Undecided::Pass => "pass",
        };
        lines.push(format!("tier {} (order {}), undecided: {undecided}", tier.name, tier.order));
        for policy in &tier.policies {
            let subject = pods(&policy.subject);
            let types =
                Direction::ALL.into_iter().filter(|&direction| policy.applies(direction) != Applies::No);
            let types: Vec<&str> = types.map(Direction::name).collect();
            let isolating = Direction::ALL
                .into_iter()
                .filter(|&direction| policy.applies(direction) == Applies::Isolating);
            let isolating: Vec<&str> = isolating.map(Direction::name).collect();
            let origin = &policy.provenance.origin;
            lines.push(format!("  {} ({origin}) judges {} of {subject}", policy.name, types.join(", ")));
            let mut rules = Vec::new();
            for rule in &policy.rules {
                let action = match rule.action {
                    RuleAction::Allow => "allow",
                    RuleAction::Deny => "deny",
                    RuleAction::Pass => "pass",
                    RuleAction::Log => "log",
                };
                let (peers, ports) = (peers_in_words(&rule.peers), ports_in_words(&rule.ports));
                let (place, says) = (&rule.provenance, rule_in_words(rule));
                lines.push(format!("    {} ({}): {says}", place.field, place.origin));
                rules.push(json!({
                    "action": action, "direction": rule.direction.name(), "peers": peers, "ports": ports,
                    "says": says, "unreadable": rule.hole == Some(Hole::Unreadable), "field": place.field, "origin": place.origin.to_string(),
                }));
            }
            records.push(json!({
                "tier": tier.name, "policy": policy.name.to_string(), "order": policy.order.to_string(),
                "subject": subject, "directions": types, "isolates": isolating, "origin": origin.to_string(), "rules": rules,
            }));
        }
    }
    (records, lines)
}

fn rules(judge: &Judge) -> (Vec<Value>, Vec<String>) {
    let known = judge.compiled().rules.iter();
    known
        .map(|(id, info)| {
            let via: Vec<String> = info.via.iter().map(step).collect();
            let record = json!({
                "id": id.0, "action": info.action.name(), "direction": info.direction.name(),
                "reason": info.to_string(), "via": via,
            });
            let way = if via.is_empty() { String::new() } else { format!(", {}", via.join(", ")) };
            (record, format!("#{} {} {}: {info}{way}", id.0, info.action, info.direction))
        })
        .unzip()
}

fn step(step: &Step) -> String {
    match step {
        Step::Logged { policy, provenance } => format!("logged by {policy} {}", provenance.field),
        Step::Passed { tier, policy, provenance } => {
            format!("tier {tier} passed by {policy} {}", provenance.field)
        }
        Step::Undecided { tier } => format!("tier {tier} undecided"),
    }
}

fn classifier(judge: &Judge) -> (Vec<Value>, Vec<String>) {
    let compiled = judge.compiled();
    let (engine, bytes) = (compiled.classifier.name(), compiled.classifier.memory_bytes());
    let (subjects, rules) = (compiled.cluster.subjects.len(), compiled.rules.len());
    let mut lines = vec![format!("engine {engine}: {subjects} pods, {rules} rules, {bytes} bytes")];
    let mut records = vec![json!({"engine": engine, "pods": subjects, "rules": rules, "bytes": bytes})];
    let space = PortSpace::new(&[judge]);
    let mut sweep = Sweep::new(judge);
    let pods = judge.pods();
    let mut others = pods.clone();
    others.extend(ends(&[judge]));
    for pod in &pods {
        for direction in Direction::ALL {
            lines.push(format!("{} {direction}", pod.name));
            let mut peers = Vec::new();
            for other in &others {
                for (family, verdict, ports) in answers(&mut sweep, pod, other, direction, &space) {
                    let (action, id) = (verdict.action.name(), verdict.rule.0);
                    lines.push(format!("  {} IPv{family} {ports}: {action} #{id}", other.name));
                    peers.push(json!({
                        "peer": other.name, "family": family, "ports": ports, "verdict": action, "rule": id,
                    }));
                }
            }
            records.push(json!({"pod": pod.name, "direction": direction.name(), "peers": peers}));
        }
    }
    (records, lines)
}

/// What the classifier answers about one pair in one direction: a verdict for each set of ports.
fn answers(
    sweep: &mut Sweep<'_>,
    pod: &End,
    other: &End,
    direction: Direction,
    space: &PortSpace,
) -> Vec<(u8, Verdict, Reach)> {
    let mut all = Vec::new();
    // The other end is not judged here, whoever it is.
    let other = &End { kind: EndKind::Outside, ..other.clone() };
    for family in [4, 6] {
        let (Some(own), Some(remote)) = (pod.address(family), other.address(family)) else { continue };
        let samples = space.samples(family);
        match direction {
            Direction::Egress => sweep.ask((pod, own), (other, remote), samples),
            Direction::Ingress => sweep.ask((other, remote), (pod, own), samples),
        }
        let mut found: Vec<(Verdict, Mask)> = Vec::new();
        for stretch in 0..samples.len() {
            let [egress, ingress] = sweep.verdicts(stretch);
            let Some(verdict) = egress.or(ingress) else { continue };
            if let Some((_, mask)) = found.iter_mut().find(|(known, _)| *known == verdict) {
                mask.set(stretch);
            } else {
                let mut mask = Mask::default();
                mask.reset(samples.len());
                mask.set(stretch);
                found.push((verdict, mask));
            }
        }
        let reach = |mask: Mask| space.reach(|stretch| mask.has(stretch));
        all.extend(found.into_iter().map(|(verdict, mask)| (family, verdict, reach(mask))));
    }
    all
}
