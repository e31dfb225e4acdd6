//! Reads one element of `from` or `to`.
//!
//! A peer with no field that is known is [`ClusterPeer::Unknown`]: a newer API may have more kinds, and a CRD that does
//! not know them drops the field. It is an error all the same.

use super::dialect::Dialect;
use super::shape::{elements, only_field};
use super::subject::{read_namespaces, read_pods};
use super::{ClusterAction, ClusterPeer};
use crate::api::reader::Reader;
use crate::api::selector::read_selector;
use crate::api::syntax::{cidr_expected, parse_address};
use crate::api::tree::{Node, Value};
use crate::api::words::quoted;
use crate::model::Direction;
use ipnet::IpNet;

/// Most elements of `networks` and `domainNames`, in every version.
const MOST_ADDRESSES: usize = 25;

/// Reads a peer. `action`: its rule's, where that could be read. `None`: it could not be read.
pub(super) fn read_peer<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
    direction: Direction,
    action: Option<ClusterAction>,
) -> Option<ClusterPeer> {
    let known = dialect.peers(direction);
    if let Value::Mapping(entries) = &node.value
        && let [entry] = &entries[..]
        && let Some(name) = dialect.egress_peers.iter().find(|name| **name == entry.key)
        && !known.contains(name)
    {
        let expected = "namespaces or pods, as the API knows no other sources; NetworkPolicy has ipBlock";
        let message = format!("{name} in an ingress rule");
        reader.within(name, |reader| reader.error(entry.key_mark, message, expected));
        return Some(ClusterPeer::Unknown);
    }
    let (name, value) = match only_field(reader, node, "peer", known) {
        Ok(field) => field,
        Err(unknown) => return unknown.then_some(ClusterPeer::Unknown),
    };
    reader.within(name, |reader| match name {
        "namespaces" => read_namespaces(reader, value).map(ClusterPeer::Pods),
        "pods" => read_pods(reader, value, dialect).map(ClusterPeer::Pods),
        "nodes" => read_selector(reader, value).map(ClusterPeer::Nodes),
        "networks" => read_networks(reader, value).map(ClusterPeer::Networks),
        _ => read_domain_names(reader, value, dialect, action).map(ClusterPeer::DomainNames),
    })
}

fn read_networks<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<Vec<IpNet>> {
    let errors = reader.error_count();
    let mut networks = Vec::new();
    let mut seen = Vec::new();
    elements(reader, node, MOST_ADDRESSES, |reader, node| {
        let Some(text) = reader.string(node) else { return };
        if seen.contains(&text) {
            reader.error(node.mark, format!("{} is here twice", quoted(text)), "it once");
        }
        seen.push(text);
        match parse_network(text) {
            Some(network) => networks.push(network),
            None => reader.error(node.mark, format!("{} is not a CIDR", quoted(text)), cidr_expected(text)),
        }
    })?;
    (reader.error_count() == errors).then_some(networks)
}

/// A CIDR as `isCIDR` of the API server's expression language has it: host bits are cut off; neither leading zeros nor
/// IPv4 addresses in the guise of IPv6 are taken, unlike in NetworkPolicy.
fn parse_network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    if !length.bytes().all(|c| c.is_ascii_digit()) || (length.len() > 1 && length.starts_with('0')) {
        return None;
    }
    Some(IpNet::new(parse_address(address)?, length.parse().ok()?).ok()?.trunc())
}

fn read_domain_names<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
    action: Option<ClusterAction>,
) -> Option<Vec<String>> {
    let errors = reader.error_count();
    let accept = dialect.actions.first().map_or("Accept", |(word, _)| word);
    if action.is_some_and(|action| action != ClusterAction::Accept) {
        let expected = format!("networks, or the action {accept} and a rule after it that denies the rest");
        reader.error(node.mark, format!("domainNames in a rule that does not {accept}"), &expected);
    }
    let mut names: Vec<String> = Vec::new();
    elements(reader, node, MOST_ADDRESSES, |reader, node| {
        let Some(text) = reader.string(node) else { return };
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if !is_domain_name(&name) {
            let expected = "a name like example.com, or *.example.com for all names under it";
            reader.error(node.mark, format!("{} is not a domain name", quoted(text)), expected);
        }
        if names.contains(&name) {
            reader.error(node.mark, format!("{} is here twice", quoted(text)), "it once");
        }
        names.push(name);
    })?;
    if reader.error_count() > errors {
        return None;
    }
    let message = "domain names are not served by this release: this peer is allowed nothing";
    reader.warning(node.mark, message, "networks, where the addresses are known");
    Some(names)
}

/// At least two labels after an optional `*.`.
fn is_domain_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_')
            && bytes.last().is_some_and(|c| c.is_ascii_alphanumeric() || (*c == b'_' && bytes.len() == 1))
            && bytes.iter().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    };
    name.contains('.') && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::{is_domain_name, parse_network};

    #[test]
    fn networks_are_stricter_than_ip_blocks() {
        let read = |text| parse_network(text).map(|network| network.to_string());
        assert_eq!(read("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("fd00::1/8").as_deref(), Some("fd00::/8"));
        assert_eq!(read("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        let refused = [
            "010.0.0.0/8",
            "10.0.0.0/08",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::ffff:10.0.0.0/104",
            "fe80::1%eth0/64",
        ];
        for text in refused {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn domain_names_have_two_labels_and_a_star_only_in_front() {
        for name in ["kubernetes.io", "*.kubernetes.io", "a.b-c.d_e.f", "1.2", "_tcp.example.com"] {
            assert!(is_domain_name(name), "{name}");
        }
        for name in
            ["kubernetes", "*", "*.io", "a.*.io", "www*.io", "-a.io", "a-.io", ".io", "a..io", "", "a b.io"]
        {
            assert!(!is_domain_name(name), "{name}");
        }
    }
}
