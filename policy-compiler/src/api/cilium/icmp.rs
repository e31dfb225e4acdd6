//! `icmps`: types of ICMP and ICMPv6, by number or by name; all codes of a type.

use super::ports::{CiliumPort, CiliumPortRule, ICMP, ICMPV6, decimal, refuse_many};
use crate::api::reader::Reader;
use crate::api::tree::{Node, Value};
use crate::api::words::quoted;

/// Reads an element of `icmps`. `None`: it could not be read.
pub(super) fn read_icmp_rule<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumPortRule> {
    let mut rule = CiliumPortRule { ports: Vec::new(), l7: None };
    if node.value == Value::Null {
        return Some(rule);
    }
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["fields"]);
    reader.field(entries, "fields", |reader, node| {
        reader.each(node, |reader, node| rule.ports.extend(read_icmp_field(reader, node)));
        refuse_many(reader, node, "ICMP types");
    });
    (reader.error_count() == errors).then_some(rule)
}

const EXPECTED: &str = "a number from 0 to 255, or a name like EchoRequest";

fn read_icmp_field<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumPort> {
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["family", "type"]);
    let family = reader.field(entries, "family", |reader, node| match reader.string(node)? {
        "IPv4" | "" => Some(ICMP),
        "IPv6" => Some(ICMPV6),
        other => {
            reader.unknown_word(node.mark, other, "a family", &["IPv4", "IPv6"]);
            None
        }
    });
    let protocol = family.unwrap_or(Some(ICMP))?;
    let names: &[(&str, u8)] = if protocol == ICMPV6 { &ICMPV6_TYPES } else { &ICMP_TYPES };
    let kind = reader.field(entries, "type", |reader, node| {
        let Value::Scalar(scalar) = &node.value else {
            reader.error(node.mark, "not an ICMP type", EXPECTED);
            return None;
        };
        let text = scalar.text.as_str();
        let named = names.iter().find(|(name, _)| *name == text).map(|&(_, kind)| kind);
        // Quoted or not, digits are a number.
        let number = || decimal(text).and_then(|number| u8::try_from(number).ok());
        let kind = named.or_else(number);
        if kind.is_none() {
            let message = format!("{} is not an ICMP type of the family", quoted(text));
            let known: Vec<&str> = names.iter().map(|&(name, _)| name).collect();
            reader.misspelled_word(node.mark, (text, &known), message, EXPECTED);
        }
        kind
    });
    let Some(kind) = kind else {
        reader.error(node.mark, "no ICMP type", "type, a number from 0 to 255 or a name like EchoRequest");
        return None;
    };
    Some(CiliumPort::Icmp { protocol, kind: kind? })
}

/// RFC 792 and its successors, as Cilium spells them.
const ICMP_TYPES: [(&str, u8); 14] = [
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEchoRequest", 42),
    ("ExtendedEchoReply", 43),
];

/// RFC 4443 and its successors, as Cilium spells them.
const ICMPV6_TYPES: [(&str, u8); 27] = [
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
    ("HomeAgentAddressDiscoveryReply", 145),
    ("MobilePrefixSolicitation", 146),
    ("MobilePrefixAdvertisement", 147),
    ("DuplicateAddressRequestCodeSuffix", 157),
    ("DuplicateAddressConfirmationCodeSuffix", 158),
    ("ExtendedEchoRequest", 160),
    ("ExtendedEchoReply", 161),
];

#[cfg(test)]
mod tests {
    use crate::api::parse;

    #[test]
    fn a_type_that_kubectl_reads_in_octal_is_refused() {
        let errors = |kind: &str| {
            let policy = format!(
                "{{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {{name: a}}, \
                 spec: {{endpointSelector: {{}}, ingressDeny: [{{icmps: [{{fields: [{{type: {kind}}}]}}]}}]}}}}"
            );
            parse("f", &policy).diagnostics.len()
        };
        assert_eq!(["8", "'8'", "EchoRequest", "0"].map(errors), [0; 4]);
        assert_eq!(["010", "'010'", "+8", "0x8", "256", "''"].map(errors), [1; 6]);
    }
}
