//! Peers and ports of a rule in words, with what is ANDed and what is ORed said as such.

use super::reach::types_in_words;
use super::transport::protocol_name;
use crate::api::{IpBlock, NAME_LABEL, Requirement, Selector};
use crate::model::{
    Attribute, Direction, Expression, Namespaces, Peer, Peers, PodSelection, PortSpec, Ports, Protocol, Rule,
    RuleAction, Test,
};
use std::fmt::Write as _;

/// `allow egress to pods labelled app=web in namespace shop, on TCP 80`.
// Writing to a String cannot fail.
pub fn rule_in_words(rule: &Rule) -> String {
    let action = match rule.action {
        RuleAction::Allow => "allow",
        RuleAction::Deny => "deny",
        RuleAction::Pass => "pass",
        RuleAction::Log => "log",
    };
    let preposition = if rule.direction == Direction::Egress { "to" } else { "from" };
    let mut words = format!("{action} {}", rule.direction);
    if let Some(local) = &rule.local {
        let whose = if rule.direction == Direction::Egress { "from" } else { "to" };
        let _ = write!(words, " {whose} those of its pods that are {}", bracketed(local));
    }
    let _ =
        write!(words, " {preposition} {}, on {}", peers_in_words(&rule.peers), ports_in_words(&rule.ports));
    let list = |specs: &[PortSpec]| specs.iter().map(port).collect::<Vec<_>>().join(", nor ");
    if !rule.not_ports.is_empty() {
        let _ = write!(words, ", but not on {}", list(&rule.not_ports));
    }
    match &rule.source_ports {
        Ports::Any => {}
        Ports::OneOf(specs) if specs.is_empty() => words.push_str(", from no source port"),
        Ports::OneOf(specs) => {
            let specs: Vec<String> = specs.iter().map(port).collect();
            let _ = write!(words, ", from source port {}", specs.join(", or "));
        }
    }
    if !rule.not_source_ports.is_empty() {
        let _ = write!(words, ", but not from source port {}", list(&rule.not_source_ports));
    }
    words
}

/// `pods labelled app=web in namespace shop`; several are said to be alternatives.
pub fn peers_in_words(peers: &Peers) -> String {
    match peers {
        Peers::Any => "anyone".to_owned(),
        Peers::OneOf(peers) => match &peers[..] {
            [] => "nobody".to_owned(),
            [only] => peer(only),
            [one, two] => format!("either {}, or {}", peer(one), peer(two)),
            peers => format!("any of: {}", peers.iter().map(peer).collect::<Vec<_>>().join(", or ")),
        },
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
    // The point of the API that is most often misread, so it is said.
    let both = match &selection.namespaces {
        Namespaces::Matching(selector)
            if !selector.requirements.is_empty() && !selection.pods.is_everything() =>
        {
            " (both must hold)"
        }
        _ => "",
    };
    format!("{who} {place}{both}")
}

// Writing to a String cannot fail.
pub(super) fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Pods(selection) => pods(selection),
        Peer::Addresses(block) => ip_block(block),
        Peer::Nodes(selector) if selector.requirements.is_empty() => "any node".to_owned(),
        Peer::Nodes(selector) => format!("nodes labelled {}", selector_in_words(selector)),
        Peer::OwnNode => "the pod's own node".to_owned(),
        outside if *outside == Peer::outside() => "everything outside the cluster".to_owned(),
        Peer::Not(part) => format!("anyone but {}", bracketed(part)),
        Peer::All(parts) if parts.is_empty() => "anyone".to_owned(),
        Peer::Any(parts) if parts.is_empty() => "nobody".to_owned(),
        Peer::All(parts) => {
            // What is meant first, then what is left out of it.
            let (not, are): (Vec<&Peer>, Vec<&Peer>) =
                parts.iter().partition(|part| matches!(part, Peer::Not(_)));
            let are: Vec<String> = are.into_iter().map(bracketed).collect();
            let mut words = if are.is_empty() { "anyone".to_owned() } else { are.join(" and ") };
            for part in not {
                let Peer::Not(part) = part else { continue };
                let _ = write!(words, " but not {}", bracketed(part));
            }
            words
        }
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

pub(super) fn port(spec: &PortSpec) -> String {
    match spec {
        PortSpec::Range { protocol, first: 0, last: u16::MAX } if protocol.has_ports() => {
            format!("all of {protocol}")
        }
        PortSpec::Range { protocol: Protocol::ICMP, first: 0, last: u16::MAX } => "ICMP".to_owned(),
        PortSpec::Range { protocol: protocol @ (Protocol::ICMP | Protocol::ICMPV6), first, last }
            if (*first, *last) != (0, u16::MAX) =>
        {
            format!("{protocol} {}", types_in_words((*first, *last)))
        }
        PortSpec::Range { protocol, first, last } if protocol.has_ports() && first == last => {
            format!("{protocol} {first}")
        }
        PortSpec::Range { protocol, first, last } if protocol.has_ports() => {
            format!("{protocol} {first}-{last}")
        }
        PortSpec::Range { protocol, .. } => protocol_name(*protocol),
        PortSpec::Named { protocol, name } => {
            format!("the port that the destination pod names {name} ({protocol})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rule_in_words;
    use crate::api::{IpBlock, Origin, Provenance, Requirement, Selector};
    use crate::model::{
        Direction, Expression, Namespaces, Peer, Peers, PodSelection, PortSpec, Ports, Protocol, Rule,
        RuleAction,
    };

    fn rule(direction: Direction, action: RuleAction) -> Rule {
        let provenance = Provenance { origin: Origin::of_file("a"), field: "spec".into() };
        Rule::about_all(direction, action, provenance)
    }

    fn pods(namespaces: Namespaces) -> Peer {
        Peer::Pods(PodSelection { namespaces, pods: Expression::label("app", ["web"]) })
    }

    fn block(cidr: &str) -> Peer {
        let Ok(cidr) = cidr.parse() else { panic!("{cidr}") };
        Peer::Addresses(IpBlock { cidr, except: Vec::new() })
    }

    #[test]
    fn and_is_told_from_or() {
        let red = Selector { requirements: vec![Requirement::In("team".into(), vec!["red".into()])] };
        let both = pods(Namespaces::Matching(red));
        let one =
            Rule { peers: Peers::OneOf(vec![both.clone()]), ..rule(Direction::Ingress, RuleAction::Allow) };
        assert_eq!(
            rule_in_words(&one),
            "allow ingress from pods labelled app=web in namespaces labelled team=red (both must hold), \
             on all protocols and ports"
        );
        let own = pods(Namespaces::Named("shop".into()));
        let two = Rule { peers: Peers::OneOf(vec![own, block("10.0.0.0/8")]), ..one };
        assert_eq!(
            rule_in_words(&two),
            "allow ingress from either pods labelled app=web in namespace shop, or addresses in 10.0.0.0/8, \
             on all protocols and ports"
        );
    }

    #[test]
    fn exclusions_source_ports_types_and_the_local_part_are_said() {
        let full = Rule {
            local: Some(block("10.42.0.0/16")),
            peers: Peers::OneOf(vec![Peer::All(vec![
                block("10.0.0.0/8"),
                pods(Namespaces::Named("shop".into())).negated(),
            ])]),
            ports: Ports::OneOf(vec![PortSpec::icmp(Protocol::ICMP, 8, None), PortSpec::all(Protocol::TCP)]),
            not_ports: vec![PortSpec::Range { protocol: Protocol::TCP, first: 22, last: 23 }],
            source_ports: Ports::OneOf(vec![PortSpec::Range { protocol: Protocol::TCP, first: 0, last: 99 }]),
            not_source_ports: vec![PortSpec::Range { protocol: Protocol::TCP, first: 7, last: 7 }],
            ..rule(Direction::Egress, RuleAction::Deny)
        };
        assert_eq!(
            rule_in_words(&full),
            "deny egress from those of its pods that are addresses in 10.42.0.0/16 to addresses in 10.0.0.0/8 but \
             not pods labelled app=web in namespace shop, on ICMP type 8, or all of TCP, but not on TCP 22-23, from \
             source port TCP 0-99, but not from source port TCP 7"
        );
        assert_eq!(
            rule_in_words(&Rule {
                peers: Peers::OneOf(vec![Peer::Not(Box::new(block("10.0.0.0/8")))]),
                ports: Ports::OneOf(vec![PortSpec::all(Protocol::new(47)), PortSpec::all(Protocol::ICMP)]),
                ..rule(Direction::Ingress, RuleAction::Pass)
            }),
            "pass ingress from anyone but addresses in 10.0.0.0/8, on GRE, or ICMP"
        );
    }
}
