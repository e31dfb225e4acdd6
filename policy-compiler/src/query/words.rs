//! Peers and ports of a rule in words, with what is ANDed and what is ORed said as such.

use crate::api::{IpBlock, NAME_LABEL, Requirement, Selector};
use crate::model::{Namespaces, Peer, Peers, PortSpec, Ports};

/// `pods labelled app=web in namespace shop, or addresses in 10.0.0.0/8`.
pub fn peers_in_words(peers: &Peers) -> String {
    match peers {
        Peers::Any => "anyone".to_owned(),
        Peers::OneOf(peers) if peers.is_empty() => "nobody".to_owned(),
        Peers::OneOf(peers) => peers.iter().map(peer).collect::<Vec<_>>().join(", or "),
    }
}

/// `TCP 80, or the port that the destination pod names http (TCP)`.
pub fn ports_in_words(ports: &Ports) -> String {
    match ports {
        Ports::Any => "all protocols and ports".to_owned(),
        Ports::OneOf(specs) if specs.is_empty() => "no port".to_owned(),
        Ports::OneOf(specs) => specs.iter().map(port).collect::<Vec<_>>().join(", or "),
    }
}

/// `app=web and tier in (x, y)`; nothing for a selector that matches everything.
pub fn selector_in_words(selector: &Selector) -> String {
    let word = |requirement: &Requirement| match requirement {
        Requirement::In(key, values) if values.len() == 1 => format!("{key}={}", values.concat()),
        Requirement::In(key, values) => format!("{key} in ({})", values.join(", ")),
        Requirement::NotIn(key, values) => format!("{key} not in ({})", values.join(", ")),
        Requirement::Exists(key) => format!("any {key}"),
        Requirement::DoesNotExist(key) => format!("no {key}"),
    };
    selector.requirements.iter().map(word).collect::<Vec<_>>().join(" and ")
}

/// `pods labelled app=web in namespace shop`.
pub(super) fn pods(namespaces: &Namespaces, pods: &Selector) -> String {
    let who = match selector_in_words(pods) {
        all if all.is_empty() => "all pods".to_owned(),
        labels => format!("pods labelled {labels}"),
    };
    let place = match namespaces {
        Namespaces::Named(name) => format!("in namespace {name}"),
        Namespaces::Matching(selector) => match &selector.requirements[..] {
            [] => "in any namespace".to_owned(),
            [Requirement::In(key, names)] if key == NAME_LABEL && names.len() == 1 => {
                format!("in namespace {}", names.concat())
            }
            _ => format!("in namespaces labelled {}", selector_in_words(selector)),
        },
    };
    format!("{who} {place}")
}

fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Pods { namespaces, pods: selector } => pods(namespaces, selector),
        Peer::Addresses(block) => ip_block(block),
    }
}

fn ip_block(block: &IpBlock) -> String {
    let except: Vec<String> = block.except.iter().map(ToString::to_string).collect();
    if except.is_empty() {
        return format!("addresses in {}", block.cidr);
    }
    format!("addresses in {} but not in {}", block.cidr, except.join(", "))
}

fn port(spec: &PortSpec) -> String {
    match spec {
        PortSpec::Range { protocol, first: 0, last: u16::MAX } => format!("all of {protocol}"),
        PortSpec::Range { protocol, first, last } if first == last => format!("{protocol} {first}"),
        PortSpec::Range { protocol, first, last } => format!("{protocol} {first}-{last}"),
        PortSpec::Named { protocol, name } => {
            format!("the port that the destination pod names {name} ({protocol})")
        }
    }
}
