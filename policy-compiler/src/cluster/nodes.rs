//! What nodes say of themselves, held against one another and against the pods.
//!
//! Two nodes that claim one VTEP, one address or overlapping pod CIDRs cannot both be right, and packets for one would
//! go to the other: an error that names both. A pod that shows an address no pod of its node can have is misplaced.
//! Cost: n log n in the nodes' addresses and CIDRs, one lookup per pod address.

use super::Misplacement;
use crate::api::{Diagnostic, Node, ObjectKey, Origin, Pod, Severity};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What an address of a pod is held against.
#[derive(Debug, Default)]
pub(crate) struct Places {
    of_nodes: BTreeSet<IpAddr>,
    pod_cidrs: BTreeMap<String, Vec<IpNet>>,
}

impl Places {
    /// `scope`: the own node, with further addresses of it in `extra`. Without one, only nodes that flannel has
    /// annotated are held to their podCIDRs: other networks give pods addresses from elsewhere.
    pub(super) fn new(nodes: &[&Node], scope: Option<&str>, extra: &[IpAddr]) -> Self {
        let mut places = Self::default();
        places.of_nodes.extend(extra);
        for node in nodes {
            places.of_nodes.extend(&node.addresses);
            places.of_nodes.extend(node.flannel.public_ip.map(IpAddr::V4));
            places.of_nodes.extend(node.flannel.public_ipv6.map(IpAddr::V6));
            places.of_nodes.extend(node.pod_cidrs.iter().flat_map(|cidr| gateway_addresses(*cidr)));
            if scope.is_some() || node.flannel.is_there() {
                places.pod_cidrs.insert(node.meta.key.name.clone(), node.pod_cidrs.clone());
            }
        }
        places
    }

    /// Why no pod of the pod's node can have the address. Of a node that nobody knows, or that names no CIDR of this
    /// family, anything is believed that is no node's.
    pub(crate) fn misplaced(&self, pod: &Pod, address: IpAddr) -> Option<Misplacement> {
        if self.of_nodes.contains(&address) {
            return Some(Misplacement::OfANode);
        }
        let cidrs = self.pod_cidrs.get(pod.node_name.as_str())?;
        let mut family = cidrs.iter().filter(|cidr| cidr.addr().is_ipv4() == address.is_ipv4()).peekable();
        family.peek()?;
        (!family.any(|cidr| cidr.contains(&address))).then_some(Misplacement::OutsidePodCidrs)
    }
}

/// The first two addresses of a node's pod CIDR: the VTEP device has the first, the bridge (or weir's TAP in
/// its place) the second.
pub(super) fn gateway_addresses(cidr: IpNet) -> impl Iterator<Item = IpAddr> {
    let first = cidr.network();
    let second = match first {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    };
    [Some(first), second.filter(|address| cidr.contains(address))].into_iter().flatten()
}

/// Everything in which two nodes contradict each other, one error for each, at the node that comes later.
pub(super) fn contradictions(nodes: &[&Node]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    overlaps(nodes, &mut found);
    let flannel = |name| format!("metadata.annotations[\"flannel.alpha.coreos.com/{name}\"]");
    let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    claimed_twice(nodes, &flannel("public-ip"), &mut found, |node| {
        node.flannel.public_ip.map(|address| address.to_string()).into_iter().collect()
    });
    claimed_twice(nodes, &flannel("public-ipv6"), &mut found, |node| {
        node.flannel.public_ipv6.map(|address| address.to_string()).into_iter().collect()
    });
    claimed_twice(nodes, &flannel("backend-data"), &mut found, |node| {
        node.flannel.vtep_mac.map(mac).into_iter().collect()
    });
    claimed_twice(nodes, &flannel("backend-v6-data"), &mut found, |node| {
        node.flannel.vtep_mac_v6.map(mac).into_iter().collect()
    });
    claimed_twice(nodes, "status.addresses", &mut found, |node| {
        node.internal_addresses.iter().map(ToString::to_string).collect()
    });
    found
}

/// Everything that more than one node says of itself in `field`.
fn claimed_twice<'o>(
    nodes: &[&'o Node],
    field: &str,
    found: &mut Vec<Diagnostic>,
    claims: impl Fn(&Node) -> Vec<String>,
) {
    let mut first: BTreeMap<String, &'o Node> = BTreeMap::new();
    for &node in nodes {
        for claim in claims(node) {
            match first.get(&claim) {
                Some(other) => {
                    let message = format!("{claim} is also claimed by {}", named(other));
                    found.push(contradiction(node, field, message, "what no other node claims"));
                }
                None => drop(first.insert(claim, node)),
            }
        }
    }
}

/// Pod CIDRs that share addresses. In order of their first addresses, the wider first, one that overlaps any before it
/// lies in one that has not ended yet.
fn overlaps(nodes: &[&Node], found: &mut Vec<Diagnostic>) {
    let mut cidrs: Vec<(IpNet, usize)> = Vec::new();
    for (position, node) in nodes.iter().enumerate() {
        cidrs.extend(node.pod_cidrs.iter().map(|cidr| (*cidr, position)));
    }
    cidrs.sort_by_key(|(cidr, position)| (cidr.network(), cidr.prefix_len(), *position));
    let mut open: Vec<(IpNet, usize)> = Vec::new();
    for (cidr, position) in cidrs {
        while open.last().is_some_and(|(outer, _)| !outer.contains(&cidr)) {
            open.pop();
        }
        let other = open.iter().rfind(|(_, other)| *other != position);
        if let Some((outer, other)) = other
            && let (Some(node), Some(other)) = (nodes.get(position), nodes.get(*other))
        {
            let message = format!("{cidr} overlaps {outer} of {}", named(other));
            found.push(contradiction(node, "spec.podCIDRs", message, "ranges that no two nodes share"));
        }
        open.push((cidr, position));
    }
}

fn named(node: &Node) -> String {
    format!("{} ({})", node.meta.key, node.meta.origin)
}

fn contradiction(node: &Node, field: &str, message: String, expected: &str) -> Diagnostic {
    let (object, origin): (ObjectKey, Origin) = (node.meta.key.clone(), node.meta.origin.clone());
    Diagnostic {
        severity: Severity::Error,
        origin,
        object: Some(object),
        field: field.to_owned(),
        message,
        expected: Some(expected.to_owned()),
        help: Some("correct one of them, or remove the Node that is gone".to_owned()),
    }
}
