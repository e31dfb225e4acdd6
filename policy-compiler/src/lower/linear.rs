//! Rows → the linear engine's rules: peers become addresses, names become ports, order stays.
//!
//! Pods are matched one by one here, not by identity, so that the two engines agree only if identities are right.

use super::catalogue::{Catalogue, Entry, side};
use super::rows::{Row, Rows};
use crate::classifier::linear::{
    Linear, LinearRow, LinearRule, LinearSubject, LinearTier, PortRange, Remote,
};
use crate::cluster::{LivePod, View};
use crate::model::{Direction, Peer, Peers, PortSpec, Ports};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) fn build(view: &View<'_>, catalogue: &Catalogue<'_>, rows: &Rows<'_>) -> Linear {
    let subjects = view.subjects.iter().zip(&rows.subjects).filter_map(|(&position, numbers)| {
        let own = view.pods.get(position)?.pod.pod_ips.clone();
        let [egress, ingress] = numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX));
        Some(LinearSubject { own, rows: [egress, ingress] })
    });
    let cut_off = view
        .owners
        .iter()
        .filter_map(|(&address, &(_, cut_off))| Some((address, *rows.fixed.cut_off.get(cut_off?)?)));
    let mut builder = Builder { view, catalogue, hosts: BTreeMap::new() };
    // The subject's own port names are a row's: any subject of the row has the same.
    let mut example: BTreeMap<usize, &LivePod<'_>> = BTreeMap::new();
    for (&position, numbers) in view.subjects.iter().zip(&rows.subjects) {
        if let Some(live) = view.pods.get(position) {
            example.entry(numbers[side(Direction::Ingress)]).or_insert(live);
        }
    }
    Linear {
        subjects: subjects.collect(),
        rows: rows
            .list
            .iter()
            .enumerate()
            .map(|(number, row)| builder.row(row, example.get(&number).copied(), &rows.nodes))
            .collect(),
        cut_off: cut_off.collect(),
        self_traffic: rows.fixed.self_traffic,
        not_isolated: rows.fixed.not_isolated,
        own_node: rows.fixed.own_node,
    }
}

struct Builder<'a, 'm> {
    view: &'a View<'a>,
    catalogue: &'a Catalogue<'m>,
    /// Addresses of the pods a peer matches.
    hosts: BTreeMap<&'m Peer, Arc<[IpAddr]>>,
}

impl<'m> Builder<'_, 'm> {
    fn row(&mut self, row: &Row, subject: Option<&LivePod<'_>>, nodes: &[&str]) -> LinearRow {
        let node =
            row.own_node.and_then(|node| nodes.get(node)).and_then(|node| self.view.own_node.get(node));
        let tiers = row.tiers.iter().map(|tier| {
            let mut rules = Vec::new();
            for entry in tier.rules.iter().filter_map(|&number| self.catalogue.entries.get(number)) {
                self.rules(entry, subject, &mut rules);
            }
            LinearTier { rules, undecided: tier.undecided }
        });
        LinearRow {
            cut_off: row.cut_off,
            tiers: tiers.collect(),
            own_node: node.into_iter().flatten().copied().collect(),
        }
    }

    /// One rule of the model may become several: an egress port name stands for other ports at every pod.
    fn rules(&mut self, entry: &Entry<'m>, subject: Option<&LivePod<'_>>, rules: &mut Vec<LinearRule>) {
        let (action, rule) = (entry.rule.action, entry.id);
        let remotes = match &entry.rule.peers {
            Peers::Any => None,
            Peers::OneOf(peers) => Some(peers.iter().map(|peer| self.remote(peer)).collect::<Vec<_>>()),
        };
        let Ports::OneOf(specs) = &entry.rule.ports else {
            rules.push(LinearRule { remotes, ports: None, action, rule });
            return;
        };
        let mut ports: Vec<PortRange> = Vec::new();
        for spec in specs {
            match spec {
                PortSpec::Range { protocol, first, last } => ports.push((protocol.number(), *first, *last)),
                PortSpec::Named { .. } if entry.rule.direction == Direction::Ingress => {
                    ports.extend(subject.iter().flat_map(|live| named(live, spec)));
                }
                PortSpec::Named { .. } => {
                    for live in &self.view.pods {
                        for port in named(live, spec) {
                            for &address in &live.addresses {
                                let meant = entry.rule.peers == Peers::Any
                                    || is_meant(&entry.rule.peers, live, address);
                                if meant {
                                    let remotes = Some(vec![Remote::Hosts(Arc::from([address]))]);
                                    rules.push(LinearRule { remotes, ports: Some(vec![port]), action, rule });
                                }
                            }
                        }
                    }
                }
            }
        }
        rules.push(LinearRule { remotes, ports: Some(ports), action, rule });
    }

    fn remote(&mut self, peer: &'m Peer) -> Remote {
        if let Peer::Addresses(block) = peer {
            return Remote::Block(block.clone());
        }
        let view = self.view;
        let hosts = self.hosts.entry(peer).or_insert_with(|| {
            let pods = view.pods.iter().filter(|live| matches(peer, live));
            let mut hosts: Vec<IpAddr> = pods.flat_map(|live| live.addresses.iter().copied()).collect();
            hosts.sort_unstable();
            hosts.into()
        });
        Remote::Hosts(Arc::clone(hosts))
    }
}

fn is_meant(peers: &Peers, live: &LivePod<'_>, address: IpAddr) -> bool {
    let Peers::OneOf(peers) = peers else { return true };
    peers.iter().any(|peer| matches(peer, live) || peer.matches_address(address))
}

fn matches(peer: &Peer, live: &LivePod<'_>) -> bool {
    peer.matches_pod(live.namespace(), &live.namespace_labels, &live.pod.meta.labels)
}

/// What a name stands for on a pod.
fn named(live: &LivePod<'_>, spec: &PortSpec) -> Vec<PortRange> {
    let PortSpec::Named { protocol, name } = spec else { return Vec::new() };
    let ports = live.pod.named_ports.iter();
    ports
        .filter(|port| port.name == *name && port.protocol == protocol.number())
        .map(|port| (port.protocol, port.port, port.port))
        .collect()
}
