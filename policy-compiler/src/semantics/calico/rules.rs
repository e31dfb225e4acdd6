//! A rule of Calico's as a rule of the model.
//!
//! Of an ingress rule the source is the other end and the destination narrows the subjects; of an egress rule the
//! other way round. `notICMP` without a protocol is about ICMP of both families.

use super::endpoints::end;
use crate::api::{CalicoAction, CalicoIcmp, CalicoPort, CalicoRuleBody, IpBlock, IpFamily, Provenance};
use crate::model::{Direction, Peer, Peers, PortSpec, Ports, Protocol, Rule, RuleAction};
use crate::semantics::context::NetworkSets;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The rule; nothing if it may mean a network set that could not be read.
pub(super) fn rule(
    body: &CalicoRuleBody,
    direction: Direction,
    provenance: &Provenance,
    own_namespace: Option<&str>,
    sets: &NetworkSets<'_>,
) -> Option<Rule> {
    let source = end(&body.source, own_namespace, sets).ok()?;
    let destination = end(&body.destination, own_namespace, sets).ok()?;
    let (local, mut remote) = match direction {
        Direction::Egress => (source, destination),
        Direction::Ingress => (destination, source),
    };
    remote.extend(body.family.map(family));
    Some(Rule {
        local: all(local),
        peers: all(remote).map_or(Peers::Any, |peer| Peers::OneOf(vec![peer])),
        ports: ports(body),
        not_ports: not_ports(body),
        source_ports: match &body.source.ports[..] {
            [] => Ports::Any,
            ports => Ports::OneOf(specs(body, ports)),
        },
        not_source_ports: specs(body, &body.source.not_ports),
        ..Rule::about_all(direction, action(body.action), provenance.clone())
    })
}

fn action(action: CalicoAction) -> RuleAction {
    match action {
        CalicoAction::Allow => RuleAction::Allow,
        CalicoAction::Deny => RuleAction::Deny,
        CalicoAction::Log => RuleAction::Log,
        CalicoAction::Pass => RuleAction::Pass,
    }
}

/// All of them; nothing where anything will do.
fn all(parts: Vec<Peer>) -> Option<Peer> {
    match <[Peer; 1]>::try_from(parts) {
        Ok([only]) => Some(only),
        Err(parts) => (!parts.is_empty()).then_some(Peer::All(parts)),
    }
}

fn family(family: IpFamily) -> Peer {
    let cidr = match family {
        IpFamily::V4 => IpNet::V4(Ipv4Net::default()),
        IpFamily::V6 => IpNet::V6(Ipv6Net::default()),
    };
    Peer::Addresses(IpBlock { cidr, except: Vec::new() })
}

fn ports(body: &CalicoRuleBody) -> Ports {
    let Some(protocol) = body.protocol.map(Protocol::new) else { return Ports::Any };
    Ports::OneOf(match (&body.destination.ports[..], body.icmp) {
        ([], Some(CalicoIcmp { kind, code })) => vec![PortSpec::icmp(protocol, kind, code)],
        ([], None) => vec![PortSpec::all(protocol)],
        (ports, _) => specs(body, ports),
    })
}

fn not_ports(body: &CalicoRuleBody) -> Vec<PortSpec> {
    let mut not = specs(body, &body.destination.not_ports);
    not.extend(body.not_protocol.map(|number| PortSpec::all(Protocol::new(number))));
    if let Some(CalicoIcmp { kind, code }) = body.not_icmp {
        let both = [Protocol::ICMP, Protocol::ICMPV6].into_iter();
        let meant = both.filter(|icmp| body.protocol.is_none_or(|protocol| protocol == icmp.number()));
        not.extend(meant.map(|protocol| PortSpec::icmp(protocol, kind, code)));
    }
    not
}

/// Ports of the rule's protocol; a rule without one has none, as the reader sees to.
fn specs(body: &CalicoRuleBody, ports: &[CalicoPort]) -> Vec<PortSpec> {
    let Some(protocol) = body.protocol.map(Protocol::new) else { return Vec::new() };
    let spec = |port: &CalicoPort| match port {
        &CalicoPort::Range(first, last) => PortSpec::Range { protocol, first, last },
        CalicoPort::Named(name) => PortSpec::Named { protocol, name: name.clone() },
    };
    ports.iter().map(spec).collect()
}
