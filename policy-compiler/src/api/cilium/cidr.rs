//! CIDRs of rules, alone, in sets with exceptions, and in groups of their own kind, CiliumCIDRGroup.
//!
//! A bare address is a CIDR in `fromCIDR` and `toCIDR`, but not in the sets, as Cilium has it.

use super::policy::{CiliumCidrGroups, CiliumPeer};
use super::selector::read_object_selector;
use crate::api::meta::{Meta, OBJECT_FIELDS, RawMeta};
use crate::api::network_policy::IpBlock;
use crate::api::reader::Reader;
use crate::api::syntax::{cidr_expected, is_dns_subdomain, parse_address, parse_cidr};
use crate::api::tree::{Entry, Mark, Node, Value};
use crate::api::words::quoted;
use ipnet::IpNet;

/// A CiliumCIDRGroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumCidrGroup {
    /// Name and labels. With errors, what the group holds is not known.
    pub meta: Meta,
    /// `spec.externalCIDRs`.
    pub cidrs: Vec<IpNet>,
}

/// Reads a CiliumCIDRGroup.
pub(in crate::api) fn read_cidr_group<'t>(
    reader: &mut Reader<'t>,
    raw: RawMeta<'_>,
    mark: Mark,
    entries: &'t [Entry],
) -> CiliumCidrGroup {
    let mut cidrs = Vec::new();
    reader.refuse_unknown(entries, &OBJECT_FIELDS);
    let spec = reader.field(entries, "spec", |reader, node| {
        let Some(spec) = reader.mapping(node) else { return };
        reader.refuse_unknown(spec, &["externalCIDRs"]);
        let listed = reader.field(spec, "externalCIDRs", |reader, node| {
            reader.each(node, |reader, node| cidrs.extend(read_cidr(reader, node, true)));
        });
        if listed.is_none() {
            reader.error(node.mark, "the group has no externalCIDRs", "a list of CIDRs, which may be empty");
        }
    });
    if spec.is_none() {
        reader.error(mark, "the group has no spec", "spec with externalCIDRs");
    }
    cidrs.sort();
    cidrs.dedup();
    CiliumCidrGroup { meta: raw.meta, cidrs }
}

/// Reads a CIDR, or an address where that will do.
pub(super) fn read_cidr<'t>(reader: &mut Reader<'t>, node: &'t Node, bare: bool) -> Option<IpNet> {
    let text = reader.string(node)?;
    let cidr = parse_cidr(text).or_else(|| {
        let address = parse_address(text).filter(|_| bare)?;
        Some(IpNet::from(address))
    });
    if cidr.is_none() {
        reader.error(node.mark, format!("{} is not a CIDR", quoted(text)), cidr_expected(text));
    }
    cidr
}

/// Reads an element of `fromCIDRSet` or `toCIDRSet`.
pub(super) fn read_cidr_rule<'t>(reader: &mut Reader<'t>, node: &'t Node) -> Option<CiliumPeer> {
    const ONE_OF: &str = "one of cidr, cidrGroupRef and cidrGroupSelector";
    if node.value == Value::Null {
        reader.error(node.mark, "an empty element", ONE_OF);
        return None;
    }
    let errors = reader.error_count();
    let provenance = reader.provenance(node.mark);
    let entries = reader.mapping(node)?;
    reader.refuse_unknown(entries, &["cidr", "cidrGroupRef", "cidrGroupSelector", "except"]);
    let cidr = reader.field(entries, "cidr", |reader, node| read_cidr(reader, node, false));
    let name = reader.field(entries, "cidrGroupRef", |reader, node| {
        let name = reader.string(node)?;
        if !is_dns_subdomain(name) {
            let expected = "the name of a CiliumCIDRGroup: lower case letters, digits, '-' and '.'";
            reader.error(node.mark, format!("{} is not a valid name", quoted(name)), expected);
        }
        Some(name.to_owned())
    });
    let selector = reader.field(entries, "cidrGroupSelector", read_object_selector);
    let count =
        [cidr.is_some(), name.is_some(), selector.is_some()].into_iter().filter(|&there| there).count();
    if count != 1 && reader.error_count() == errors {
        reader.error(node.mark, format!("{count} of cidr, cidrGroupRef and cidrGroupSelector"), ONE_OF);
    }
    let cidr = cidr.flatten();
    let mut except = Vec::new();
    reader.field(entries, "except", |reader, node| {
        reader.each(node, |reader, node| {
            let Some(cut) = read_cidr(reader, node, false) else { return };
            match cidr {
                Some(cidr) if !cidr.contains(&cut) => {
                    let message = format!("{cut} is not a part of the cidr");
                    reader.error(node.mark, message, &format!("a block inside {cidr}"));
                }
                _ => except.push(cut),
            }
        });
    });
    except.sort();
    except.dedup();
    if reader.error_count() > errors {
        return None;
    }
    if let Some(cidr) = cidr {
        return Some(CiliumPeer::Block(IpBlock { cidr, except }));
    }
    let groups = match (name.flatten(), selector.flatten()) {
        (Some(name), None) => CiliumCidrGroups::Named(name),
        (None, Some(selector)) => CiliumCidrGroups::Labelled(selector),
        _ => return None,
    };
    Some(CiliumPeer::CidrGroups { groups, except, provenance })
}
