//! Reads one element of `ingress`, `egress` and their denying twins: whom it is about, and where it leads.
//!
//! Only one field of peers may be there with elements, and `icmps` not beside `toPorts`, as Cilium has it. No field of
//! peers means everybody, an empty list nobody, and a rule without peers and ports nobody: the opposite of NetworkPolicy.

use super::cidr::{read_cidr, read_cidr_rule};
use super::entity::CiliumEntity;
use super::icmp::read_icmp_rule;
use super::l7::read_dns_match;
use super::policy::{CiliumPeer, CiliumRuleBody};
use super::ports::read_port_rule;
use super::selector::{read_endpoint_selector, read_object_selector};
use crate::api::network_policy::IpBlock;
use crate::api::reader::Reader;
use crate::api::tree::{Entry, Node, Value};
use crate::api::words::quoted;

/// Names of fields, which differ by direction.
pub(super) struct Section {
    ingress: bool,
    deny: bool,
    endpoints: &'static str,
    entities: &'static str,
    cidr: &'static str,
    cidr_set: &'static str,
    nodes: &'static str,
    names: Option<&'static str>,
    requires: &'static str,
    groups: &'static str,
    services: Option<&'static str>,
}

impl Section {
    /// The section of a direction.
    pub(super) const fn new(ingress: bool, deny: bool) -> Self {
        if ingress {
            return Self {
                ingress,
                deny,
                endpoints: "fromEndpoints",
                entities: "fromEntities",
                cidr: "fromCIDR",
                cidr_set: "fromCIDRSet",
                nodes: "fromNodes",
                names: None,
                requires: "fromRequires",
                groups: "fromGroups",
                services: None,
            };
        }
        Self {
            ingress,
            deny,
            endpoints: "toEndpoints",
            entities: "toEntities",
            cidr: "toCIDR",
            cidr_set: "toCIDRSet",
            nodes: "toNodes",
            names: Some("toFQDNs"),
            requires: "toRequires",
            groups: "toGroups",
            services: Some("toServices"),
        }
    }

    fn known(&self) -> Vec<&'static str> {
        let mut known = vec![
            self.endpoints,
            self.entities,
            self.cidr,
            self.cidr_set,
            self.nodes,
            "toPorts",
            "icmps",
            self.requires,
            self.groups,
        ];
        known.extend(self.names);
        known.extend(self.services);
        if !self.deny {
            known.push("authentication");
        }
        known
    }
}

/// Reads a rule. `None`: it could not be read.
pub(super) fn read_rule<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    section: &Section,
) -> Option<CiliumRuleBody> {
    // The API server decodes a null element as an empty rule.
    if node.value == Value::Null {
        return Some(CiliumRuleBody::default());
    }
    let errors = reader.error_count();
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &section.known());
    refuse_nothing(reader, entries);
    refuse_unserved(reader, entries, section);
    let peers = read_peers(reader, node, entries, section);
    let ports = read_all(reader, entries, "toPorts", |reader, node| {
        read_port_rule(reader, node, (section.ingress, section.deny))
    });
    let icmps = read_all(reader, entries, "icmps", read_icmp_rule);
    // Empty lists of ports are as good as none.
    let ports = ports.filter(|ports| !ports.is_empty());
    let icmps = icmps.filter(|icmps| !icmps.is_empty());
    if ports.is_some() && icmps.is_some() {
        reader.error(node.mark, "icmps beside toPorts", "a rule of its own for each");
    }
    (reader.error_count() == errors).then_some(CiliumRuleBody { peers, ports: ports.or(icmps) })
}

/// A field with nothing behind it is a missing one to the API server, which is everybody, every port. Whoever left the list
/// out, a template perhaps, may have meant nobody.
fn refuse_nothing<'t>(reader: &mut Reader<'t>, entries: &'t [Entry]) {
    for entry in entries.iter().filter(|entry| entry.value.value == Value::Null) {
        reader.within(&entry.key, |reader| {
            let expected = "a list; without the field all is meant, with [] after peers nobody";
            reader.error(entry.value.mark, "nothing instead of a list", expected);
        });
    }
}

/// Every element that could be read of a list, if it is there.
fn read_all<'t, T>(
    reader: &mut Reader<'t>,
    entries: &'t [Entry],
    field: &'static str,
    mut read: impl FnMut(&mut Reader<'t>, &'t Node) -> Option<T>,
) -> Option<Vec<T>> {
    reader.field(entries, field, |reader, node| {
        let mut elements = Vec::new();
        reader.each(node, |reader, node| elements.extend(read(reader, node)));
        elements
    })
}

fn read_peers<'t>(
    reader: &mut Reader<'t>,
    node: &'t Node,
    entries: &'t [Entry],
    section: &Section,
) -> Option<Vec<CiliumPeer>> {
    let endpoint =
        |reader: &mut Reader<'t>, node| read_endpoint_selector(reader, node).map(CiliumPeer::Endpoints);
    let block = |reader: &mut Reader<'t>, node| {
        let cidr = read_cidr(reader, node, true)?;
        Some(CiliumPeer::Block(IpBlock { cidr, except: Vec::new() }))
    };
    let host_denied = section.ingress && section.deny;
    let entity =
        |reader: &mut Reader<'t>, node| read_entity(reader, node, host_denied).map(CiliumPeer::Entity);
    let of_nodes = |reader: &mut Reader<'t>, node| read_object_selector(reader, node).map(CiliumPeer::Nodes);
    let mut lists = vec![
        (section.endpoints, read_all(reader, entries, section.endpoints, endpoint)),
        (section.entities, read_all(reader, entries, section.entities, entity)),
        (section.cidr, read_all(reader, entries, section.cidr, block)),
        (section.cidr_set, read_all(reader, entries, section.cidr_set, read_cidr_rule)),
        (section.nodes, read_all(reader, entries, section.nodes, of_nodes)),
    ];
    if let Some(field) = section.names.filter(|_| !section.deny) {
        let names = reader.field(entries, field, |reader, node| {
            let message = "weir does not learn addresses from DNS yet, so these names are allowed nothing";
            reader.warning(node.mark, message, "toCIDRSet with the addresses, if they are known");
            let mut names = Vec::new();
            reader.each(node, |reader, node| {
                names.extend(read_dns_match(reader, node).map(CiliumPeer::Names));
            });
            names
        });
        lists.push((field, names));
    }
    let listed: Vec<&str> = lists
        .iter()
        .filter(|(_, list)| list.as_ref().is_some_and(|list| !list.is_empty()))
        .map(|(field, _)| *field)
        .collect();
    if let [first, second, ..] = listed[..] {
        reader.error(node.mark, format!("{second} beside {first}"), "a rule of its own for each");
    }
    let lists: Vec<Vec<CiliumPeer>> = lists.into_iter().filter_map(|(_, list)| list).collect();
    if lists.is_empty() {
        return None;
    }
    // An empty list selects nobody, whatever stands beside it.
    if lists.iter().any(Vec::is_empty) {
        return Some(Vec::new());
    }
    Some(lists.into_iter().flatten().collect())
}

fn read_entity<'t>(reader: &mut Reader<'t>, node: &'t Node, host_denied: bool) -> Option<CiliumEntity> {
    let text = reader.string(node)?;
    let Some(entity) = CiliumEntity::from_name(text) else {
        reader.unknown_word(node.mark, text, "an entity", &CiliumEntity::ALL.map(CiliumEntity::name));
        return None;
    };
    if entity.is_absent() {
        let message = format!("weir's cluster has no entity {text}, so it stands for nobody");
        reader.warning(node.mark, message, "");
    }
    if entity == CiliumEntity::Host && host_denied {
        let message = "a pod's own node is always let in, so this denies nothing";
        reader.warning(node.mark, message, "remote-node, if other nodes are meant");
    }
    Some(entity)
}

/// Fields that say something weir cannot enforce, and cannot fail closed about without guessing.
fn refuse_unserved<'t>(reader: &mut Reader<'t>, entries: &'t [Entry], section: &Section) {
    let mut refused = vec![
        (
            section.requires,
            "was removed from Cilium, and weir does not have it",
            "the labels in every selector of endpoints",
        ),
        (
            section.groups,
            "needs a cloud's API, which weir does not ask",
            "a CIDR set with the group's addresses",
        ),
    ];
    if let Some(services) = section.services {
        let message = "needs Service objects, which weir does not read";
        refused.push((services, message, "toEndpoints with the labels of the pods behind it, or toCIDRSet"));
    }
    if let Some(names) = section.names.filter(|_| section.deny) {
        refused.push((
            names,
            "cannot be denied: names are learnt only to be allowed",
            "toCIDRSet with the addresses",
        ));
    }
    for (field, message, expected) in refused {
        reader.field(entries, field, |reader, node| {
            reader.error(node.mark, format!("{field} {message}"), expected);
        });
    }
    if section.deny {
        return;
    }
    reader.field(entries, "authentication", |reader, node| {
        let Some(fields) = reader.mapping(node) else { return };
        reader.refuse_unknown(fields, &["mode"]);
        let mode = reader.field(fields, "mode", |reader, node| {
            let mode = reader.string(node)?;
            if mode != "disabled" {
                let message =
                    format!("weir cannot authenticate peers, and this rule asks for mode {}", quoted(mode));
                reader.error(node.mark, message, "disabled, or a rule without authentication");
            }
            Some(())
        });
        if mode.is_none() {
            reader.error(
                node.mark,
                "authentication without a mode",
                "disabled, or a rule without authentication",
            );
        }
    });
}
