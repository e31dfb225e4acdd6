//! v1 Pod: labels, node, addresses, phase and named ports. Everything else of a pod is ignored.

use super::meta::Meta;
use std::net::IpAddr;

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Not all containers have started; also what a manifest without status has. Counts as live.
    Pending,
    /// Running.
    Running,
    /// All containers have ended well; no longer an endpoint.
    Succeeded,
    /// All containers have ended; no longer an endpoint.
    Failed,
    /// The node cannot be asked. Counts as live.
    Unknown,
}

/// A named container port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamedPort {
    /// Its name.
    pub name: String,
    /// IANA protocol number: 6, 17 or 132.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Name and labels.
    pub meta: Meta,
    /// `spec.nodeName`; empty while not scheduled.
    pub node_name: String,
    /// `spec.hostNetwork`: invisible to selectors; its traffic is its node's.
    pub host_network: bool,
    /// `spec.serviceAccountName`; `default` where missing.
    pub service_account: String,
    /// `status.phase`.
    pub phase: Phase,
    /// Whether `metadata.deletionTimestamp` is set. The pod stays an endpoint until it is finished or gone.
    pub deleting: bool,
    /// `status.podIPs`, else `status.podIP`: at most one per family in a valid pod.
    pub pod_ips: Vec<IpAddr>,
    /// Named ports of containers and of init containers that keep running (sidecars), sorted, without repeats.
    pub named_ports: Vec<NamedPort>,
}

impl Pod {
    /// Succeeded or Failed: its address may already be another pod's.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether policies can select it, as subject or as peer, once it has an address.
    pub fn is_endpoint(&self) -> bool {
        !self.host_network && !self.is_finished()
    }
}
