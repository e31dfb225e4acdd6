//! Peers and ports of a rule in words, with what is ANDed and what is ORed said as such.

use crate::api::{IpBlock, NAME_LABEL, Requirement, Selector};
use crate::model::{Attribute, Expression, Namespaces, Peer, Peers, PodSelection, PortSpec, Ports, Test};

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
    expression_in_words(&selector.into())
}

/// The same of an expression. Parts that are not of the outermost level stand in brackets.
pub fn expression_in_words(expression: &Expression) -> String {
    match expression {
        Expression::All(parts) => parts.iter().map(part).collect::<Vec<_>>().join(" and "),
        Expression::Any(parts) if parts.is_empty() => "nothing".to_owned(),
        Expression::Any(parts) => parts.iter().map(part).collect::<Vec<_>>().join(" or "),
        other => part(other),
    }
}

fn part(expression: &Expression) -> String {
    match expression {
        Expression::Is(attribute, test) => match test {
            Test::Exists => format!("any {}", name(attribute)),
            Test::In(values) if values.len() == 1 => format!("{}={}", name(attribute), values.concat()),
            Test::In(values) => format!("{} in ({})", name(attribute), values.join(", ")),
            Test::Contains(text) => format!("{} containing {text:?}", name(attribute)),
            Test::StartsWith(text) => format!("{} starting with {text:?}", name(attribute)),
            Test::EndsWith(text) => format!("{} ending with {text:?}", name(attribute)),
        },
        Expression::Not(inner) => match &**inner {
            Expression::Is(attribute, Test::Exists) => format!("no {}", name(attribute)),
            Expression::Is(attribute, Test::In(values)) => {
                format!("{} not in ({})", name(attribute), values.join(", "))
            }
            other => format!("not ({})", expression_in_words(other)),
        },
        Expression::All(parts) if parts.is_empty() => "anything".to_owned(),
        Expression::Any(parts) if parts.is_empty() => "nothing".to_owned(),
        Expression::All(parts) | Expression::Any(parts) if parts.len() == 1 => {
            parts.iter().map(part).collect()
        }
        other => format!("({})", expression_in_words(other)),
    }
}

fn name(attribute: &Attribute) -> String {
    match attribute {
        Attribute::Label(key) => key.clone(),
        Attribute::NamespaceLabel(key) => format!("namespace label {key}"),
        Attribute::Namespace => "namespace".to_owned(),
        Attribute::ServiceAccount => "service account".to_owned(),
        Attribute::ServiceAccountLabel(key) => format!("service account label {key}"),
    }
}

/// `pods labelled app=web in namespace shop`.
pub(super) fn pods(selection: &PodSelection) -> String {
    let who = match expression_in_words(&selection.pods) {
        all if all.is_empty() => "all pods".to_owned(),
        labels => format!("pods labelled {labels}"),
    };
    let place = match &selection.namespaces {
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
        Peer::Pods(selection) => pods(selection),
        Peer::Addresses(block) => ip_block(block),
        Peer::Nodes(selector) if selector.requirements.is_empty() => "any node".to_owned(),
        Peer::Nodes(selector) => format!("nodes labelled {}", selector_in_words(selector)),
        Peer::OwnNode => "the pod's own node".to_owned(),
        outside if *outside == Peer::outside() => "everything outside the cluster".to_owned(),
        Peer::Not(part) => format!("not {}", bracketed(part)),
        Peer::All(parts) if parts.is_empty() => "anyone".to_owned(),
        Peer::Any(parts) if parts.is_empty() => "nobody".to_owned(),
        Peer::All(parts) => parts.iter().map(bracketed).collect::<Vec<_>>().join(" and "),
        Peer::Any(parts) => parts.iter().map(bracketed).collect::<Vec<_>>().join(" or "),
    }
}

fn bracketed(part: &Peer) -> String {
    match part {
        Peer::All(parts) | Peer::Any(parts) if parts.len() > 1 => format!("({})", peer(part)),
        _ => peer(part),
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
