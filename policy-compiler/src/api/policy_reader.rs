//! Reads and validates a NetworkPolicy as the API server does (pkg/apis/networking/validation).
//!
//! The difference between missing and empty is the API's: a missing, null or empty list of peers or ports means
//! any; a null rule is an empty rule; a section of a direction that `policyTypes` does not name is ignored.
//! A field that this reader does not know is an error at any depth of `spec`: an ignored field is a hole.

use super::diagnostic::Provenance;
use super::meta::{OBJECT_FIELDS, RawMeta};
use super::network_policy::{
    IpBlock, NetworkPolicy, PolicyPeer, PolicyPort, PolicyPortNumber, PolicyRule, RuleBody,
};
use super::pod::{read_port, read_protocol};
use super::reader::{Reader, as_integer};
use super::selector::{Selector, read_selector};
use super::syntax::{cidr_expected, is_port_name, parse_cidr};
use super::tree::{Entry, Mark, Node, Value};
use super::words::quoted;
use ipnet::IpNet;

/// Reads a policy. What cannot be read leaves a hole in it and errors in the reader.
pub(crate) fn read_policy<'t>(
    reader: &mut Reader<'t>,
    raw: RawMeta<'_>,
    mark: Mark,
    entries: &'t [Entry],
) -> NetworkPolicy {
    read_policy_of(reader, raw, mark, entries, &[])
}

/// Reads an object whose `spec` is that of a policy, with some fields more.
pub(crate) fn read_policy_of<'t>(
    reader: &mut Reader<'t>,
    raw: RawMeta<'_>,
    mark: Mark,
    entries: &'t [Entry],
    more: &[&str],
) -> NetworkPolicy {
    let mut policy = NetworkPolicy {
        spec: Provenance { origin: raw.meta.origin.clone(), field: "spec".into() },
        meta: raw.meta,
        // The API has no required field: without a spec the policy isolates every pod for ingress.
        pod_selector: Some(Selector::default()),
        applies_ingress: true,
        applies_egress: false,
        types_written: false,
        empty_egress: None,
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
        policy.spec = reader.provenance(node.mark);
        match reader.mapping(node) {
            Some(spec) => read_spec(reader, &mut policy, spec, node.mark, more),
            None => policy.pod_selector = None,
        }
    });
    policy
}

fn read_spec<'t>(
    reader: &mut Reader<'t>,
    policy: &mut NetworkPolicy,
    spec: &'t [Entry],
    mark: Mark,
    more: &[&str],
) {
    let errors = reader.error_count();
    reader.refuse_unknown(spec, &[&["podSelector", "policyTypes", "ingress", "egress"], more].concat());
    if reader.error_count() > errors {
        policy.unreadable = Some(reader.provenance(mark));
    }
    if let Some(selector) = reader.field(spec, "podSelector", read_selector) {
        policy.pod_selector = selector;
    }
    if let Some(rules) = reader.field(spec, "ingress", |reader, node| read_rules(reader, node, "from")) {
        policy.ingress = rules;
    }
    if let Some(rules) = reader.field(spec, "egress", |reader, node| read_rules(reader, node, "to")) {
        policy.egress = rules;
    }
    if policy.egress.is_empty() {
        policy.empty_egress = reader.field(spec, "egress", |reader, node| reader.provenance(node.mark));
    }
    policy.applies_egress = !policy.egress.is_empty();
    reader.field(spec, "policyTypes", |reader, node| {
        let errors = reader.error_count();
        let mut types = Vec::new();
        reader.each(node, |reader, node| match reader.string(node) {
            Some(kind @ ("Ingress" | "Egress")) => types.push(kind),
            Some(other) => reader.unknown_word(node.mark, other, "a policy type", &["Ingress", "Egress"]),
            None => {}
        });
        if types.len() > 2 {
            reader.error(node.mark, format!("{} policy types", types.len()), "at most two");
        }
        if reader.error_count() > errors {
            policy.unreadable = Some(reader.provenance(node.mark));
        } else if !types.is_empty() {
            policy.types_written = true;
            policy.applies_ingress = types.contains(&"Ingress");
            policy.applies_egress = types.contains(&"Egress");
        }
    });
}

/// Reads `ingress` or `egress`.
fn read_rules<'t>(reader: &mut Reader<'t>, node: &'t Node, peers_field: &'static str) -> Vec<PolicyRule> {
    let rules = reader.rules(node, |reader, node| read_rule(reader, node, peers_field));
    rules.into_iter().map(|(body, provenance)| PolicyRule { body, provenance }).collect()
}

fn read_rule<'t>(reader: &mut Reader<'t>, node: &'t Node, peers_field: &'static str) -> Option<RuleBody> {
    let mut body = RuleBody::default();
    // The API server decodes a null element as an empty rule.
    if node.value == Value::Null {
        return Some(body);
    }
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &[peers_field, "ports"]);
    reader.field(entries, peers_field, |reader, node| {
        reader.each(node, |reader, node| body.peers.extend(read_peer(reader, node)));
    });
    reader.field(entries, "ports", |reader, node| {
        reader.each(node, |reader, node| body.ports.extend(read_policy_port(reader, node)));
    });
    (reader.error_count() == errors).then_some(body)
}

fn read_peer<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<PolicyPeer> {
    const EXPECTED: &str = "podSelector, namespaceSelector, both, or ipBlock";
    if node.value == Value::Null {
        reader.error(node.mark, "an empty peer", EXPECTED);
        return None;
    }
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["podSelector", "namespaceSelector", "ipBlock"]);
    let misspelled = reader.error_count() > errors;
    let pods = reader.field(entries, "podSelector", read_selector);
    let namespaces = reader.field(entries, "namespaceSelector", read_selector);
    let block = reader.field(entries, "ipBlock", read_ip_block);
    match (pods, namespaces, block) {
        (None, None, Some(block)) => block.map(PolicyPeer::IpBlock),
        // What was misspelled has been reported; that nothing else is left need not be said.
        (None, None, None) if misspelled => None,
        (None, None, None) => {
            reader.error(node.mark, "an empty peer", EXPECTED);
            None
        }
        (_, _, Some(_)) => {
            reader.error(node.mark, "an ipBlock beside a selector", "either an ipBlock or selectors");
            None
        }
        // A selector that could not be read has been reported; its rule is not used.
        (Some(None), ..) | (_, Some(None), _) => None,
        (pods, namespaces, None) => {
            Some(PolicyPeer::Selectors { pods: pods.flatten(), namespaces: namespaces.flatten() })
        }
    }
}

fn read_cidr<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<IpNet> {
    let text = reader.string(node)?;
    let cidr = parse_cidr(text);
    if cidr.is_none() {
        reader.error(node.mark, format!("{} is not a CIDR", quoted(text)), cidr_expected(text));
    }
    cidr
}

fn read_ip_block<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<IpBlock> {
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["cidr", "except"]);
    let cidr = reader.field(entries, "cidr", read_cidr);
    if cidr.is_none() {
        reader.error(node.mark, "an ipBlock without cidr", "a cidr like 10.0.0.0/8");
    }
    let cidr = cidr.flatten();
    let mut except = Vec::new();
    reader.field(entries, "except", |reader, node| {
        reader.each(node, |reader, node| {
            let Some(cut) = read_cidr(reader, node) else { return };
            match cidr {
                Some(cidr) if !cidr.contains(&cut) || cidr.prefix_len() >= cut.prefix_len() => {
                    let expected = format!("a block inside {cidr} and smaller than it");
                    reader.error(node.mark, format!("{cut} is not a part of the cidr"), &expected);
                }
                _ => except.push(cut),
            }
        });
    });
    except.sort();
    except.dedup();
    Some(IpBlock { cidr: cidr?, except })
}

fn read_policy_port<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<PolicyPort> {
    // The API server decodes a null element as an empty one: all of TCP.
    if node.value == Value::Null {
        return Some(PolicyPort { protocol: 6, port: PolicyPortNumber::All });
    }
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["protocol", "port", "endPort"]);
    let protocol = reader.field(entries, "protocol", read_protocol).unwrap_or(Some(6));
    let port = reader.field(entries, "port", read_port_or_name).unwrap_or(Some(PolicyPortNumber::All));
    let end = reader.field(entries, "endPort", |reader, node| {
        let end = read_port(reader, node)?;
        match port {
            Some(PolicyPortNumber::Range(first, _)) if end < first => {
                reader.error(node.mark, format!("{end} is below the port"), &format!("{first} or more"));
            }
            Some(PolicyPortNumber::Named(_)) => {
                reader.error(node.mark, "endPort beside a named port", "a numeric port");
            }
            Some(PolicyPortNumber::All) => reader.error(node.mark, "endPort without port", "a numeric port"),
            _ => {}
        }
        Some(end)
    });
    let port = match (port?, end.flatten()) {
        (PolicyPortNumber::Range(first, _), Some(end)) => PolicyPortNumber::Range(first, end),
        (port, _) => port,
    };
    (reader.error_count() == errors).then_some(PolicyPort { protocol: protocol?, port })
}

fn read_port_or_name<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<PolicyPortNumber> {
    if let Value::Scalar(scalar) = &node.value {
        if as_integer(scalar).is_some() {
            return read_port(reader, node).map(|port| PolicyPortNumber::Range(port, port));
        }
        if is_port_name(&scalar.text) {
            // `0x50` is spelled as names are, and is a number.
            return reader.string(node).map(|name| PolicyPortNumber::Named(name.to_owned()));
        }
        let message = format!("{} is neither a port number nor a port name", quoted(&scalar.text));
        let expected = "a number from 1 to 65535, or a name of up to 15 lower case letters, digits and '-'";
        match scalar.text.parse::<u16>() {
            Ok(port) if port > 0 => {
                let help = format!("write {port}, without quotes and leading zeros");
                reader.error_with_help(node.mark, message, expected, help);
            }
            _ => reader.error(node.mark, message, expected),
        }
    } else {
        reader.error(node.mark, "not a port", "a number or a name");
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::api::parse;

    #[test]
    fn a_number_is_no_ports_name_however_it_is_written() {
        for plain in ["0x50", "0b1010000", "8e1", "off"] {
            let errors = |port: &str| {
                let policy = format!(
                    "{{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {{name: a}}, \
                     spec: {{ingress: [{{ports: [{{port: {port}}}]}}]}}}}"
                );
                parse("f", &policy).diagnostics.len()
            };
            assert_eq!((errors(plain), errors(&format!("'{plain}'"))), (1, 0), "{plain}");
        }
    }
}
