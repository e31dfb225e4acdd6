//! v1 Node: addresses, pod CIDRs, and where flannel says its VTEP is.

use super::flannel::{Flannel, read_flannel};
use super::meta::{Meta, RawMeta};
use super::reader::Reader;
use super::syntax::{cidr_expected, parse_address, parse_cidr};
use super::tree::{Entry, Node as Tree};
use super::words::quoted;
use ipnet::IpNet;
use std::net::IpAddr;

/// Addresses, and pod CIDRs, of one node: far more than any has, few enough to look through.
const MAX_ADDRESSES: usize = 256;

fn too_many<'t>(reader: &mut Reader<'t>, tree: &'t Tree) {
    reader.error(tree.mark, "one too many", &format!("at most {MAX_ADDRESSES}"));
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Name and labels.
    pub meta: Meta,
    /// `status.addresses` of type InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
    /// Those of type InternalIP. An ExternalIP may be that of an address translator before several nodes.
    pub internal_addresses: Vec<IpAddr>,
    /// `spec.podCIDRs`, else `spec.podCIDR`.
    pub pod_cidrs: Vec<IpNet>,
    /// Flannel's annotations.
    pub flannel: Flannel,
}

impl Node {
    pub(crate) fn read<'t>(reader: &mut Reader<'t>, raw: RawMeta<'t>, entries: &'t [Entry]) -> Self {
        let flannel = read_flannel(reader, raw.annotations);
        let mut node = Self {
            meta: raw.meta,
            addresses: Vec::new(),
            internal_addresses: Vec::new(),
            pod_cidrs: Vec::new(),
            flannel,
        };
        reader.field(entries, "spec", |reader, tree| {
            let Some(spec) = reader.mapping(tree) else { return };
            reader.refuse_misspelled(spec, &["podCIDR", "podCIDRs"], &[]);
            reader.field(spec, "podCIDRs", |reader, tree| {
                reader.each(tree, |reader, tree| node.read_pod_cidr(reader, tree));
            });
            if node.pod_cidrs.is_empty() {
                reader.field(spec, "podCIDR", |reader, tree| node.read_pod_cidr(reader, tree));
            }
        });
        reader.field(entries, "status", |reader, tree| {
            let Some(status) = reader.mapping(tree) else { return };
            reader.refuse_misspelled(status, &["addresses"], &[]);
            reader.field(status, "addresses", |reader, tree| {
                reader.each(tree, |reader, tree| node.read_address(reader, tree));
            });
        });
        node
    }

    fn read_pod_cidr<'t>(&mut self, reader: &mut Reader<'t>, tree: &'t Tree) {
        let Some(text) = reader.string(tree) else { return };
        if self.pod_cidrs.len() >= MAX_ADDRESSES {
            return too_many(reader, tree);
        }
        match parse_cidr(text) {
            Some(cidr) if !self.pod_cidrs.contains(&cidr) => self.pod_cidrs.push(cidr),
            Some(_) => {}
            None if text.is_empty() => {}
            None => reader.error(tree.mark, format!("{} is not a CIDR", quoted(text)), cidr_expected(text)),
        }
    }

    fn read_address<'t>(&mut self, reader: &mut Reader<'t>, tree: &'t Tree) {
        let kind = tree.child("type").and_then(Tree::text);
        if !matches!(kind, Some("InternalIP" | "ExternalIP")) {
            return;
        }
        let Some(entries) = reader.mapping(tree) else { return };
        reader.field(entries, "address", |reader, tree| {
            let Some(text) = reader.string(tree) else { return };
            if self.addresses.len() >= MAX_ADDRESSES {
                return too_many(reader, tree);
            }
            let Some(address) = parse_address(text) else {
                let expected = "an address like 192.0.2.1";
                reader.error(tree.mark, format!("{} is not an IP address", quoted(text)), expected);
                return;
            };
            if !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
            if kind == Some("InternalIP") && !self.internal_addresses.contains(&address) {
                self.internal_addresses.push(address);
            }
        });
    }
}
