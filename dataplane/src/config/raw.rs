//! The file as it is written. Seen by the check and the schema only.
//!
//! The text at each field is its documentation: it stands in the JSON Schema word for word, and names the
//! default where the schema's `default` cannot, the unit, the effect, and whether it changes while weir runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attachment::AttachmentKind;
use super::byte_size::ByteSize;
use super::checked::{LogFormat, LogLevel, OnInvalid, Segmentation, UnderlayKind};
use super::defaults;
use super::located::Located;
use super::workers::WorkerCount;

/// The configuration of one node. Read at start; where a key does not say otherwise, a change takes effect at
/// the next start. Relative paths are relative to the directory of this file.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "weir node configuration")]
pub(super) struct RawConfig {
    /// Name of this node's Node object in the state. Pods whose `spec.nodeName` is this name are local.
    pub(super) node: Located<String>,
    /// Where the Kubernetes objects come from.
    #[serde(default)]
    pub(super) state: RawState,
    /// The network between the nodes, which carries VXLAN.
    #[serde(default)]
    pub(super) underlay: RawUnderlay,
    /// This node's tunnel endpoint.
    #[serde(default)]
    pub(super) vtep: RawVtep,
    /// The TAP in the host namespace through which pods reach the node, and the world beyond it.
    #[serde(default)]
    pub(super) gateway: RawGateway,
    /// The pods' interfaces to begin with. `weir attach` and `weir detach` change the set while weir runs.
    #[serde(default)]
    pub(super) attachments: Vec<Located<RawAttachment>>,
    /// The socket of `weir status`, `weir attach` and `weir detach`.
    #[serde(default)]
    pub(super) control: RawControl,
    /// How many threads handle packets: a number from 1 to 64, or `auto` for one on each processor that weir may use.
    /// Each has a queue of every port. `--workers` goes before it.
    #[serde(default = "defaults::workers")]
    pub(super) workers: Located<WorkerCount>,
    /// How the workers are scheduled.
    #[serde(default)]
    pub(super) scheduling: RawScheduling,
    /// The table of connections.
    #[serde(default)]
    pub(super) conntrack: RawConntrack,
    /// Bounds on what weir may use.
    #[serde(default)]
    pub(super) limits: RawLimits,
    /// Directory of the lock file that keeps a second weir from starting. Default: the directory of
    /// `control.socket`.
    #[serde(default)]
    pub(super) lock: Option<Located<String>>,
    /// Logging.
    #[serde(default)]
    pub(super) log: RawLog,
}

/// Where the Kubernetes objects come from.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawState {
    /// Directory of manifests (`*.yaml`, `*.yml`, `*.json`, with subdirectories; hidden files are skipped).
    /// It is watched: its content may change at any time, and a change is in force within a second. An empty
    /// or missing directory is an error, never an empty cluster.
    #[serde(default = "defaults::state_directory")]
    pub(super) directory: Located<String>,
    /// What to do with objects that are not valid. `refuse`: the change is refused as a whole and the
    /// generation in force stays. `isolate`: a rule that cannot be read denies everything that reaches it,
    /// and the rest is put in force.
    #[serde(default = "defaults::on_invalid")]
    pub(super) on_invalid: OnInvalid,
}

/// The network between the nodes, which carries VXLAN.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUnderlay {
    /// How VXLAN packets are sent and received. `udp`: through sockets; the kernel routes and resolves. `af_packet`
    /// and `af_xdp`: as whole frames on `interface`; weir builds the outer headers, takes the next hops' MACs from the
    /// kernel's routes and neighbour tables, and holds the UDP port, so that the kernel answers nothing there.
    #[serde(default = "defaults::underlay_kind")]
    pub(super) kind: UnderlayKind,
    /// IPv4 address of this node on the underlay. Default: the annotation
    /// `flannel.alpha.coreos.com/public-ip` of the own Node.
    #[serde(default)]
    #[schemars(extend("format" = "ipv4"))]
    pub(super) address: Option<Located<String>>,
    /// IPv6 address of this node on the underlay. Default: the annotation
    /// `flannel.alpha.coreos.com/public-ipv6` of the own Node.
    #[serde(default)]
    #[schemars(extend("format" = "ipv6"))]
    pub(super) address_v6: Option<Located<String>>,
    /// Interface of the underlay; its MTU is read. The raw kinds send and receive there, with both families on this one
    /// interface. Default: the interface that carries the address.
    #[serde(default)]
    pub(super) interface: Option<Located<String>>,
    /// MTU of the underlay in bytes, 626 to 65535. The pods' MTU is 50 less on IPv4 and 70 less on IPv6.
    /// Default: read from the interface.
    #[serde(default)]
    #[schemars(range(min = 626, max = 65535))]
    pub(super) mtu: Option<Located<u64>>,
    /// UDP port of VXLAN, on all nodes the same. flannel's is 8472, IANA's 4789.
    #[serde(default = "defaults::port")]
    #[schemars(range(min = 1, max = 65535))]
    pub(super) port: Located<u64>,
    /// VXLAN network identifier, on all nodes the same. flannel's is 1.
    #[serde(default = "defaults::vni")]
    #[schemars(range(min = 0, max = 16_777_215))]
    pub(super) vni: Located<u64>,
    /// Whether outer UDP checksums are sent. Over IPv6 they always are. Received ones are checked if not zero.
    #[serde(default = "defaults::checksum")]
    pub(super) checksum: bool,
    /// Who cuts TCP super-packets on their way into the tunnel. `auto`: the kernel, where it can (`udp`: Linux 6.17),
    /// else weir; `software`: weir.
    #[serde(default = "defaults::segmentation")]
    pub(super) segmentation: Segmentation,
    /// How many outer source ports flows are spread over, 1 to 256. Each is a socket. Only for `udp`: the raw kinds
    /// spread flows over the whole range, 49152 to 65535, without a socket.
    #[serde(default = "defaults::source_ports")]
    #[schemars(range(min = 1, max = 256))]
    pub(super) source_ports: Located<u64>,
    /// Whether `af_packet` receives by a ring (TPACKET_V3). It costs the worker less where nodes send many small packets,
    /// and every packet up to a millisecond (before Linux 6.18 up to 10), which is how long the kernel keeps frames back: a
    /// request and its answer, one at a time, take 1 ms instead of 70 us. Only for `af_packet`.
    #[serde(default = "defaults::ring")]
    pub(super) ring: Located<bool>,
    /// Whether `af_packet` sends by a ring (TPACKET_V2) what leaves alone, not as part of a train, where the kernel has
    /// such rings. Only for `af_packet`.
    #[serde(default = "defaults::transmit_ring")]
    pub(super) transmit_ring: bool,
    /// Whether VXLAN packets with reserved bits set are dropped, as Linux does. RFC 7348 wants them ignored.
    #[serde(default)]
    pub(super) strict_reserved: bool,
}

/// This node's tunnel endpoint.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVtep {
    /// MAC of this node's VTEP on the IPv4 underlay. Default: `VtepMAC` in the annotation
    /// `flannel.alpha.coreos.com/backend-data` of the own Node.
    #[serde(default)]
    pub(super) mac: Option<Located<String>>,
    /// MAC of this node's VTEP on the IPv6 underlay. Default: `VtepMAC` in the annotation
    /// `flannel.alpha.coreos.com/backend-v6-data` of the own Node.
    #[serde(default)]
    pub(super) mac_v6: Option<Located<String>>,
}

/// The TAP in the host namespace through which pods reach the node, and the world beyond it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGateway {
    /// Name of the interface; weir makes it.
    #[serde(default = "defaults::gateway_interface")]
    pub(super) interface: Located<String>,
    /// Its MAC, which pods see as that of their gateway. Default: locally administered, derived from the node's
    /// name, so that it stays the same over restarts.
    #[serde(default)]
    pub(super) mac: Option<Located<String>>,
    /// Its addresses with the prefix length of the pods' subnet. Default: the first address of each of the own
    /// Node's podCIDRs, with its prefix length.
    #[serde(default)]
    pub(super) addresses: Vec<Located<String>>,
    /// Its MTU in bytes, 576 to 65485. Default: the pods' MTU.
    #[serde(default)]
    #[schemars(range(min = 576, max = 65485))]
    pub(super) mtu: Option<Located<u64>>,
}

/// A pod's interface.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttachment {
    /// The pod, as namespace/name. It need not be in the state yet: until it is, its traffic is dropped.
    pub(super) pod: Located<String>,
    /// `tap`: a TAP, either existing or made by weir. `af_packet`: the host end of a veth that exists.
    pub(super) kind: AttachmentKind,
    /// Name of the interface. It need not exist yet: weir waits for it.
    pub(super) interface: Located<String>,
    /// Path of the network namespace the interface is in, like `/run/netns/frontend`. Only for `tap`.
    /// Default: weir's own.
    #[serde(default)]
    pub(super) netns: Option<Located<String>>,
    /// Whether weir makes the TAP. Only for `tap`. Default: true where `netns` is given.
    #[serde(default)]
    pub(super) create: Option<Located<bool>>,
    /// MAC of the pod's end of the wire. Default: that of the interface (`tap`) or of the veth's other end.
    #[serde(default)]
    pub(super) mac: Option<Located<String>>,
}

/// The socket of `weir status`, `weir attach` and `weir detach`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawControl {
    /// Path of the Unix socket, at most 107 bytes. Its mode is 0600; its directory is made with 0700 if missing.
    #[serde(default = "defaults::socket")]
    pub(super) socket: Located<String>,
}

/// How the workers are scheduled.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScheduling {
    /// Whether each worker runs on one processor, or wherever the kernel moves it.
    #[serde(default = "defaults::pin")]
    pub(super) pin: bool,
    /// `other`: a worker that has something to do may run before whoever is running, as any thread may. `batch`: it waits
    /// until that one sleeps or has used up its slice, finds more to handle at once, and is not taken off so often: a
    /// fifth more packets and bytes a second, for milliseconds of latency where pods keep all processors busy.
    #[serde(default)]
    pub(super) policy: RawPolicy,
    /// How readily the workers run where others want the processor too, as in nice(1): -20 to 19, where less is more.
    /// Below 0 it needs CAP_SYS_NICE; without, the workers run like everybody.
    #[serde(default = "defaults::niceness")]
    #[schemars(range(min = -20, max = 19))]
    pub(super) niceness: Located<i64>,
    /// Whether the workers never sleep. Takes all of their processors at all times; `--busy-poll` turns it on.
    #[serde(default)]
    pub(super) busy_poll: bool,
    /// `adaptive`: while packets follow each other so closely that workers sleep for less than 200 us and do so 5,000 times a
    /// second (one of them for four processors), idle processors wait awake, by the kernel's CPU latency QoS. A round trip
    /// does not wait for processors to wake, for the power of those that do not halt. Needs root. `never`: they halt as
    /// they like.
    #[serde(default)]
    pub(super) cpu_latency_qos: RawLatencyQos,
}

/// A scheduling policy, by its name in sched(7).
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawPolicy {
    #[default]
    Other,
    Batch,
}

/// When processors are kept from idle states.
#[derive(Debug, Clone, Copy, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawLatencyQos {
    #[default]
    Adaptive,
    Never,
}

/// The table of connections.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConntrack {
    /// Connections at most, 1024 to 16777216. Full means that new connections are dropped.
    #[serde(default = "defaults::max_entries")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub(super) max_entries: Located<u64>,
    /// Connections at most of one pod, 1 to `max_entries`. Default: a quarter of `max_entries`.
    #[serde(default)]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub(super) pod_quota: Option<Located<u64>>,
}

/// Bounds on what weir may use.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Memory that compiled policies may take, 1MiB to 64GiB. Policies that do not fit are not built: they deny everything to
    /// the pods they are about, and the rest is in force.
    #[serde(default = "defaults::compile_memory")]
    pub(super) compile_memory: Located<ByteSize>,
}

/// Logging.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    /// The least severe level that is logged. `--log` and WEIR_LOG go before it.
    #[serde(default = "defaults::log_level")]
    pub(super) level: LogLevel,
    /// `text`: one line of key=value per event. `json`: one JSON object per event. `auto`: text on a terminal,
    /// json elsewhere.
    #[serde(default = "defaults::log_format")]
    pub(super) format: LogFormat,
}

macro_rules! all_defaults {
    ($($name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $(impl Default for $name {
            fn default() -> Self {
                Self { $($field: $value),* }
            }
        })*
    };
}

all_defaults! {
    RawState { directory: defaults::state_directory(), on_invalid: defaults::on_invalid() }
    RawUnderlay {
        kind: defaults::underlay_kind(), address: None, address_v6: None, interface: None, mtu: None,
        port: defaults::port(), vni: defaults::vni(), checksum: defaults::checksum(),
        segmentation: defaults::segmentation(),
        source_ports: defaults::source_ports(), ring: defaults::ring(), transmit_ring: defaults::transmit_ring(),
        strict_reserved: false,
    }
    RawGateway { interface: defaults::gateway_interface(), mac: None, addresses: Vec::new(), mtu: None }
    RawControl { socket: defaults::socket() }
    RawScheduling {
        pin: defaults::pin(), policy: RawPolicy::default(), niceness: defaults::niceness(), busy_poll: false,
        cpu_latency_qos: RawLatencyQos::default(),
    }
    RawConntrack { max_entries: defaults::max_entries(), pod_quota: None }
    RawLimits { compile_memory: defaults::compile_memory() }
    RawLog { level: defaults::log_level(), format: defaults::log_format() }
}
