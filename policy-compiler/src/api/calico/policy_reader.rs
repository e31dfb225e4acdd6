//! Reads and validates a policy of Calico's as its API server does.
//!
//! `types` has a default of Calico's own: Ingress where there is no egress rule, Egress where there are egress rules
//! only, else both. A section of a direction that `types` does not name is not used, which is worth a warning.

use super::entity_reader::{read_selector, refuse};
use super::policy::{CalicoPolicy, CalicoPolicyBody, CalicoPolicySpec, CalicoSubject, StagedAction};
use super::rule_reader::read_rules;
use super::selector::LabelTest;
use super::tier::{CalicoOrder, read_order, read_tier_name};
use crate::api::diagnostic::Provenance;
use crate::api::meta::{OBJECT_FIELDS, RawMeta};
use crate::api::object::Kind;
use crate::api::policy_reader::read_policy_of;
use crate::api::reader::Reader;
use crate::api::tree::{Entry, Mark, Node, Value};
use crate::api::words::quoted;

const SPEC: [&str; 8] =
    ["tier", "order", "selector", "serviceAccountSelector", "types", "ingress", "egress", "performanceHints"];
const GLOBAL_SPEC: [&str; 4] = ["namespaceSelector", "doNotTrack", "preDNAT", "applyOnForward"];
const STAGED_ACTION: &str = "stagedAction";
/// Names that Calico's API server gives policies of other languages begin so.
const OTHERS: [&str; 2] = ["knp", "ossg"];

/// Reads a policy. What cannot be read leaves a hole in it and errors in the reader.
pub(in crate::api) fn read_calico_policy<'t>(
    reader: &mut Reader<'t>,
    raw: RawMeta<'_>,
    mark: Mark,
    entries: &'t [Entry],
) -> CalicoPolicy {
    let meta = raw.meta.clone();
    let mut at = Provenance { origin: meta.origin.clone(), field: "spec".into() };
    let spec = entries.iter().find(|entry| entry.key == "spec" && entry.value.value != Value::Null);
    let fields = spec.and_then(|entry| match &entry.value.value {
        Value::Mapping(fields) => Some(fields.as_slice()),
        _ => None,
    });
    let mut staged_action = Some(StagedAction::Set);
    let is_staged = matches!(
        meta.key.kind,
        Kind::CalicoStagedNetworkPolicy
            | Kind::CalicoStagedGlobalNetworkPolicy
            | Kind::CalicoStagedKubernetesNetworkPolicy
    );
    if let (true, Some(fields)) = (is_staged, fields) {
        reader.within("spec", |reader| {
            staged_action = reader.field(fields, STAGED_ACTION, read_staged_action).unwrap_or(staged_action);
            if staged_action == Some(StagedAction::Delete) {
                refuse_beside_delete(reader, fields);
            }
        });
    }
    let body = if meta.key.kind == Kind::CalicoStagedKubernetesNetworkPolicy {
        let policy = read_policy_of(reader, raw, mark, entries, &[STAGED_ACTION]);
        at = policy.spec.clone();
        CalicoPolicyBody::Kubernetes(policy)
    } else {
        CalicoPolicyBody::Calico(read_spec_of(reader, &meta.key.name, meta.key.kind, mark, entries, &mut at))
    };
    CalicoPolicy { meta, spec: at, body: Box::new(body), staged_action }
}

fn read_staged_action<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<StagedAction> {
    Some(match reader.string(node)? {
        "Set" | "" => StagedAction::Set,
        "Delete" => StagedAction::Delete,
        "Learn" => StagedAction::Learn,
        "Ignore" => StagedAction::Ignore,
        other => {
            reader.unknown_word(node.mark, other, "a staged action", &["Set", "Delete", "Learn", "Ignore"]);
            return None;
        }
    })
}

/// What is to be deleted has nothing to say.
fn refuse_beside_delete<'t>(reader: &mut Reader<'t>, fields: &'t [Entry]) {
    let is_said = |entry: &&Entry| {
        let empty = match &entry.value.value {
            Value::Null => true,
            Value::Sequence(items) => items.is_empty(),
            Value::Mapping(entries) => entries.is_empty(),
            Value::Scalar(scalar) => scalar.text.is_empty(),
        };
        !empty && !matches!(entry.key.as_str(), STAGED_ACTION | "tier")
    };
    for entry in fields.iter().filter(is_said) {
        reader.within(&entry.key, |reader| {
            reader.error(
                entry.key_mark,
                "a field beside stagedAction: Delete",
                "tier and stagedAction alone",
            );
        });
    }
}

fn read_spec_of<'t>(
    reader: &mut Reader<'t>,
    name: &str,
    kind: Kind,
    mark: Mark,
    entries: &'t [Entry],
    at: &mut Provenance,
) -> CalicoPolicySpec {
    let mut policy = CalicoPolicySpec {
        tier: Some("default".to_owned()),
        tier_at: at.clone(),
        order: CalicoOrder::LAST,
        subject: Some(CalicoSubject::default()),
        applies_ingress: true,
        applies_egress: false,
        ingress: Vec::new(),
        egress: Vec::new(),
        unreadable: None,
    };
    let errors = reader.error_count();
    reader.refuse_unknown(entries, &OBJECT_FIELDS);
    if reader.error_count() > errors {
        policy.unreadable = Some(reader.provenance(mark));
    }
    reader.field(entries, "spec", |reader, node| {
        *at = reader.provenance(node.mark);
        policy.tier_at = at.clone();
        match reader.mapping(node) {
            Some(spec) => read_spec(reader, &mut policy, kind, spec, node.mark),
            None => policy.subject = None,
        }
    });
    if let (Some(tier), Some((prefix, _))) = (&policy.tier, name.split_once('.'))
        && prefix != tier
        && !OTHERS.contains(&prefix)
    {
        let message = format!("the name begins with {}, but the tier is {}", quoted(prefix), quoted(tier));
        reader.warning(mark, message, "spec.tier and the first part of the name to be the same");
    }
    policy
}

fn read_spec<'t>(
    reader: &mut Reader<'t>,
    policy: &mut CalicoPolicySpec,
    kind: Kind,
    spec: &'t [Entry],
    mark: Mark,
) {
    let is_global = matches!(kind, Kind::CalicoGlobalNetworkPolicy | Kind::CalicoStagedGlobalNetworkPolicy);
    let is_staged = matches!(kind, Kind::CalicoStagedNetworkPolicy | Kind::CalicoStagedGlobalNetworkPolicy);
    let mut known = SPEC.to_vec();
    known.extend(GLOBAL_SPEC.iter().filter(|_| is_global));
    known.extend(is_staged.then_some(STAGED_ACTION));
    let errors = reader.error_count();
    reader.refuse_unknown(spec, &known);
    if is_global {
        refuse_host_endpoints(reader, spec);
    }
    if reader.error_count() > errors {
        policy.unreadable = Some(reader.provenance(mark));
    }
    let errors = reader.error_count();
    let mut at = policy.tier_at.clone();
    let tier = reader.field(spec, "tier", |reader, node| read_tier_name(reader, node, &mut at));
    policy.tier_at = at;
    policy.tier = tier.unwrap_or(policy.tier.take());
    policy.order = reader.field(spec, "order", read_order).flatten().unwrap_or(CalicoOrder::LAST);
    if reader.error_count() > errors {
        policy.tier = None;
    }
    policy.subject = read_subject(reader, spec, is_global);
    policy.ingress = reader.field(spec, "ingress", read_rules).unwrap_or_default();
    policy.egress = reader.field(spec, "egress", read_rules).unwrap_or_default();
    policy.applies_ingress = policy.egress.is_empty() || !policy.ingress.is_empty();
    policy.applies_egress = !policy.egress.is_empty();
    reader.field(spec, "types", |reader, node| read_types(reader, policy, node));
}

/// Fields that are about packets no pod's policy sees. `false` is what they are without being written.
fn refuse_host_endpoints<'t>(reader: &mut Reader<'t>, spec: &'t [Entry]) {
    for field in ["doNotTrack", "preDNAT", "applyOnForward"] {
        let set = reader.field(spec, field, Reader::boolean).flatten();
        if set == Some(true) {
            let message = "policy of host endpoints is not served by this release";
            refuse(reader, spec, field, message, "false, for a policy of pods");
        }
    }
}

fn read_subject<'t>(reader: &mut Reader<'t>, spec: &'t [Entry], is_global: bool) -> Option<CalicoSubject> {
    let errors = reader.error_count();
    let mut subject = CalicoSubject {
        selector: reader.field(spec, "selector", read_selector).flatten(),
        service_accounts: reader.field(spec, "serviceAccountSelector", read_selector).flatten(),
        namespaces: None,
    };
    if is_global {
        subject.namespaces = reader.field(spec, "namespaceSelector", read_selector).flatten();
    }
    // What Calico says of every pod.
    let of_pods = |label: &str, test: &LabelTest| match label {
        "projectcalico.org/orchestrator" => Some(test.holds("k8s")),
        "projectcalico.org/namespace" => (*test == LabelTest::Exists).then_some(true),
        _ => None,
    };
    let nobody =
        subject.selector.as_ref().is_some_and(|selector| selector.certainly(&of_pods) == Some(false));
    if nobody {
        reader.field(spec, "selector", |reader, node| {
            let message = "the selector holds of no pod; host endpoints are not judged by weir";
            reader.warning(node.mark, message, "a selector that holds of pods");
        });
    }
    (reader.error_count() == errors).then_some(subject)
}

fn read_types<'t>(reader: &mut Reader<'t>, policy: &mut CalicoPolicySpec, node: &'t Node) {
    let errors = reader.error_count();
    let (mut ingress, mut egress) = (false, false);
    reader.each(node, |reader, node| {
        let seen = match reader.string(node) {
            Some("Ingress") => &mut ingress,
            Some("Egress") => &mut egress,
            Some(other) => {
                reader.unknown_word(node.mark, other, "a policy type", &["Ingress", "Egress"]);
                return;
            }
            None => return,
        };
        if std::mem::replace(seen, true) {
            reader.error(node.mark, "a policy type given twice", "each at most once");
        }
    });
    if reader.error_count() > errors {
        policy.unreadable = Some(reader.provenance(node.mark));
        return;
    }
    // An empty list is none.
    if !ingress && !egress {
        return;
    }
    for (applies, rules, name) in [(ingress, &policy.ingress, "ingress"), (egress, &policy.egress, "egress")]
    {
        if !applies && !rules.is_empty() {
            let message = format!("types leaves out this direction, so the rules under {name} are not used");
            reader.warning(node.mark, message, "the direction in types, or no rules for it");
        }
    }
    (policy.applies_ingress, policy.applies_egress) = (ingress, egress);
}
