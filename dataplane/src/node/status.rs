//! The status of a running node, put together from what the control thread owns and the workers' counters.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vxlan::fdb::Fdb;
use vxlan::mtu::{OVERHEAD_IPV4, OVERHEAD_IPV6};
use vxlan::vtep::Vtep;

use super::attachments::Entry;
use super::control_loop::ControlLoop;
use super::identity;
use crate::control::{
    self, AttachmentState, Connections, FlowCacheStatus, GatewayStatus, PacketCounts, PeerStatus, PodStatus,
    PortStatus, Stages, StateSummary, Status, UnderlayStatus, WorkerStatus,
};
use crate::tables::{Generation, OwnNode};
use crate::workers::{AttachedPort, WorkerView, Workers};

impl ControlLoop {
    pub(super) fn status(&mut self) -> Status {
        let generation = self.publisher.current();
        let counters = self.workers.counters();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.config.node.clone(),
            uptime_seconds: self.started.elapsed().as_secs(),
            state: StateSummary { generation: self.publisher.in_force(), ..self.summary.clone() },
            pods: self.pods(generation.as_deref()),
            waiting: self.waiting(),
            peers: generation
                .as_deref()
                .map(|generation| self.peers(&generation.fdb, &generation.own))
                .unwrap_or_default(),
            ports: self.ports(),
            workers: self.workers.iter().enumerate().map(|(index, view)| worker(index, &view)).collect(),
            packets: PacketCounts::from(&counters),
            drops: control::drops(&counters),
            denials: control::denials(&self.denials, |address| {
                self.cluster.as_ref().and_then(|cluster| cluster.pod_addresses.get(&address))
            }),
            connections: Connections {
                entries: counters.connections.get(),
                max: self.config.conntrack.max_entries as u64,
            },
            flow_cache: FlowCacheStatus::from(&counters),
            gateway: self.gateway(),
            underlay: self.underlay(),
        }
    }

    /// What the stages have done so far; they are timed for so long from now.
    pub(super) fn stages(&mut self, lease: Duration) -> Stages {
        self.workers.time_stages(lease);
        let workers = self.workers.iter().enumerate();
        Stages {
            node: self.config.node.clone(),
            at_nanoseconds: u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
            workers: workers.map(|(index, view)| control::stages(Workers::name(index), &view)).collect(),
        }
    }

    /// The pods of the generation, and those attached that it does not know.
    fn pods(&self, generation: Option<&Generation>) -> Vec<PodStatus> {
        let mut pods: BTreeMap<String, PodStatus> = BTreeMap::new();
        for endpoint in generation.iter().flat_map(|generation| &generation.endpoints) {
            let name = endpoint.name.to_string();
            let addresses = endpoint.addresses.clone();
            pods.insert(name.clone(), PodStatus { name, addresses, ..PodStatus::default() });
        }
        for entry in self.attachments.iter() {
            let name = entry.attachment.pod.to_string();
            let known = pods.contains_key(&name);
            let pod = pods.entry(name.clone()).or_insert_with(|| PodStatus { name, ..PodStatus::default() });
            pod.port = Some(entry.attachment.interface.clone());
            pod.attachment = Some(state_of(entry, known));
            pod.reason.clone_from(&entry.waiting);
            pod.mac = mac_of(entry, &self.workers);
        }
        pods.into_values().collect()
    }

    fn waiting(&self) -> Vec<String> {
        let waiting = self.cluster.iter().flat_map(|cluster| &cluster.waiting);
        waiting.map(|waiting| format!("{}: {}", waiting.name, waiting.reason)).collect()
    }

    fn peers(&self, known: &Fdb, own: &OwnNode) -> Vec<PeerStatus> {
        let nodes = self.cluster.iter().flat_map(|cluster| &cluster.nodes);
        nodes
            .filter(|node| node.name != self.config.node)
            .map(|node| {
                let tunnel = identity::vtep(node);
                let state = match &tunnel {
                    None => "no VTEP: the Node has no flannel annotations with a VtepMAC and a public-ip",
                    Some(vtep) if !known.iter().any(|(_, known)| known.name == vtep.name) => {
                        "cut off: contradicts another node"
                    }
                    Some(vtep) if self.has_no_next_hop(vtep, own) => {
                        "unresolved: the next hop's MAC is not known (underlay_unresolved)"
                    }
                    Some(_) if node.pod_cidrs.is_empty() => "no pods: the Node has no podCIDR",
                    Some(_) => "ready",
                };
                PeerStatus {
                    node: node.name.clone(),
                    underlay: node
                        .public_ip
                        .map(IpAddr::V4)
                        .into_iter()
                        .chain(node.public_ipv6.map(IpAddr::V6))
                        .collect(),
                    mac: tunnel.as_ref().map(|vtep| vtep.mac.to_string()),
                    mac_v6: tunnel.as_ref().and_then(|vtep| vtep.mac_v6).map(|mac| mac.to_string()),
                    pod_cidrs: node.pod_cidrs.iter().map(ToString::to_string).collect(),
                    state: state.to_owned(),
                }
            })
            .collect()
    }

    /// Whether a raw underlay knows no MAC on the way to an address of the node.
    fn has_no_next_hop(&self, vtep: &Vtep, own: &OwnNode) -> bool {
        let v4 = vtep.underlay_v4.filter(|_| own.underlay_v4.is_some()).map(IpAddr::V4);
        let v6 = vtep.underlay_v6.filter(|_| own.underlay_v6.is_some()).map(IpAddr::V6);
        let mut addresses = v4.into_iter().chain(v6);
        self.config.underlay.kind.is_raw()
            && addresses.any(|address| !own.underlay_neighbours.contains_key(&address))
    }

    fn ports(&self) -> Vec<PortStatus> {
        let mut ports = Vec::new();
        if let Some(trunks) = &self.trunks {
            ports.push(port(&self.config.gateway.interface, "tap", &trunks.gateway));
            ports.push(port(&trunks.underlay_name, self.config.underlay.kind.name(), &trunks.underlay));
        }
        for entry in self.attachments.iter() {
            if let Some(live) = &entry.live {
                let kind = entry.attachment.kind.name();
                ports.push(port(&entry.attachment.interface, kind, &live.port));
            }
        }
        ports
    }

    fn gateway(&self) -> GatewayStatus {
        if self.trunks.is_none() {
            return GatewayStatus::default();
        }
        GatewayStatus {
            interface: self.config.gateway.interface.clone(),
            mac: self.config.gateway.mac.to_string(),
            addresses: self
                .identity
                .iter()
                .flat_map(|identity| &identity.gateway)
                .map(ToString::to_string)
                .collect(),
            mtu: self.trunks.as_ref().map_or(0, |trunks| trunks.gateway_mtu.into()),
        }
    }

    fn underlay(&self) -> UnderlayStatus {
        let own = self.identity.as_ref().map(|identity| &identity.own);
        let v4 = own.and_then(|own| own.underlay_v4).map(|underlay| IpAddr::V4(underlay.address));
        let v6 = own.and_then(|own| own.underlay_v6).map(|underlay| IpAddr::V6(underlay.address));
        if self.trunks.is_none() {
            return UnderlayStatus::default();
        }
        UnderlayStatus {
            kind: "udp".to_owned(),
            addresses: v4.into_iter().chain(v6).collect(),
            port: self.config.underlay.port,
            vni: self.config.underlay.vni.get(),
            mtu: own.map_or(0, |own| u32::from(outer_mtu(own))),
        }
    }
}

/// MTU of the underlay itself: the tunnel's with the outer headers added again.
fn outer_mtu(own: &OwnNode) -> u16 {
    let v4 = own.underlay_v4.map(|underlay| underlay.tunnel_mtu.saturating_add(OVERHEAD_IPV4));
    let v6 = own.underlay_v6.map(|underlay| underlay.tunnel_mtu.saturating_add(OVERHEAD_IPV6));
    v4.or(v6).unwrap_or(0)
}

fn state_of(entry: &Entry, known: bool) -> AttachmentState {
    if entry.live.is_none() {
        AttachmentState::WaitingForInterface
    } else if known {
        AttachmentState::Attached
    } else {
        AttachmentState::WaitingForPod
    }
}

/// What was known when the port was opened, else what a worker knows by now.
fn mac_of(entry: &Entry, workers: &Workers) -> Option<String> {
    let live = entry.live.as_ref()?;
    live.mac.or_else(|| workers.mac(&live.port)).map(|mac| mac.to_string())
}

fn worker(index: usize, view: &WorkerView<'_>) -> WorkerStatus {
    WorkerStatus {
        name: Workers::name(index),
        processor: view.placement.processor,
        niceness: view.placement.niceness,
        received: view.counters.received.get(),
        forwarded: view.counters.forwarded.get(),
        dropped: view.counters.dropped_total(),
        batches: view.steps.batches.get(),
        sleeps: view.steps.sleeps.get(),
        restless: view.steps.restless.get() != 0,
        flow_hits: view.counters.flow_hits.get(),
        flow_misses: view.counters.flow_misses.get(),
    }
}

fn port(name: &str, kind: &str, attached: &AttachedPort) -> PortStatus {
    let counters = attached.counters();
    PortStatus {
        name: name.to_owned(),
        kind: kind.to_owned(),
        rx_packets: counters.rx_packets.get(),
        rx_bytes: counters.rx_bytes.get(),
        tx_packets: counters.tx_packets.get(),
        tx_bytes: counters.tx_bytes.get(),
        rx_lost: counters.rx_lost.get() + counters.rx_malformed.get(),
        tx_failed: counters.tx_congested.get() + counters.tx_failed.get(),
    }
}
