//! Reads `source` and `destination` of a rule, and selectors wherever they stand.
//!
//! An empty text is no selector, as Calico has it; `all()` is one, which holds of endpoints and network sets only.

use super::rule::{CalicoEntity, CalicoPort, CalicoServiceAccounts};
use super::selector::{CalicoNamespaces, CalicoSelector, SelectorError};
use crate::api::reader::{Reader, as_integer};
use crate::api::syntax::{cidr_expected, is_dns_subdomain, is_port_name, parse_address, parse_cidr};
use crate::api::tree::{Entry, Mark, Node, Value};
use crate::api::words::quoted;
use ipnet::IpNet;
use std::net::IpAddr;

const ENTITY_FIELDS: [&str; 10] = [
    "nets",
    "notNets",
    "selector",
    "notSelector",
    "namespaceSelector",
    "ports",
    "notPorts",
    "serviceAccounts",
    "services",
    "domains",
];

/// Reads `source` or `destination`. What is wrong is in the reader; the caller counts.
pub(super) fn read_entity<'t>(reader: &mut Reader<'t>, node: &'t Node) -> CalicoEntity {
    let mut entity = CalicoEntity::default();
    let Some(entries) = reader.mapping(node) else { return entity };
    reader.refuse_unknown(entries, &ENTITY_FIELDS);
    refuse(
        reader,
        entries,
        "services",
        "services are not served by this release",
        "a selector of the pods behind the service, and their ports",
    );
    refuse(
        reader,
        entries,
        "domains",
        "names of domains are not served by this release",
        "nets with the addresses, or a selector of a network set that holds them",
    );
    entity.nets = reader.field(entries, "nets", read_nets).unwrap_or_default();
    entity.not_nets = reader.field(entries, "notNets", read_nets).unwrap_or_default();
    entity.selector = reader.field(entries, "selector", read_selector).flatten();
    entity.not_selector = reader.field(entries, "notSelector", read_selector).flatten();
    entity.namespaces = reader.field(entries, "namespaceSelector", read_namespaces).flatten();
    entity.ports = reader.field(entries, "ports", read_ports).unwrap_or_default();
    entity.not_ports = reader.field(entries, "notPorts", read_ports).unwrap_or_default();
    entity.service_accounts =
        reader.field(entries, "serviceAccounts", read_service_accounts).unwrap_or_default();
    entity
}

/// Reports a field that is known but not served.
pub(super) fn refuse<'t>(
    reader: &mut Reader<'t>,
    entries: &'t [Entry],
    field: &'static str,
    message: &str,
    instead: &str,
) {
    reader.field(entries, field, |reader, node| reader.error(node.mark, message, instead));
}

/// Reads a selector; none if its text is empty or could not be read.
pub(super) fn read_selector<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CalicoSelector> {
    read_expression(reader, node, CalicoSelector::parse)
}

fn read_namespaces<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CalicoNamespaces> {
    read_expression(reader, node, CalicoNamespaces::parse)
}

fn read_expression<'t, T>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    parse: fn(&str) -> Result<T, SelectorError>,
) -> Option<T> {
    let text = reader.string(node)?;
    if text.is_empty() {
        return None;
    }
    match parse(text) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let message =
                format!("{} at column {} of the selector", error.message, error.at.saturating_add(1));
            reader.error(inside(node, error.at), message, &error.expected);
            None
        }
    }
}

/// The place of a character of a scalar that stands on one line; exact where nothing before it is escaped.
fn inside(node: &Node, at: usize) -> Mark {
    let quote = u32::from(!matches!(&node.value, Value::Scalar(scalar) if scalar.plain));
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    Mark { line: node.mark.line, column: node.mark.column.saturating_add(quote).saturating_add(at) }
}

fn read_nets<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Vec<IpNet> {
    let mut nets: Vec<IpNet> = Vec::new();
    reader.each(node, |reader, node| {
        let Some(text) = reader.string(node) else { return };
        let Some(net) = parse_cidr(text) else {
            let expected = match parse_address(text) {
                Some(address) => IpNet::from(address).to_string(),
                None => cidr_expected(text).to_owned(),
            };
            reader.error(node.mark, format!("{} is not a CIDR", quoted(text)), &expected);
            return;
        };
        let written = text.split_once('/').and_then(|(address, _)| address.parse::<IpAddr>().ok());
        if written.is_some_and(|written| written != net.network()) {
            reader.error(
                node.mark,
                format!("{} has bits set behind its prefix", quoted(text)),
                &net.to_string(),
            );
        }
        nets.push(net);
    });
    nets
}

/// Reads an element of a network set's `nets`: host bits are cut off.
pub(super) fn read_cidr_or_address<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<IpNet> {
    let text = reader.string(node)?;
    let net = parse_cidr(text).or_else(|| parse_address(text).map(IpNet::from));
    if net.is_none() {
        reader.error(
            node.mark,
            format!("{} is neither a CIDR nor an address", quoted(text)),
            cidr_expected(text),
        );
    }
    net
}

fn read_ports<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Vec<CalicoPort> {
    let mut ports = Vec::new();
    reader.each(node, |reader, node| {
        let expected =
            "a number from 1 to 65535, a range like \"8000:9000\", or the name of a container port";
        let Value::Scalar(scalar) = &node.value else {
            reader.error(node.mark, "not a port", expected);
            return;
        };
        // Quoted or not, digits are a number.
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        let number = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
        let text = scalar.text.as_str();
        let port = match text.split_once(':') {
            Some((first, last)) if is_digits(first) && is_digits(last) => match (number(first), number(last))
            {
                (Some(first), Some(last)) if first <= last => Some(CalicoPort::Range(first, last)),
                _ => None,
            },
            // A leading zero would be octal to kubectl.
            None if scalar.plain && is_digits(text) && as_integer(scalar).is_none() => None,
            None if is_digits(text) => number(text).map(|port| CalicoPort::Range(port, port)),
            // `0x50` is spelled as names are, and is a number.
            None if is_port_name(text) => {
                ports.extend(reader.string(node).map(|name| CalicoPort::Named(name.to_owned())));
                return;
            }
            _ => None,
        };
        if port.is_none() {
            reader.error(node.mark, format!("{} is not a port", quoted(text)), expected);
        }
        ports.extend(port);
    });
    ports
}

fn read_service_accounts<'t>(reader: &mut Reader<'t>, node: &'t Node) -> CalicoServiceAccounts {
    let mut accounts = CalicoServiceAccounts::default();
    let Some(entries) = reader.mapping(node) else { return accounts };
    reader.refuse_unknown(entries, &["names", "selector"]);
    reader.field(entries, "names", |reader, node| {
        reader.each(node, |reader, node| {
            let Some(name) = reader.string(node) else { return };
            if !is_dns_subdomain(name) {
                let message = format!("{} is not the name of a service account", quoted(name));
                reader.error(node.mark, message, "lower case letters, digits, '-' and '.'");
            }
            accounts.names.push(name.to_owned());
        });
    });
    accounts.selector = reader.field(entries, "selector", read_selector).flatten();
    accounts
}

#[cfg(test)]
mod tests {
    use crate::api::parse;

    fn refusals(rule: &str) -> Vec<String> {
        let policy = format!(
            "{{apiVersion: projectcalico.org/v3, kind: NetworkPolicy, metadata: {{name: a}}, \
             spec: {{ingress: [{{action: Deny, protocol: TCP, {rule}}}]}}}}"
        );
        parse("f", &policy).diagnostics.iter().map(|problem| problem.message.clone()).collect()
    }

    #[test]
    fn a_number_is_no_ports_name_however_it_is_written() {
        for plain in ["0x50", "0b1010000", "0o120", "8e1", "on"] {
            for field in ["ports", "notPorts"] {
                let found = refusals(&format!("destination: {{{field}: [{plain}]}}"));
                assert!(found.iter().any(|one| one.contains("not a string")), "{plain}: {found:?}");
            }
            let quoted = refusals(&format!("destination: {{ports: ['{plain}']}}"));
            assert_eq!(quoted, [""; 0], "{plain}");
        }
        assert_eq!(refusals("destination: {ports: [80, '80', 1:2, web]}"), [""; 0]);
    }

    #[test]
    fn ipv4_in_the_guise_of_ipv6_is_refused() {
        for nets in ["::ffff:10.0.0.0/104", "::ffff:a00:0/104"] {
            let found = refusals(&format!("source: {{nets: ['{nets}']}}"));
            assert_eq!(found, [format!("{nets:?} is not a CIDR")]);
            let set = "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: a}, spec: {nets: ";
            for nets in [nets, "::ffff:10.0.0.1"] {
                let problems = parse("f", &format!("{set}['{nets}']}}}}")).diagnostics;
                let [problem] = &problems[..] else { panic!("{problems:?}") };
                assert_eq!(problem.expected.as_deref(), Some("IPv4 written as such, like 10.0.0.0/8"));
            }
        }
    }
}
