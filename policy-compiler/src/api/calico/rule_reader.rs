//! Reads and validates a rule as Calico's API server does (libcalico-go/lib/validator/v3).

use super::entity_reader::{read_entity, refuse};
use super::rule::{CalicoAction, CalicoIcmp, CalicoRule, CalicoRuleBody, IpFamily};
use crate::api::reader::{Reader, as_integer};
use crate::api::tree::{Entry, Node, Value};
use crate::api::words::quoted;

const RULE_FIELDS: [&str; 10] = [
    "action",
    "ipVersion",
    "protocol",
    "notProtocol",
    "icmp",
    "notICMP",
    "source",
    "destination",
    "http",
    "metadata",
];
const ACTIONS: [&str; 4] = ["Allow", "Deny", "Log", "Pass"];
const PROTOCOLS: [(&str, u8); 6] =
    [("TCP", 6), ("UDP", 17), ("ICMP", 1), ("ICMPv6", 58), ("SCTP", 132), ("UDPLite", 136)];
/// ICMP and ICMPv6.
const ICMPS: [u8; 2] = [1, 58];

/// Reads `ingress` or `egress`.
pub(super) fn read_rules<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Vec<CalicoRule> {
    let rules = reader.rules(node, read_rule);
    rules.into_iter().map(|(body, provenance)| CalicoRule { body, provenance }).collect()
}

fn read_rule<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CalicoRuleBody> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &RULE_FIELDS);
    refuse(
        reader,
        entries,
        "http",
        "HTTP is not served by this release",
        "the ports that HTTP uses, and methods and paths left to a proxy",
    );
    let action = reader.field(entries, "action", read_action);
    if action.is_none() {
        reader.error(node.mark, "the rule has no action", "Allow, Deny, Log or Pass");
    }
    let body = CalicoRuleBody {
        action: action.flatten().unwrap_or(CalicoAction::Deny),
        family: reader.field(entries, "ipVersion", read_family).flatten(),
        protocol: reader.field(entries, "protocol", read_protocol).flatten(),
        not_protocol: reader.field(entries, "notProtocol", read_protocol).flatten(),
        icmp: reader.field(entries, "icmp", read_icmp).flatten(),
        not_icmp: reader.field(entries, "notICMP", read_icmp).flatten(),
        source: reader.field(entries, "source", read_entity).unwrap_or_default(),
        destination: reader.field(entries, "destination", read_entity).unwrap_or_default(),
    };
    if reader.error_count() == errors {
        check(reader, node, entries, &body);
    }
    (reader.error_count() == errors).then_some(body)
}

/// What fields that can each be read may not be together.
fn check<'t>(reader: &mut Reader<'t>, node: &'t Node, entries: &'t [Entry], body: &CalicoRuleBody) {
    let with_ports = [("source", &body.source), ("destination", &body.destination)];
    for (name, entity) in with_ports {
        let has_ports = !entity.ports.is_empty() || !entity.not_ports.is_empty();
        if has_ports && !matches!(body.protocol, Some(6 | 17 | 132)) {
            let message = format!("ports in {name} without a protocol that has ports");
            reader.error(node.mark, message, "protocol: TCP, UDP or SCTP");
        }
    }
    // `icmp: {}` asks for nothing, but still is about ICMP.
    if entries.iter().any(|entry| entry.key == "icmp" && entry.value.value != Value::Null)
        && !body.protocol.is_some_and(|protocol| ICMPS.contains(&protocol))
    {
        reader.error(node.mark, "icmp without its protocol", "protocol: ICMP or ICMPv6");
    }
    for protocol in [body.protocol, body.not_protocol] {
        let wrong = match body.family {
            Some(IpFamily::V6) => protocol == Some(1),
            Some(IpFamily::V4) => protocol == Some(58),
            None => false,
        };
        if wrong {
            let message = "ICMP of one IP version beside ipVersion of the other";
            reader.error(node.mark, message, "ICMP with ipVersion: 4, ICMPv6 with ipVersion: 6");
        }
    }
    let nets = [&body.source.nets, &body.source.not_nets, &body.destination.nets, &body.destination.not_nets];
    let has = |v6: bool| {
        nets.iter().any(|nets| nets.iter().any(|net| net.addr().is_ipv6() == v6))
            || body.family == Some(if v6 { IpFamily::V6 } else { IpFamily::V4 })
    };
    if has(false) && has(true) {
        reader.error(node.mark, "IPv4 and IPv6 in one rule", "one rule for each");
    }
}

fn read_action<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CalicoAction> {
    Some(match reader.string(node)? {
        "Allow" => CalicoAction::Allow,
        "Deny" => CalicoAction::Deny,
        "Log" => CalicoAction::Log,
        "Pass" => CalicoAction::Pass,
        other => {
            reader.unknown_word(node.mark, other, "an action", &ACTIONS);
            return None;
        }
    })
}

fn read_number<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    what: &str,
    range: std::ops::RangeInclusive<u8>,
) -> Option<u8> {
    let number = match &node.value {
        Value::Scalar(scalar) => as_integer(scalar).and_then(|number| u8::try_from(number).ok()),
        _ => None,
    };
    let number = number.filter(|number| range.contains(number));
    if number.is_none() {
        let shown = node.text().map_or_else(|| "this".to_owned(), quoted);
        let expected = format!("a number from {} to {}, without quotes", range.start(), range.end());
        reader.error(node.mark, format!("{shown} is not {what}"), &expected);
    }
    number
}

fn read_family<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<IpFamily> {
    match node.text() {
        Some("4") => Some(IpFamily::V4),
        Some("6") => Some(IpFamily::V6),
        _ => {
            reader.error(node.mark, "not an IP version", "4 or 6");
            None
        }
    }
}

/// Reads a protocol by name or number; its IANA number.
fn read_protocol<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<u8> {
    const EXPECTED: &str = "TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255";
    let Some(text) = node.text() else {
        reader.error(node.mark, "not a protocol", EXPECTED);
        return None;
    };
    if let Some((_, number)) = PROTOCOLS.into_iter().find(|(name, _)| *name == text) {
        return Some(number);
    }
    let is_digits = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let number = text.parse::<u8>().ok().filter(|&number| is_digits && number > 0 && !text.starts_with('0'));
    if number.is_none() {
        let meant = PROTOCOLS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        let help = meant.map_or_else(String::new, |(meant, _)| format!("did you mean {meant:?}?"));
        let message = format!("{} is not a protocol", quoted(text));
        if help.is_empty() {
            reader.error(node.mark, message, EXPECTED);
        } else {
            reader.error_with_help(node.mark, message, EXPECTED, help);
        }
    }
    number
}

fn read_icmp<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CalicoIcmp> {
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["type", "code"]);
    let kind =
        reader.field(entries, "type", |reader, node| read_number(reader, node, "an ICMP type", 0..=254));
    let code =
        reader.field(entries, "code", |reader, node| read_number(reader, node, "an ICMP code", 0..=255));
    if code.is_some() && kind.is_none() {
        reader.error(node.mark, "a code without a type", "type and code, or type alone");
    }
    Some(CalicoIcmp { kind: kind.flatten()?, code: code.flatten() })
}
