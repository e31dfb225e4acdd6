//! What to look at when packets end under a reason, and how reasons group for people.
//!
//! The page `docs/drop-reasons.md` is made from this and from the enum. Both matches name every reason, so a
//! new one does not compile before somebody has said what its reader is to do about it.

use super::DropReason;

/// Where on its way a packet ends: how the documentation orders the reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// weir, or the pod's state, is not ready for the packet.
    Readiness,
    /// Packets of the tunnel that are not believed.
    Tunnel,
    /// Bytes that are no valid packet.
    Malformed,
    /// Senders that say what they may not say.
    Sender,
    /// Fragments.
    Fragments,
    /// Connection tracking.
    Connections,
    /// Network policy.
    Policy,
    /// Allowed packets that cannot leave.
    Forwarding,
}

impl Group {
    /// All groups, in the order a packet meets them.
    pub const ALL: [Self; 8] = [
        Self::Readiness,
        Self::Tunnel,
        Self::Malformed,
        Self::Sender,
        Self::Fragments,
        Self::Connections,
        Self::Policy,
        Self::Forwarding,
    ];

    /// A heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Readiness => "Not ready",
            Self::Tunnel => "From the tunnel",
            Self::Malformed => "Malformed packets",
            Self::Sender => "Senders",
            Self::Fragments => "Fragments",
            Self::Connections => "Connections",
            Self::Policy => "Policy",
            Self::Forwarding => "On the way out",
        }
    }

    /// Which stage drops them, and what they have in common.
    pub const fn introduction(self) -> &'static str {
        match self {
            Self::Readiness => {
                "weir fails closed: what it cannot judge yet does not pass. These are ordinary for a moment \
                 after a start, and worth a look when they last."
            }
            Self::Tunnel => {
                "The stages `decap` and `guard`, on packets from the underlay. On the `udp` underlay the kernel \
                 takes the outer headers off and drops what is wrong with them itself: `outer_invalid`, `outer_csum` \
                 and `outer_fragment` count on whole-frame underlays only (see `nstat` for the kernel's)."
            }
            Self::Malformed => "The stage `parse`. A healthy network has none of these.",
            Self::Sender => {
                "The stages `guard` and `neighbour`. A pod may send only from its own MAC and addresses, and \
                 weir answers ARP and neighbour discovery itself; nothing of the kind is forwarded."
            }
            Self::Fragments => {
                "The stage `fragments`. Policy needs the transport header that only the first fragment has."
            }
            Self::Connections => {
                "The stages `track` and `policy`. The connection table is bounded; an established connection \
                 is never given up for a new one."
            }
            Self::Policy => {
                "The stage `policy`. `weir status` lists which policies denied what, by pod and direction."
            }
            Self::Forwarding => "The stages `forward` and `emit`, and the ports.",
        }
    }
}

impl DropReason {
    /// Where on its way the packet ended.
    pub const fn group(self) -> Group {
        match self {
            Self::Starting | Self::PodUnknown | Self::PolicyPending | Self::PodGone | Self::IpConflict => {
                Group::Readiness
            }
            Self::OuterInvalid
            | Self::OuterChecksum
            | Self::OuterFragment
            | Self::VtepUnknown
            | Self::VxlanFlags
            | Self::VniMismatch
            | Self::EcnInvalid
            | Self::NestedTunnel
            | Self::InnerL2
            | Self::InnerSourceMismatch
            | Self::ControlOverOverlay
            | Self::NotLocal => Group::Tunnel,
            Self::Truncated
            | Self::LengthMismatch
            | Self::BadHeader
            | Self::IpChecksum
            | Self::IpOptions
            | Self::Ipv6ExtensionChain
            | Self::Ipv6Martian
            | Self::Martian
            | Self::UnsupportedEthertype => Group::Malformed,
            Self::SpoofedSource
            | Self::ArpSpoof
            | Self::NdSpoof
            | Self::NeighbourIgnored
            | Self::RogueControl
            | Self::BumDropped
            | Self::PodTunnel => Group::Sender,
            Self::FragmentTiny | Self::FragmentOverlap | Self::FragmentNoFirst | Self::FragmentTableFull => {
                Group::Fragments
            }
            Self::ConntrackInvalid
            | Self::ConntrackFull
            | Self::ConntrackQuota
            | Self::ConntrackBucketFull
            | Self::IcmpUnrelated => Group::Connections,
            Self::PolicyDeny | Self::PolicyRevoked => Group::Policy,
            Self::TtlExpired
            | Self::TooBig
            | Self::NoRoute
            | Self::VtepUnreachable
            | Self::PortUnattached
            | Self::NeighbourUnresolved
            | Self::UnderlayUnresolved
            | Self::TxCongested
            | Self::TxFailed
            | Self::NoBuffer => Group::Forwarding,
        }
    }

    /// What to look at when the counter grows.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Starting => "The problems in `weir status`; the log says why the state is not in force.",
            Self::PodUnknown => {
                "Whether the state holds the Pod, with this node as `spec.nodeName`; for how old the state is, the generation in `weir status`."
            }
            Self::PolicyPending => {
                "Whether two interfaces are attached for one pod (`weir status`): the one attached first has it."
            }
            Self::PodGone => "Nothing: clients of the old pod open new connections.",
            Self::IpConflict => {
                "The problems in `weir status` name both pods; delete the stale one, or mend the IPAM."
            }

            Self::OuterInvalid => {
                "Who sends such packets to this node: the underlay's filter should not let them in."
            }
            Self::OuterChecksum => {
                "The sender's checksum offload (`ethtool -K DEVICE tx off` there, to try), then the network between."
            }
            Self::OuterFragment => {
                "The pods' MTU on the sending node: 50 bytes less than the underlay's, 70 over IPv6."
            }
            Self::VtepUnknown => {
                "Whether every node is in the state and carries flannel's `public-ip`; otherwise somebody who is no node speaks VXLAN to this one."
            }
            Self::VxlanFlags => {
                "The sender: not plain VXLAN (GPE, GBP), or damage. `underlay.strict_reserved` refuses reserved bits."
            }
            Self::VniMismatch => "`underlay.vni` here, and `VNI` in the sender's `backend-data`.",
            Self::EcnInvalid => {
                "A router on the underlay that marks packets not capable of ECN (RFC 6040 section 4.2)."
            }
            Self::NestedTunnel => {
                "The pod behind the sending node: somebody tries to tunnel through the tunnel."
            }
            Self::InnerL2 => {
                "The VTEP MACs: `vtep.mac` here and `VtepMAC` in every Node's annotations against the devices. flannel writes a new one when its device is made anew."
            }
            Self::InnerSourceMismatch => {
                "`spec.podCIDRs` of the sending Node; if they are right, the sender forges addresses, or lets its pods do so."
            }
            Self::ControlOverOverlay => {
                "The sending node: a bridge or DHCP server there reaches into the overlay. flannel never sends these."
            }
            Self::NotLocal => {
                "Routes on the sender (overlay) or on this host (node TAP): the packet is for no pod here. From the overlay to a node's address only replies pass."
            }

            Self::Truncated => "The sender. On a port with offloads: also the driver.",
            Self::LengthMismatch | Self::BadHeader => "The sender: no ordinary stack sends this.",
            Self::IpChecksum => "The sender, then the memory and links between: the header was damaged.",
            Self::IpOptions => "The sender: source routes are never forwarded (RFC 7126).",
            Self::Ipv6ExtensionChain => {
                "The sender: at most 8 extension headers and 256 bytes, no routing header 0 (RFC 5095, RFC 9099)."
            }
            Self::Ipv6Martian => "The sender's configuration of IPv4-mapped or other reserved addresses.",
            Self::Martian => "The sender's addresses and routes; IPv6 link-local addresses are not routed.",
            Self::UnsupportedEthertype => {
                "The pod: VLAN tags and protocols other than IP and ARP do not pass."
            }

            Self::SpoofedSource => {
                "From a pod: its MAC and addresses against `weir status`. From the node TAP: a pod's address that comes back from the node, as with ClusterIPs, which do not work yet."
            }
            Self::ArpSpoof => "The pod: it claims another's address or MAC in ARP.",
            Self::NdSpoof => "The pod: it claims another's address or MAC in neighbour discovery.",
            Self::NeighbourIgnored => {
                "Usually nothing: probes, announcements, questions for strangers. Much of it: a scan, as answers are rate-limited too."
            }
            Self::RogueControl => "The pod: it poses as a router or DHCP server (CVE-2020-10749).",
            Self::BumDropped => {
                "Usually nothing: multicast and broadcast of ordinary hosts. Steadily from one pod: a stale neighbour entry there."
            }
            Self::PodTunnel => "The pod: it tries to speak VXLAN as if it were a node.",

            Self::FragmentTiny => "The sender: an evasion of filters (RFC 1858, RFC 7112).",
            Self::FragmentOverlap => {
                "The sender: an evasion of filters (RFC 5722); or a fast IPv4 sender that uses identifications again within 30 s."
            }
            Self::FragmentNoFirst => "Loss on the way: the first fragment came late or never.",
            Self::FragmentTableFull => "A flood of fragments; which port sends it shows in `weir status`.",

            Self::ConntrackInvalid => {
                "After a start of weir: connections from before, which have to be opened anew. Otherwise packets without a connection (scans, late segments)."
            }
            Self::ConntrackFull => {
                "`conntrack.max_entries` against the connections in `weir status`; a flood."
            }
            Self::ConntrackQuota => "The pod that opens so many connections; `conntrack.pod_quota`.",
            Self::ConntrackBucketFull => {
                "`conntrack.max_entries`: at half load this is practically never met."
            }
            Self::IcmpUnrelated => {
                "Usually nothing: an error that came after its connection ended. Much of it: forged errors."
            }

            Self::PolicyDeny => {
                "The denials in `weir status`: which policies isolate the pod, and who wanted what."
            }
            Self::PolicyRevoked => {
                "The denials in `weir status`: the policy change that cut open connections."
            }

            Self::TtlExpired => "A traceroute, or a routing loop behind the node.",
            Self::TooBig => {
                "The MTU in the pod, and whether ICMP \"fragmentation needed\" and \"packet too big\" reach the sender."
            }
            Self::NoRoute => "The sender's name resolution: no live pod has the address any more.",
            Self::VtepUnreachable => {
                "The peers in `weir status`: the Node lacks `public-ip` or `public-ipv6` in a family this node has."
            }
            Self::PortUnattached => "The pods in `weir status`: what the attachment waits for.",
            Self::NeighbourUnresolved => {
                "Whether the pod's end of the wire is up and has the pod's address; or give its MAC with the attachment."
            }
            Self::UnderlayUnresolved => {
                "Whether the node is up and on the network: `ip route get` its underlay address and `ip neighbour` show what the kernel knows, and the route has to lead over `underlay.interface`."
            }
            Self::TxCongested => "The receiving pod or the underlay is slower than its senders.",
            Self::TxFailed => {
                "Whether the interface is up and its MTU large enough; on the underlay, the host's routes."
            }
            Self::NoBuffer => {
                "Super-packets or held fragments take all packet memory: a flood, or a receiver that stands still."
            }
        }
    }
}
