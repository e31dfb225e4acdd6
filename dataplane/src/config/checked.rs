//! The configuration after the check: every value is one that weir can use.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vxlan::{Mac, Vni};

use super::attachment::Attachment;
use super::workers::WorkerCount;
use crate::sys::scheduling::Policy;

/// The configuration of one node. What each value means to an operator is in `weir config schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Name of the own Node object.
    pub node: String,
    /// Where the Kubernetes objects come from.
    pub state: State,
    /// The network between the nodes.
    pub underlay: Underlay,
    /// The own tunnel endpoint.
    pub vtep: Vtep,
    /// The TAP in the host namespace.
    pub gateway: Gateway,
    /// The pods' interfaces to begin with; no pod and no interface twice.
    pub attachments: Vec<Attachment>,
    /// The control socket.
    pub control: Control,
    /// How many threads handle packets.
    pub workers: WorkerCount,
    /// How they are scheduled.
    pub scheduling: Scheduling,
    /// The table of connections.
    pub conntrack: Conntrack,
    /// Bounds on what weir may use.
    pub limits: Limits,
    /// Directory of the lock file.
    pub lock: PathBuf,
    /// Logging.
    pub log: Log,
}

/// Where the Kubernetes objects come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Directory of manifests.
    pub directory: PathBuf,
    /// What to do with objects that are not valid.
    pub on_invalid: OnInvalid,
}

/// What to do with objects that are not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnInvalid {
    /// The change is refused as a whole; the generation in force stays.
    Refuse,
    /// A rule that cannot be read denies everything that reaches it; the rest is put in force.
    Isolate,
}

impl From<OnInvalid> for policy_compiler::OnInvalid {
    fn from(on_invalid: OnInvalid) -> Self {
        match on_invalid {
            OnInvalid::Refuse => Self::Refuse,
            OnInvalid::Isolate => Self::Isolate,
        }
    }
}

/// The network between the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// How packets are sent and received.
    pub kind: UnderlayKind,
    /// Own IPv4 address; `None`: from the own Node's annotation.
    pub address: Option<Ipv4Addr>,
    /// Own IPv6 address; `None`: from the own Node's annotation.
    pub address_v6: Option<Ipv6Addr>,
    /// Interface whose MTU counts, and that the raw kinds open; `None`: the one that carries the address.
    pub interface: Option<String>,
    /// MTU in bytes; `None`: the interface's.
    pub mtu: Option<u16>,
    /// UDP port of VXLAN, not 0.
    pub port: u16,
    /// VXLAN network identifier.
    pub vni: Vni,
    /// Whether outer UDP checksums are sent over IPv4.
    pub checksum: bool,
    /// Who cuts super-packets on their way into the tunnel.
    pub segmentation: Segmentation,
    /// Number of sockets, and so of outer source ports, 1 to 256; the raw kinds have no sockets to send from.
    pub source_ports: u16,
    /// Whether packet sockets receive by a ring.
    pub ring: bool,
    /// Whether they send by one, where the kernel has such rings.
    pub transmit_ring: bool,
    /// Whether packets with reserved bits set are dropped.
    pub strict_reserved: bool,
}

/// How VXLAN packets are sent and received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnderlayKind {
    /// Through UDP sockets.
    Udp,
    /// As whole frames, through packet sockets on the interface.
    AfPacket,
    /// As whole frames, through AF_XDP sockets on the interface.
    AfXdp,
}

impl UnderlayKind {
    /// The name, as in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::AfPacket => "af_packet",
            Self::AfXdp => "af_xdp",
        }
    }

    /// Whether weir itself builds the outer headers.
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::AfPacket | Self::AfXdp)
    }
}

/// Who cuts super-packets on their way into the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Segmentation {
    /// The kernel, where it can (Linux 6.17); else weir.
    Auto,
    /// weir.
    Software,
}

/// The own tunnel endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vtep {
    /// MAC on the IPv4 underlay; `None`: from the own Node's annotation.
    pub mac: Option<Mac>,
    /// MAC on the IPv6 underlay; `None`: from the own Node's annotation.
    pub mac_v6: Option<Mac>,
}

/// The TAP in the host namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name.
    pub interface: String,
    /// Its MAC, a unicast one.
    pub mac: Mac,
    /// Its addresses with the prefix length of the pods' subnet; empty: from the own Node's podCIDRs.
    pub addresses: Vec<IpNet>,
    /// Its MTU in bytes; `None`: the pods' MTU.
    pub mtu: Option<u16>,
}

/// The control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Path of the Unix socket, at most 107 bytes.
    pub socket: PathBuf,
}

/// How the workers are scheduled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduling {
    /// Whether each runs on one processor.
    pub pin: bool,
    /// Whether a worker that wakes goes before whoever is running.
    pub policy: Policy,
    /// Their niceness.
    pub niceness: i8,
    /// Whether they never sleep.
    pub busy_poll: bool,
    /// Whether processors are kept from idle states where workers sleep often and shortly.
    pub latency_qos: bool,
}

/// The table of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conntrack {
    /// Connections at most.
    pub max_entries: usize,
    /// Connections at most of one pod, not above `max_entries`.
    pub pod_quota: usize,
}

/// Bounds on what weir may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that compiled policies may take.
    pub compile_memory: usize,
}

/// Logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
}

/// A log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only what failed.
    Error,
    /// And what may need attention.
    Warn,
    /// And what changed.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

impl LogLevel {
    /// The name, as in the file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One line of key=value per event.
    Text,
    /// One JSON object per event.
    Json,
}
