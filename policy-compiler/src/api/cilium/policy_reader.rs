//! Reads CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy: `spec` and `specs`, their subjects and sections.
//!
//! A section without elements is no section. One that denies isolates as one that allows does; `enableDefaultDeny` says
//! otherwise where it is given. `description`, `labels` and `log` say nothing about packets. A field that this reader does
//! not know is an error at any depth.

use super::policy::{CiliumPolicy, CiliumRule, CiliumSpec, CiliumSubject};
use super::rule_reader::{Section, read_rule};
use super::selector::{CiliumKey, CiliumSelector, read_endpoint_selector};
use crate::api::meta::RawMeta;
use crate::api::reader::Reader;
use crate::api::tree::{Entry, Mark, Node, Value};

/// `description` beside `spec` is in examples that circulate, and the API server drops it.
const TOP_LEVEL: [&str; 7] = ["apiVersion", "kind", "metadata", "spec", "specs", "status", "description"];
const SPEC: [&str; 10] = [
    "endpointSelector",
    "nodeSelector",
    "ingress",
    "ingressDeny",
    "egress",
    "egressDeny",
    "enableDefaultDeny",
    "labels",
    "description",
    "log",
];

/// Reads a policy. What cannot be read leaves a hole in it and errors in the reader.
pub(in crate::api) fn read_policy<'t>(
    reader: &mut Reader<'t>,
    raw: RawMeta<'_>,
    mark: Mark,
    entries: &'t [Entry],
) -> CiliumPolicy {
    let namespace = raw.meta.key.kind.is_namespaced().then(|| raw.meta.key.namespace.clone());
    let mut policy = CiliumPolicy { meta: raw.meta, specs: Vec::new(), unreadable: None };
    let errors = reader.error_count();
    reader.refuse_unknown(entries, &TOP_LEVEL);
    reader.field(entries, "spec", |reader, node| {
        policy.specs.push(read_spec(reader, node, namespace.as_deref()));
    });
    let readable = reader.field(entries, "specs", |reader, node| {
        reader.each(node, |reader, node| policy.specs.push(read_spec(reader, node, namespace.as_deref())));
        matches!(node.value, Value::Sequence(_))
    });
    if policy.specs.is_empty() && reader.error_count() == errors {
        reader.error(mark, "neither spec nor specs", "a spec with an endpointSelector");
    }
    let misspelled = entries.iter().any(|entry| !TOP_LEVEL.contains(&entry.key.as_str()));
    if misspelled || policy.specs.is_empty() || readable == Some(false) {
        policy.unreadable = Some(reader.provenance(mark));
    }
    policy
}

fn read_spec<'t>(reader: &mut Reader<'t>, node: &'t Node, namespace: Option<&str>) -> CiliumSpec {
    let provenance = reader.provenance(node.mark);
    let mut spec = CiliumSpec {
        subject: CiliumSubject::Unreadable,
        egress: Vec::new(),
        egress_deny: Vec::new(),
        ingress: Vec::new(),
        ingress_deny: Vec::new(),
        isolates_egress: false,
        isolates_ingress: false,
        unreadable: None,
        provenance,
    };
    let Some(entries) = reader.mapping(node) else { return spec };
    let errors = reader.error_count();
    reader.refuse_unknown(entries, &SPEC);
    if reader.error_count() > errors {
        spec.unreadable = Some(spec.provenance.clone());
    }
    spec.subject = read_subject(reader, node, entries, namespace);
    warn_of_empty(reader, entries);
    let section = |reader: &mut Reader<'t>, name, ingress, deny| {
        let section = Section::new(ingress, deny);
        reader.field(entries, name, |reader, node| read_rules(reader, node, &section)).unwrap_or_default()
    };
    spec.ingress = section(reader, "ingress", true, false);
    spec.ingress_deny = section(reader, "ingressDeny", true, true);
    spec.egress = section(reader, "egress", false, false);
    spec.egress_deny = section(reader, "egressDeny", false, true);
    spec.isolates_ingress = !spec.ingress.is_empty() || !spec.ingress_deny.is_empty();
    spec.isolates_egress = !spec.egress.is_empty() || !spec.egress_deny.is_empty();
    reader.field(entries, "enableDefaultDeny", |reader, node| {
        let errors = reader.error_count();
        let provenance = reader.provenance(node.mark);
        if let Some(entries) = reader.mapping(node) {
            reader.refuse_unknown(entries, &["ingress", "egress"]);
            if let Some(Some(isolates)) = reader.field(entries, "ingress", Reader::boolean) {
                spec.isolates_ingress = isolates;
            }
            if let Some(Some(isolates)) = reader.field(entries, "egress", Reader::boolean) {
                spec.isolates_egress = isolates;
            }
        }
        if reader.error_count() > errors {
            spec.unreadable = Some(provenance);
        }
    });
    spec
}

/// In NetworkPolicy a section without rules isolates.
fn warn_of_empty<'t>(reader: &mut Reader<'t>, entries: &'t [Entry]) {
    let is_empty = |value: &Value| match value {
        Value::Sequence(items) => items.is_empty(),
        other => *other == Value::Null,
    };
    let sections = entries.iter().filter(|entry| matches!(entry.key.as_str(), "ingress" | "egress"));
    for entry in sections.filter(|entry| is_empty(&entry.value.value)) {
        reader.within(&entry.key, |reader| {
            let message = "a section without rules isolates nobody";
            reader.warning(entry.value.mark, message, "[{}] where nothing is to be allowed");
        });
    }
}

fn read_subject<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    entries: &'t [Entry],
    namespace: Option<&str>,
) -> CiliumSubject {
    let pods = reader.field(entries, "endpointSelector", |reader, node| {
        let selector = read_endpoint_selector(reader, node)?;
        check_subject(reader, node, &selector, namespace).then_some(selector)
    });
    let nodes = reader.field(entries, "nodeSelector", |reader, node| {
        let message = "weir enforces policy for pods, not for the hosts they run on";
        reader.error(node.mark, message, "an endpointSelector; for the hosts, a firewall of their own");
    });
    match (pods, nodes) {
        (Some(Some(selector)), None) => CiliumSubject::Pods(selector),
        (None, Some(())) if namespace.is_none() => CiliumSubject::Nodes,
        (None, None) => {
            reader.error(node.mark, "no endpointSelector", "an endpointSelector; {} is every pod in reach");
            CiliumSubject::Unreadable
        }
        _ => CiliumSubject::Unreadable,
    }
}

/// Whether the selector can be the subject's.
fn check_subject<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    selector: &CiliumSelector,
    namespace: Option<&str>,
) -> bool {
    if selector.names_entities() {
        let message = "weir's pods have no reserved labels, so a policy for those that do is about nobody";
        reader.warning(node.mark, message, "");
    }
    let Some(own) = namespace else { return true };
    for requirement in &selector.requirements {
        let others =
            requirement.values.as_ref().is_some_and(|values| values.iter().any(|value| value != own));
        if requirement.key == CiliumKey::Namespace && !requirement.negated && others {
            let message =
                format!("this selects pods outside {own:?}, which only a CiliumClusterwideNetworkPolicy can");
            reader.error(node.mark, message, "no word about the namespace");
            return false;
        }
    }
    true
}

/// Reads a section.
fn read_rules<'t>(reader: &mut Reader<'t>, node: &'t Node, section: &Section) -> Vec<CiliumRule> {
    let rules = reader.rules(node, |reader, node| read_rule(reader, node, section));
    rules.into_iter().map(|(body, provenance)| CiliumRule { body, provenance }).collect()
}
