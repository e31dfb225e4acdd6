//! `toPorts`: which protocols and ports, and what of another layer depends on them.
//!
//! Ports are strings; "0" is every port, no protocol (or `ANY`) is TCP, UDP and SCTP, and never ICMP. The API server takes
//! at most 40 elements.

use super::l7::{CiliumL7Rules, read_l7_rules};
use crate::api::reader::{Reader, as_integer};
use crate::api::tree::{Node, Value};
use crate::api::words::{quoted, shortened};

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CiliumPort {
    /// Numbers.
    Range {
        /// IANA number; missing: TCP, UDP and SCTP.
        protocol: Option<u8>,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// A container port's name, in lower case.
    Named {
        /// IANA number; missing: TCP, UDP and SCTP.
        protocol: Option<u8>,
        /// The name.
        name: String,
    },
    /// All codes of an ICMP or ICMPv6 type.
    Icmp {
        /// IANA number.
        protocol: u8,
        /// The type.
        kind: u8,
    },
    /// A protocol without ports.
    Protocol(u8),
}

/// One element of `toPorts`, or of `icmps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CiliumPortRule {
    /// Any of these. An empty list is none.
    pub ports: Vec<CiliumPort>,
    /// What must hold beyond the port, by another layer.
    pub l7: Option<CiliumL7Rules>,
}

/// Elements of a list of ports or ICMP types.
const MOST: usize = 40;
const TCP: u8 = 6;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;
const PROTOCOLS: [(&str, Option<u8>); 8] = [
    ("TCP", Some(TCP)),
    ("UDP", Some(17)),
    ("SCTP", Some(132)),
    ("ICMP", Some(ICMP)),
    ("ICMPv6", Some(ICMPV6)),
    ("VRRP", Some(112)),
    ("IGMP", Some(2)),
    ("ANY", None),
];
/// Fields of an element of `toPorts` that need a proxy.
const PROXIED: [&str; 4] = ["terminatingTLS", "originatingTLS", "serverNames", "listener"];

/// Reads an element of `toPorts`. `None`: it could not be read.
pub(super) fn read_port_rule<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    (ingress, deny): (bool, bool),
) -> Option<CiliumPortRule> {
    let mut rule = CiliumPortRule { ports: Vec::new(), l7: None };
    if node.value == Value::Null {
        return Some(rule);
    }
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    if deny {
        reader.refuse_unknown(entries, &["ports"]);
    } else {
        let known = ["ports", "rules"].into_iter().chain(PROXIED).collect::<Vec<_>>();
        reader.refuse_unknown(entries, &known);
    }
    reader.field(entries, "ports", |reader, node| {
        reader.each(node, |reader, node| rule.ports.extend(read_port(reader, node)));
        refuse_many(reader, node, "ports");
    });
    if deny {
        return (reader.error_count() == errors).then_some(rule);
    }
    for field in PROXIED {
        reader.field(entries, field, |reader, node| {
            let message = format!("{field} needs a proxy, which weir does not have");
            reader.error(node.mark, message, "a rule without it, if the port as such may be reached");
        });
    }
    reader.field(entries, "rules", |reader, node| {
        let errors = reader.error_count();
        rule.l7 = read_l7_rules(reader, node);
        let Some(l7) = &rule.l7 else { return };
        check_l7(reader, node, l7, &rule.ports, ingress);
        if reader.error_count() == errors {
            let message = format!(
                "{} rules are not enforced yet, so these ports are allowed nothing",
                shortened(l7.protocol())
            );
            reader.warning(
                node.mark,
                message,
                "an element without rules, if the ports as such may be reached",
            );
        }
    });
    (reader.error_count() == errors).then_some(rule)
}

/// Refuses a list the API server would.
pub(super) fn refuse_many<'t>(reader: &mut Reader<'t>, node: &'t Node, what: &str) {
    if let Value::Sequence(items) = &node.value
        && items.len() > MOST
    {
        reader.error(node.mark, format!("{} {what}", items.len()), "at most 40 in one element");
    }
}

/// What Cilium refuses about rules of another layer.
fn check_l7<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    l7: &CiliumL7Rules,
    ports: &[CiliumPort],
    ingress: bool,
) {
    let is_dns = matches!(l7, CiliumL7Rules::Dns(_));
    if is_dns && ingress {
        reader.error(node.mark, "DNS rules for ingress", "DNS rules in egress, where questions are asked");
    }
    if is_dns && ports.is_empty() {
        reader.error(node.mark, "DNS rules without a port", "port \"53\" in ports");
    }
    for port in ports {
        match port {
            CiliumPort::Range { first: 0, .. } => {
                reader.error(node.mark, "rules beside port \"0\"", "the ports the protocol is spoken on");
            }
            CiliumPort::Range { first, last, .. } if is_dns && last > first => {
                reader.error(node.mark, "DNS rules beside a range of ports", "single ports");
            }
            CiliumPort::Range { protocol: Some(TCP), .. } | CiliumPort::Named { protocol: Some(TCP), .. } => {
            }
            _ if is_dns => {}
            _ => reader.error(node.mark, "rules beside a port that is not TCP's", "protocol TCP"),
        }
    }
}

/// Reads an element of `ports`.
fn read_port<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumPort> {
    const EXPECTED: &str =
        "a number from 0 to 65535 in quotes, or a name of up to 15 letters, digits and '-'";
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["port", "endPort", "protocol"]);
    let protocol = reader.field(entries, "protocol", read_protocol).unwrap_or(Some(Asked(None)));
    let port = reader.field(entries, "port", Reader::string);
    let end = reader.field(entries, "endPort", |reader, node| {
        let end = match &node.value {
            Value::Scalar(scalar) => as_integer(scalar).and_then(|end| u16::try_from(end).ok()),
            _ => None,
        };
        if end.is_none() {
            reader.error(
                node.mark,
                "endPort is not a port number",
                "a number from 0 to 65535, without quotes",
            );
        }
        // 0 is how the API says that there is none.
        end.filter(|&end| end > 0)
    });
    let Asked(protocol) = protocol?;
    let read = match (protocol, port) {
        (_, Some(None)) => None,
        (Some(protocol @ (2 | 112)), None | Some(Some("0"))) => Some(CiliumPort::Protocol(protocol)),
        (_, None) => {
            reader.error(node.mark, "no port", EXPECTED);
            None
        }
        (Some(protocol @ (ICMP | ICMPV6)), Some(Some(text))) => {
            let kind = decimal(text).and_then(|number| u8::try_from(number).ok());
            if kind.is_none() {
                reader.error(
                    node.mark,
                    format!("{} is not an ICMP type", quoted(text)),
                    "a number from 0 to 255, in quotes",
                );
            }
            kind.map(|kind| CiliumPort::Icmp { protocol, kind })
        }
        (protocol, Some(Some(text))) => match decimal(text) {
            Some(0) => Some(CiliumPort::Range { protocol, first: 0, last: u16::MAX }),
            Some(first) => {
                let last = end.flatten().unwrap_or(first);
                if last < first {
                    reader.error(
                        node.mark,
                        format!("endPort {last} is below the port"),
                        &format!("{first} or more"),
                    );
                }
                Some(CiliumPort::Range { protocol, first, last })
            }
            None if is_service_name(text) => {
                Some(CiliumPort::Named { protocol, name: text.to_ascii_lowercase() })
            }
            None => {
                reader.error(
                    node.mark,
                    format!("{} is neither a port number nor a port name", quoted(text)),
                    EXPECTED,
                );
                None
            }
        },
    };
    let of_portless = |protocol: Option<u8>| matches!(protocol, Some(2 | 112));
    match &read {
        Some(CiliumPort::Range { protocol, .. } | CiliumPort::Named { protocol, .. })
            if of_portless(*protocol) =>
        {
            reader.error(node.mark, "a port of a protocol without ports", "port \"0\"");
        }
        // Cilium ignores it beside a name, and so do we; beside everything else it would mean something.
        Some(CiliumPort::Range { first: 1.., .. } | CiliumPort::Named { .. }) => {}
        Some(_) if end.flatten().is_some() => {
            reader.error(node.mark, "endPort beside what is no single port", "a port from 1 to 65535");
        }
        _ => {}
    }
    read.filter(|_| reader.error_count() == errors)
}

/// A number in decimal. A leading zero would be octal to kubectl, or to whoever wrote it in quotes.
pub(super) fn decimal(text: &str) -> Option<u16> {
    let octal = text.len() > 1 && text.starts_with('0');
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    if octal || !digits { None } else { text.parse().ok() }
}

/// IANA service name, in either case.
fn is_service_name(text: &str) -> bool {
    text.len() <= 15
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        && text.bytes().any(|c| c.is_ascii_alphabetic())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// A protocol, or none for any of TCP, UDP and SCTP.
#[derive(Clone, Copy)]
struct Asked(Option<u8>);

fn read_protocol<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<Asked> {
    let text = reader.string(node)?;
    if text.is_empty() {
        return Some(Asked(None));
    }
    let known = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|&(_, number)| Asked(number));
    if known.is_none() {
        reader.unknown_word(node.mark, text, "a protocol", &PROTOCOLS.map(|(name, _)| name));
    }
    known
}
