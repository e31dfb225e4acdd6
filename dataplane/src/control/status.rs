//! How a running weir is: the answer to `status`, in the form that `weir status -o json` prints.
//!
//! The keys are a promise: more may come, none changes its meaning or goes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The whole of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Name of the node.
    pub node: String,
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// The generation in force and where it came from.
    pub state: StateSummary,
    /// The local pods, by name.
    pub pods: Vec<PodStatus>,
    /// Pods of this node that take no part yet, as `namespace/name: why`.
    pub waiting: Vec<String>,
    /// The other nodes, by name.
    pub peers: Vec<PeerStatus>,
    /// The ports, in order of their names.
    pub ports: Vec<PortStatus>,
    /// The threads that handle packets.
    pub workers: Vec<WorkerStatus>,
    /// Packets by what became of them.
    pub packets: PacketCounts,
    /// Dropped packets by drop reason; reasons that never occurred are left out.
    pub drops: BTreeMap<String, u64>,
    /// What the policies denied, most packets first.
    pub denials: Vec<Denial>,
    /// The connection table.
    pub connections: Connections,
    /// The workers' caches of flows.
    pub flow_cache: FlowCacheStatus,
    /// The TAP in the host namespace.
    pub gateway: GatewayStatus,
    /// The network between the nodes.
    pub underlay: UnderlayStatus,
}

/// How the state in force relates to the state in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateStatus {
    /// No generation has been compiled yet; all traffic of pods is dropped.
    #[default]
    Starting,
    /// What is in the source is in force.
    Ok,
    /// In force, but for what had to be isolated.
    Degraded,
    /// What is in the source is not valid; an earlier generation is in force.
    Rejected,
}

impl StateStatus {
    /// The name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Rejected => "rejected",
        }
    }
}

/// The generation in force and where it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StateSummary {
    /// Number of the generation; 0 before the first.
    pub generation: u64,
    /// When it was compiled, in seconds since 1970; absent before the first.
    pub compiled_at_unix_seconds: Option<u64>,
    /// How long the compile took.
    pub compile_microseconds: u64,
    /// How it relates to the source.
    pub status: StateStatus,
    /// What is wrong with the source, one located line each.
    pub problems: Vec<String>,
    /// What is valid but deserves a look, one located line each.
    pub warnings: Vec<String>,
    /// Kinds of objects that weir does not use, and how many there are.
    pub skipped: BTreeMap<String, usize>,
}

/// How far a pod's attachment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachmentState {
    /// Traffic passes, as the policies allow.
    #[serde(rename = "attached")]
    Attached,
    /// The interface is not there yet.
    #[serde(rename = "waiting for interface")]
    WaitingForInterface,
    /// The pod is not in the state yet; its traffic is dropped.
    #[serde(rename = "waiting for pod")]
    WaitingForPod,
}

impl AttachmentState {
    /// The name, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::WaitingForInterface => "waiting for interface",
            Self::WaitingForPod => "waiting for pod",
        }
    }
}

/// A local pod, or one that is only attached so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// `namespace/name`.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The port it is attached to; absent: to none.
    pub port: Option<String>,
    /// How far the attachment has come; absent: there is none.
    pub attachment: Option<AttachmentState>,
    /// Why it has not come further; absent where there is nothing to say.
    pub reason: Option<String>,
    /// MAC of its end of the wire, once known.
    pub mac: Option<String>,
}

/// Another node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerStatus {
    /// Name of the node.
    pub node: String,
    /// Its addresses on the underlay.
    pub underlay: Vec<IpAddr>,
    /// MAC of its VTEP on the IPv4 underlay.
    pub mac: Option<String>,
    /// MAC of its VTEP on the IPv6 underlay.
    pub mac_v6: Option<String>,
    /// Its pods' subnets.
    pub pod_cidrs: Vec<String>,
    /// `reachable`, or why it is not.
    pub state: String,
}

/// A port and its counters, summed over the workers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortStatus {
    /// Its name.
    pub name: String,
    /// `tap`, `af_packet`, `udp`, …
    pub kind: String,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames the kernel lost because its queue towards weir was full.
    pub rx_lost: u64,
    /// Frames the kernel refused.
    pub tx_failed: u64,
}

/// A thread that handles packets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerStatus {
    /// `weir-worker-0`, …: the thread's name.
    pub name: String,
    /// The processor it is pinned to; absent: the kernel moves it about.
    pub processor: Option<usize>,
    /// Its niceness; absent: as it was started.
    pub niceness: Option<i8>,
    /// Packets it took in.
    pub received: u64,
    /// Packets it passed on.
    pub forwarded: u64,
    /// Packets it dropped.
    pub dropped: u64,
    /// Batches it took packets in: `received` by `batches` is how full they were.
    pub batches: u64,
    /// Times it went to sleep.
    pub sleeps: u64,
    /// Whether its sleeps are so short and so many that it asks for processors that stay awake.
    pub restless: bool,
    /// Packets of flows that its flow cache knew.
    pub flow_hits: u64,
    /// Packets that went through all stages.
    pub flow_misses: u64,
}

/// Packets by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PacketCounts {
    /// All that came in.
    pub received: u64,
    /// Passed on.
    pub forwarded: u64,
    /// Answered by weir itself (ARP, neighbour discovery, ICMP errors).
    pub answered: u64,
    /// Dropped; `drops` says why.
    pub dropped: u64,
    /// ICMP errors weir sent on account of dropped packets.
    pub icmp_errors: u64,
    /// VXLAN packets with reserved bits set that were taken all the same.
    pub vxlan_reserved: u64,
}

/// Packets of one pair of pods or addresses that a policy denied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Denial {
    /// `ingress` or `egress`, of the pod.
    pub direction: String,
    /// The sender: `namespace/name` or an address.
    pub src: String,
    /// The receiver: `namespace/name` or an address.
    pub dst: String,
    /// The deciding rule, for people.
    pub rule: String,
    /// The policies behind it, as `namespace/name`.
    pub policies: Vec<String>,
    /// How many packets.
    pub packets: u64,
}

/// The connection table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connections {
    /// Connections in it.
    pub entries: u64,
    /// How many it takes.
    pub max: u64,
}

/// How often the workers knew the way of a packet's flow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowCacheStatus {
    /// Packets of flows that were known.
    pub hits: u64,
    /// Packets that went through all stages.
    pub misses: u64,
}

/// The TAP in the host namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GatewayStatus {
    /// Its name.
    pub interface: String,
    /// Its MAC.
    pub mac: String,
    /// Its addresses with prefix length.
    pub addresses: Vec<String>,
    /// Its MTU in bytes.
    pub mtu: u32,
}

/// The network between the nodes, as seen from this one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnderlayStatus {
    /// `udp`, …
    pub kind: String,
    /// Own addresses.
    pub addresses: Vec<IpAddr>,
    /// UDP port of VXLAN.
    pub port: u16,
    /// VXLAN network identifier.
    pub vni: u32,
    /// MTU in bytes.
    pub mtu: u32,
}
