//! Every way a packet can end other than by being delivered.
//!
//! One enum, from which counters, `weir status`, logs, metrics and the documentation are made: a packet that
//! is not forwarded and not answered by weir itself is counted under exactly one of these.

mod advice;

pub use advice::Group;

macro_rules! drop_reasons {
    ($($variant:ident = $name:literal, $text:literal;)*) => {
        /// Why a packet was dropped. The name ([`DropReason::name`]) is a promise to users: it stands in
        /// counters, metrics and logs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $text] $variant,)*
        }

        impl DropReason {
            /// All reasons, in order of [`DropReason::index`].
            pub const ALL: &[DropReason] = &[$(DropReason::$variant,)*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for people.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Position in [`DropReason::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    Starting = "starting", "No generation has been compiled yet.";
    PodUnknown = "pod_unknown", "The port is attached for a pod that the state does not know (yet).";
    PolicyPending = "policy_pending", "The port is not the one that serves its pod: another was attached first.";
    PodGone = "pod_gone", "The connection belongs to a pod that has gone; its address is another's now.";
    IpConflict = "ip_conflict", "Two live pods claim the address, or it is none a pod of this node can have; they are cut off.";

    OuterInvalid = "outer_invalid", "The outer packet is not a valid unicast UDP packet to this VTEP.";
    OuterChecksum = "outer_csum", "The outer UDP or IP checksum is wrong.";
    OuterFragment = "outer_fragment", "The outer packet is a fragment.";
    VtepUnknown = "vtep_unknown", "The outer source is not the VTEP of any node.";
    VxlanFlags = "vxlan_flags", "The VXLAN header has no I flag, or reserved bits where these are refused.";
    VniMismatch = "vni_mismatch", "The VXLAN network identifier is not ours.";
    EcnInvalid = "ecn_invalid", "Congestion was marked outside on a packet that does not speak ECN inside.";
    NestedTunnel = "nested_tunnel", "A tunnel packet inside a tunnel packet.";
    InnerL2 = "inner_l2", "The inner frame is not an untagged IP frame between the two VTEP MACs.";
    InnerSourceMismatch = "inner_src_mismatch", "The inner source does not belong to the node that sent it.";
    ControlOverOverlay = "control_over_overlay", "Neighbour or configuration protocol arrived over the overlay.";
    NotLocal = "not_local", "A packet from the overlay or the node that no local pod is to receive.";

    Truncated = "truncated", "The packet ends before its headers do.";
    LengthMismatch = "length_mismatch", "A length field contradicts the packet.";
    BadHeader = "bad_header", "A header field has a value that no valid packet has.";
    IpChecksum = "ip_csum", "The IPv4 header checksum is wrong.";
    IpOptions = "ip_options", "Source routing or malformed options in an IPv4 header.";
    Ipv6ExtensionChain = "v6_ext_chain", "IPv6 extension headers that are refused or too many.";
    Ipv6Martian = "v6_martian", "An IPv6 address that may not be on the wire (IPv4-mapped and the like).";
    Martian = "martian", "A source or destination address that may not be routed.";
    UnsupportedEthertype = "unsupported_ethertype", "A frame that carries neither IP nor ARP.";

    SpoofedSource = "spoofed_src", "The source MAC or address does not belong to the sender.";
    ArpSpoof = "arp_spoof", "ARP with a foreign sender.";
    NdSpoof = "nd_spoof", "Neighbour discovery with a foreign sender.";
    NeighbourIgnored = "neighbour_ignored", "ARP or neighbour discovery that weir does not answer.";
    RogueControl = "rogue_control", "Router advertisement, redirect or DHCP server message from a pod.";
    BumDropped = "bum_dropped", "Broadcast, multicast or unknown unicast; weir floods nothing.";
    PodTunnel = "pod_tunnel", "A pod sends VXLAN to a node.";

    FragmentTiny = "frag_tiny", "A first fragment without the whole transport header.";
    FragmentOverlap = "frag_overlap", "Fragments that overlap; the datagram is dropped whole.";
    FragmentNoFirst = "frag_no_first", "A later fragment whose first fragment did not come in time.";
    FragmentTableFull = "frag_table_full", "No room to follow another fragmented datagram.";

    ConntrackInvalid = "ct_invalid", "A packet that fits no connection and may not open one.";
    ConntrackFull = "ct_full", "The connection table is full.";
    ConntrackQuota = "ct_quota", "The pod has used up its share of the connection table.";
    ConntrackBucketFull = "ct_bucket_full", "Too many connections hash to one place.";
    IcmpUnrelated = "icmp_unrelated", "An ICMP error about no connection of its receiver.";

    PolicyDeny = "policy_deny", "No policy allows it.";
    PolicyRevoked = "policy_revoked", "An open connection that a changed policy no longer allows.";

    TtlExpired = "ttl_expired", "The TTL or hop limit ran out.";
    TooBig = "too_big", "Larger than the way out takes, and may not be fragmented.";
    NoRoute = "no_route", "No pod, node or gateway for the destination.";
    VtepUnreachable = "vtep_unreachable", "The destination's node has no VTEP, or none in a family we have.";
    PortUnattached = "port_unattached", "The destination pod has no interface attached (yet).";
    NeighbourUnresolved = "neighbour_unresolved", "The MAC of the destination pod is not known yet.";
    UnderlayUnresolved = "underlay_unresolved", "The MAC of the next hop towards the destination's node is not known (yet).";
    TxCongested = "tx_congested", "The way out refused the packet because its queue is full.";
    TxFailed = "tx_failed", "The way out refused the packet.";
    NoBuffer = "no_buffer", "No packet memory was free.";
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_indices_are_positions() {
        let names: HashSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), position);
        }
    }
}
