//! Reads one element of `protocols` (v1alpha2) or of `ports` (v1alpha1).
//!
//! v1alpha2 says the protocol by the field (`tcp: {destinationPort: {number: 80}}`), v1alpha1 inside
//! (`portNumber: {protocol: TCP, port: 80}`, TCP where it is missing). A name stands for ports of any protocol.

use super::ClusterPort;
use super::dialect::Dialect;
use super::shape::only_field;
use crate::api::pod::{read_port, read_protocol};
use crate::api::reader::Reader;
use crate::api::syntax::is_port_name;
use crate::api::tree::{Entry, Mark, Node};
use crate::api::words::quoted;
use crate::model::Protocol;

/// Reads an element. `nameless`: a kind of peer of the rule whose ports have no names. `None`: it could not be read.
pub(super) fn read_cluster_port<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    dialect: &Dialect,
    nameless: Option<&str>,
) -> Option<ClusterPort> {
    if dialect.is_v1alpha1 {
        let known = &["portNumber", "portRange", "namedPort"];
        let (name, value) = only_field(reader, node, "port", known).ok()?;
        reader.within(name, |reader| match name {
            "portNumber" => read_port_number(reader, value),
            "portRange" => read_v1alpha1_range(reader, value),
            _ => read_name(reader, value, nameless),
        })
    } else {
        let known = &["tcp", "udp", "sctp", "destinationNamedPort"];
        if let Some(icmp) = node.child("icmp") {
            let expected = "a rule without protocols, which is about ICMP too";
            reader.within("icmp", |reader| reader.error(icmp.mark, "ICMP cannot be named here", expected));
            return None;
        }
        let (name, value) = only_field(reader, node, "protocol", known).ok()?;
        reader.within(name, |reader| match name {
            "tcp" => read_destination_port(reader, value, Protocol::TCP),
            "udp" => read_destination_port(reader, value, Protocol::UDP),
            "sctp" => read_destination_port(reader, value, Protocol::SCTP),
            _ => read_name(reader, value, nameless),
        })
    }
}

fn read_name<'t>(reader: &mut Reader<'t>, node: &'t Node, nameless: Option<&str>) -> Option<ClusterPort> {
    let name = reader.string(node)?;
    if !is_port_name(name) {
        let expected = "a name of up to 15 lower case letters, digits and '-'";
        reader.error(node.mark, format!("{} is not a port name", quoted(name)), expected);
        return None;
    }
    if let Some(peers) = nameless {
        let message = format!("a named port beside {peers}, whose ports have no names");
        reader.error(node.mark, message, "a port number, or a rule of its own for these peers");
        return None;
    }
    Some(ClusterPort::Named(name.to_owned()))
}

/// What `tcp`, `udp` and `sctp` hold.
fn read_destination_port<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    protocol: Protocol,
) -> Option<ClusterPort> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["destinationPort"]);
    let misspelled = reader.error_count() > errors;
    let range = reader.field(entries, "destinationPort", |reader, node| {
        let (name, value) = only_field(reader, node, "destinationPort", &["number", "range"]).ok()?;
        reader.within(name, |reader| {
            if name == "number" {
                return read_port(reader, value).map(|port| (port, port));
            }
            let entries = reader.mapping(value)?;
            reader.refuse_unknown(entries, &["start", "end"]);
            read_range(reader, entries, value.mark, false)
        })
    });
    if range.is_none() && !misspelled {
        let expected = "a destinationPort; all ports are {destinationPort: {range: {start: 1, end: 65535}}}";
        reader.error(node.mark, "a protocol without destinationPort", expected);
    }
    let (first, last) = range??;
    (reader.error_count() == errors).then_some(ClusterPort::Range {
        protocol: protocol.number(),
        first,
        last,
    })
}

/// `portNumber`.
fn read_port_number<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<ClusterPort> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["protocol", "port"]);
    let protocol = reader.field(entries, "protocol", read_protocol).unwrap_or(Some(Protocol::TCP.number()));
    let port = reader.field(entries, "port", read_port);
    if port.is_none() {
        reader.error(node.mark, "a portNumber without port", "a port from 1 to 65535");
    }
    let port = port??;
    (reader.error_count() == errors).then_some(ClusterPort::Range {
        protocol: protocol?,
        first: port,
        last: port,
    })
}

/// `portRange`.
fn read_v1alpha1_range<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<ClusterPort> {
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["protocol", "start", "end"]);
    let protocol = reader.field(entries, "protocol", read_protocol).unwrap_or(Some(Protocol::TCP.number()));
    // This version's CRD has no rule about the two; a range of one port is clear enough.
    let (first, last) = read_range(reader, entries, node.mark, true)?;
    (reader.error_count() == errors).then_some(ClusterPort::Range { protocol: protocol?, first, last })
}

fn read_range<'t>(
    reader: &mut Reader<'t>,
    entries: &'t [Entry],
    mark: Mark,
    may_be_one: bool,
) -> Option<(u16, u16)> {
    let start = reader.field(entries, "start", read_port);
    let end = reader.field(entries, "end", read_port);
    if start.is_none() || end.is_none() {
        reader.error(mark, "a range without both ends", "start and end, from 1 to 65535");
    }
    let (start, end) = (start??, end??);
    if end < start || (end == start && !may_be_one) {
        let message = format!("the range ends at {end}, not above {start}");
        reader.error(mark, message, "an end above the start; a single port is a number");
        return None;
    }
    Some((start, end))
}
