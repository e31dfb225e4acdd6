//! Selectors that find nobody, port names that nobody has, blocks of addresses that pods have.

use super::scene::{Remote, Scene, Seen};
use super::{Findings, Lint};
use crate::api::IpBlock;
use crate::api::Kind;
use crate::model::{Namespaces, Peer, Policy, PortSpec, Ports, Rule};
use crate::query::words::{peer, pods as pods_in_words};
use ipnet::IpNet;
use std::fmt::Write as _;

pub(super) fn policy(scene: &Scene<'_>, policy: &Policy, findings: &mut Findings) {
    let subjects = scene.subjects(policy);
    if subjects.is_empty() {
        subject(scene, policy, findings);
    }
    for rule in policy.rules.iter().filter(|rule| rule.hole.is_none()) {
        peers(scene, policy, rule, findings);
        // Without pods at that end the finding is that, and not its port.
        let destinations = scene.destinations(rule, &subjects);
        let sources = scene.sources(rule, &subjects);
        let lists = [
            (&rule.ports, &rule.not_ports, &destinations, "destination"),
            (&rule.source_ports, &rule.not_source_ports, &sources, "source"),
        ];
        for (ports, not_ports, pods, end) in lists {
            for (position, spec) in ports.listed().iter().chain(not_ports).enumerate() {
                let outside =
                    pods.is_empty() && scene.ends.iter().any(|end| scene.hold(&rule.peers, Remote::End(end)));
                if !pods.is_empty() || outside {
                    port_name(policy, rule, (position, ports, spec), (pods, end), findings);
                }
            }
        }
    }
}

// Writing to a String cannot fail.
fn subject(scene: &Scene<'_>, policy: &Policy, findings: &mut Findings) {
    let provenance = &policy.provenance;
    if let Namespaces::Named(namespace) = &policy.subject.namespaces
        && !scene.pods.iter().any(|seen| seen.attributes.namespace == namespace)
    {
        let exists =
            if scene.namespaces.contains_key(namespace) { "has no pods" } else { "is not in the state" };
        findings.add(
            Lint::NamespaceWithoutPods,
            &policy.name,
            (&provenance.field, &provenance.origin),
            format!("the policy is for namespace {namespace}, which {exists}"),
            "correct the namespace, or remove the policy",
        );
        return;
    }
    let who = pods_in_words(&policy.subject).replace("all pods", "pods");
    let mut message = format!("the policy selects no pod: there are no {who}");
    let on_host = |seen: &&Seen<'_>| policy.subject.matches(&seen.attributes);
    if let Some(seen) = scene.host_pods.iter().find(on_host) {
        let _ =
            write!(message, " but on the host network, like {}, where policies do not reach", seen.name());
    }
    let field =
        if policy.name.kind == Kind::NetworkPolicy { "spec.podSelector" } else { provenance.field.as_str() };
    let help = "correct the selector or the namespace, or remove the policy";
    findings.add(Lint::SelectsNoPod, &policy.name, (field, &provenance.origin), message, help);
}

/// Where an alternative of a rule's peers stands, as far as the model tells.
pub(super) fn peer_field(policy: &Policy, rule: &Rule, position: usize) -> String {
    let field = &rule.provenance.field;
    match policy.name.kind {
        Kind::NetworkPolicy
        | Kind::ClusterNetworkPolicy
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy => {
            let list = if rule.direction == crate::model::Direction::Ingress { "from" } else { "to" };
            format!("{field}.{list}[{position}]")
        }
        _ => field.clone(),
    }
}

fn peers(scene: &Scene<'_>, policy: &Policy, rule: &Rule, findings: &mut Findings) {
    let origin = &rule.provenance.origin;
    for (position, alternative) in rule.peers.listed().iter().enumerate() {
        let field = peer_field(policy, rule, position);
        if !scene.remotes().any(|remote| scene.holds(alternative, remote)) {
            let who = peer(alternative);
            // Blocks of addresses are there, whoever has them; only all of one family may be left out of the ends.
            if alternative.atoms().iter().all(|atom| matches!(atom, Peer::Addresses(_))) {
                continue;
            }
            if super::meaning::probably_two(scene, policy, alternative) {
                findings.add(
                    Lint::PeersProbablyTwo,
                    &policy.name,
                    (&field, origin),
                    format!("one peer that must meet both selectors, and nobody does: {who}"),
                    "if either was meant, the pods of this namespace or all pods of those namespaces, write two \
                     elements: a '-' before each selector",
                );
                continue;
            }
            findings.add(
                Lint::PeerMatchesNoPod,
                &policy.name,
                (&field, origin),
                format!("the rule's peer matches nobody: {who}"),
                "correct the selectors, or remove the peer",
            );
        }
        if let Some((block, whom)) = covered(scene, alternative, is_calico(policy.name.kind)) {
            findings.add(
                Lint::IpBlockCoversPods,
                &policy.name,
                (&field, origin),
                format!("the block {} covers {whom}", block.cidr),
                "select pods by their labels, and except the pod network from the block",
            );
        }
    }
}

/// A block of addresses that is a peer by itself and covers pods, or the network they are in.
fn covered<'p>(scene: &Scene<'_>, alternative: &'p Peer, calico: bool) -> Option<(&'p IpBlock, String)> {
    let atoms = alternative.atoms();
    // With selectors beside it the block is narrowed to pods, or to what is none. A whole family is what Calico's
    // `ipVersion` becomes.
    let plain = |atom: &&Peer| match atom {
        Peer::Addresses(block) => !calico || block.cidr.prefix_len() > 0,
        _ => false,
    };
    if !atoms.iter().all(plain) {
        return None;
    }
    let block = atoms.into_iter().find_map(|atom| match atom {
        Peer::Addresses(block) => Some(block),
        _ => None,
    })?;
    if let Some(seen) = scene.pods.iter().find(|seen| scene.holds(alternative, Remote::Pod(**seen))) {
        return Some((block, format!("pods, {} for one", seen.name())));
    }
    if !matches!(alternative, Peer::Addresses(_)) {
        return None;
    }
    let nodes = scene.judge.compiled().cluster.nodes.iter();
    nodes.flat_map(|node| node.pod_cidrs.iter().map(move |cidr| (node, cidr))).find_map(|(node, cidr)| {
        let common = smaller(&block.cidr, cidr)?;
        let left = !block.except.iter().any(|except| except.contains(common));
        left.then(|| (block, format!("addresses of the pod network, {cidr} of node {}", node.name)))
    })
}

const fn is_calico(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CalicoNetworkPolicy
            | Kind::CalicoGlobalNetworkPolicy
            | Kind::CalicoStagedNetworkPolicy
            | Kind::CalicoStagedGlobalNetworkPolicy
    )
}

/// The smaller of two prefixes one of which is in the other.
fn smaller<'n>(one: &'n IpNet, two: &'n IpNet) -> Option<&'n IpNet> {
    if one.contains(two) {
        Some(two)
    } else if two.contains(one) {
        Some(one)
    } else {
        None
    }
}

// Writing to a String cannot fail.
fn port_name(
    policy: &Policy,
    rule: &Rule,
    (position, ports, spec): (usize, &Ports, &PortSpec),
    (pods, end): (&[Seen<'_>], &str),
    findings: &mut Findings,
) {
    let PortSpec::Named { protocol, name } = spec else { return };
    let named = |seen: &Seen<'_>| seen.pod.named_ports.iter().any(|known| known.name == *name);
    let defined = pods.iter().any(|seen| {
        let mut known = seen.pod.named_ports.iter();
        known.any(|known| known.name == *name && known.protocol == protocol.number())
    });
    if defined {
        return;
    }
    let mut message = format!("no {end} pod names a {protocol} port {name:?}: the entry covers nothing");
    if pods.iter().any(named) {
        message.push_str(" (there is one of that name, of another protocol)");
    }
    let mut field = rule.provenance.field.clone();
    if policy.name.kind == Kind::NetworkPolicy && position < ports.listed().len() {
        let _ = write!(field, ".ports[{position}]");
    }
    let help = "use a name from the pods' containerPorts with its protocol, or the number";
    findings.add(Lint::PortNameUndefined, &policy.name, (&field, &rule.provenance.origin), message, help);
}
