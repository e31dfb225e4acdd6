//! Problems that no object has alone: they come up when the objects are put together.

use crate::api::{Diagnostic, Kind, Object, ObjectKey, Origin, Severity, closest, listed};
use crate::cluster::{CutOff, Misplacement};
use crate::lower::TooLarge;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Nodes that a message names.
const NAMED: usize = 10;

/// The diagnostic of a pod with an address that it cannot have.
pub(super) fn misplaced(objects: &BTreeMap<ObjectKey, Object>, cut_off: &CutOff) -> Option<Diagnostic> {
    let CutOff::Misplaced { pod, node, address, reason } = cut_off else { return None };
    let key = ObjectKey { kind: Kind::Pod, namespace: pod.namespace.clone(), name: pod.name.clone() };
    let object = objects.get(&key)?;
    let (message, expected, help) = match reason {
        Misplacement::OfANode => {
            let (message, help) = of_a_node(objects, *address);
            (message, "an address that no node or gateway has".to_owned(), help)
        }
        Misplacement::OutsidePodCidrs => {
            let key = ObjectKey { kind: Kind::Node, namespace: String::new(), name: node.clone() };
            let Some(Object::Node(node)) = objects.get(&key) else { return None };
            let cidrs = node.pod_cidrs.iter().filter(|cidr| cidr.addr().is_ipv4() == address.is_ipv4());
            let cidrs: Vec<String> = cidrs.map(IpNet::to_string).collect();
            let message =
                format!("{address} is outside the podCIDRs of {} ({})", node.meta.key, node.meta.origin);
            let help = "correct the address, or spec.nodeName, or the node's spec.podCIDRs";
            (message, format!("an address in {}", cidrs.join(" or ")), help)
        }
    };
    Some(Diagnostic {
        severity: Severity::Error,
        origin: object.origin().clone(),
        object: Some(key),
        field: "status.podIPs".to_owned(),
        message,
        expected: Some(expected),
        help: Some(help.to_owned()),
    })
}

/// Whose address it is, and what to do about it.
fn of_a_node(objects: &BTreeMap<ObjectKey, Object>, address: IpAddr) -> (String, &'static str) {
    let host = "a pod that uses the addresses of its node has spec.hostNetwork: true";
    for object in objects.values() {
        let Object::Node(node) = object else { continue };
        let named = || format!("{} ({})", node.meta.key, node.meta.origin);
        let public = [node.flannel.public_ip.map(IpAddr::V4), node.flannel.public_ipv6.map(IpAddr::V6)];
        if node.addresses.contains(&address) || public.contains(&Some(address)) {
            return (format!("{address} is an address of {}", named()), host);
        }
        if let Some(cidr) = node.pod_cidrs.iter().find(|cidr| cidr.contains(&address)) {
            let message = format!("{address} is the VTEP's or gateway's address in {cidr} of {}", named());
            return (message, "the first two addresses of a podCIDR are no pods'");
        }
    }
    (format!("{address} is an address of the node"), host)
}

/// The diagnostic of a scope that no Node and no pod knows of.
pub(super) fn unknown_node(objects: &BTreeMap<ObjectKey, Object>, name: &str) -> Option<Diagnostic> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for object in objects.values() {
        match object {
            Object::Node(node) => drop(known.insert(&node.meta.key.name)),
            Object::Pod(pod) if !pod.node_name.is_empty() => drop(known.insert(&pod.node_name)),
            _ => {}
        }
    }
    if known.contains(name) {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let expected = match known.as_slice() {
        [] => "a Node object, or pods with spec.nodeName".to_owned(),
        few if few.len() <= NAMED => listed(few),
        many => {
            let (named, rest) = many.split_at(NAMED);
            format!("{} or one of {} more", named.join(", "), rest.len())
        }
    };
    Some(Diagnostic {
        severity: Severity::Error,
        origin: Origin::of_file("cluster"),
        object: None,
        field: String::new(),
        message: format!("no Node is named {name:?}, and no pod runs on it"),
        expected: Some(expected),
        help: closest(name, &known).map(|meant| format!("did you mean {meant:?}?")),
    })
}

/// The diagnostic of tables that do not fit, whoever asks for them.
pub(super) fn too_large(reason: TooLarge, ceiling: usize) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        origin: Origin::of_file("classifier"),
        object: None,
        field: String::new(),
        message: format!("the tables would take {}", excess(reason)),
        expected: Some(format!("at most {} KiB", ceiling / 1024)),
        help: Some(
            "raise the memory ceiling, or write fewer overlapping ipBlocks and distinct ports".to_owned(),
        ),
    }
}

/// The diagnostic of a policy that is isolated so that the others fit.
pub(super) fn isolated(object: &Object, reason: TooLarge, ceiling: usize) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        origin: object.origin().clone(),
        object: Some(object.key().clone()),
        field: String::new(),
        message: format!(
            "does not fit, so it denies everything to the pods it is about: with it the tables would take {}",
            excess(reason)
        ),
        expected: Some(format!("at most {} KiB", ceiling / 1024)),
        help: Some(
            "write fewer overlapping ipBlocks, selectors and distinct ports, or raise the memory ceiling"
                .to_owned(),
        ),
    }
}

fn excess(TooLarge { part, needed }: TooLarge) -> String {
    let size = match needed {
        usize::MAX => "more than can be numbered".to_owned(),
        needed => format!("{} KiB or more", needed.div_ceil(1024)),
    };
    format!("{size}, most of it or the excess in: {part}")
}
