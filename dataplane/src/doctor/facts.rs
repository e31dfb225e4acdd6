//! What was found out about a host, as plain data.

use crate::sys::xdp::Features;

/// The answer to one question: yes, or no with the kernel's reason.
pub type Probed = Result<(), String>;

/// Of the capabilities, those that weir uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each stands for itself")]
pub struct Privileges {
    /// `CAP_NET_ADMIN`: interfaces, addresses, tc.
    pub net_admin: bool,
    /// `CAP_NET_RAW`: packet sockets.
    pub net_raw: bool,
    /// `CAP_SYS_ADMIN`: entering pods' namespaces.
    pub sys_admin: bool,
    /// `CAP_SYS_NICE`: workers that run before others.
    pub sys_nice: bool,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Release of the kernel.
    pub kernel: String,
    /// Processors weir may use.
    pub processors: usize,
    /// What weir may do.
    pub privileges: Privileges,
    /// `/dev/net/tun` opens.
    pub tun: Probed,
    /// A TAP with a vnet header and TCP offloads can be made.
    pub tap: Probed,
    /// A TAP takes super-packets of UDP.
    pub tap_udp: Probed,
    /// A TAP may have several queues.
    pub tap_queues: Probed,
    /// A TAP's queues can be chosen by a program.
    pub tap_steering: Probed,
    /// A TAP takes encapsulated super-packets whole.
    pub tap_tunnel: Probed,
    /// Packet sockets with vnet headers.
    pub packet: Probed,
    /// They form groups that leave out what the node itself sends.
    pub packet_groups: Probed,
    /// They have receive rings of the third version.
    pub packet_rings: Probed,
    /// The kernel can be kept from handling what a packet socket reads.
    pub ingress_drop: Probed,
    /// AF_XDP: a program loads, and a socket of a veth has its rings.
    pub xdp: Probed,
    /// Interfaces that are up, but for the loopback, and what their drivers do with XDP; or why the kernel does not say.
    pub xdp_drivers: Result<Vec<(String, Features)>, String>,
    /// UDP sockets send trains.
    pub udp_segment: Probed,
    /// UDP sockets receive trains.
    pub udp_gro: Probed,
    /// Nobody holds the VXLAN port.
    pub vxlan_port: Probed,
    /// Processors can be kept from idle states.
    pub latency_qos: Probed,
    /// The VXLAN port asked about.
    pub port: u16,
    /// Names of vxlan devices.
    pub vxlan_devices: Vec<String>,
    /// Whether the node routes IPv4; none where the kernel does not say.
    pub ip_forward: Option<bool>,
    /// The reverse path filter of all interfaces: 0 off, 1 strict, 2 loose.
    pub rp_filter: Option<u8>,
    /// Largest receive buffer without privilege, in bytes.
    pub rmem_max: Option<u64>,
    /// Memory that may be locked, in bytes; none means without limit.
    pub memlock: Option<u64>,
    /// Mode of transparent huge pages: `always`, `madvise`, `never`.
    pub huge_pages: Option<String>,
}
