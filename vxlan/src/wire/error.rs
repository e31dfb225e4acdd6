//! Why a frame's headers could not be read.

/// What is wrong with a frame. The parse stage makes a drop reason of it, in most cases of the same name.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ParseError {
    /// The packet ends before its headers do.
    #[error("the packet ends before its headers do")]
    Truncated,
    /// A length field contradicts the packet.
    #[error("a length field contradicts the packet")]
    LengthMismatch,
    /// A field has a value that no valid packet has: IP version, IHL, TCP data offset.
    #[error("a header field has an impossible value")]
    BadHeader,
    /// The IPv4 header checksum is wrong.
    #[error("the IPv4 header checksum is wrong")]
    IpChecksum,
    /// Source routing or malformed options in an IPv4 header (RFC 7126).
    #[error("the IPv4 header has a source route or malformed options")]
    IpOptions,
    /// An IPv6 extension header chain that is too long, malformed, or holds what is refused.
    #[error("the IPv6 extension headers are refused")]
    Ipv6ExtensionChain,
    /// An IPv6 address that may not be on the wire.
    #[error("an IPv6 address may not be on the wire")]
    Ipv6Martian,
    /// An IPv4 address that may not be on the wire.
    #[error("an IPv4 address may not be on the wire")]
    Martian,
    /// A VLAN tag, be it of VLAN 0.
    #[error("the frame has a VLAN tag")]
    Vlan,
    /// A length where the Ethernet type should be: LLC or SNAP.
    #[error("the frame has a length in place of its type")]
    LengthType,
    /// Neither IPv4 nor IPv6 nor ARP.
    #[error("the Ethernet type {0:#06x} is not supported")]
    UnsupportedEthertype(u16),
    /// A first fragment without the whole transport header, or one that would reach into it.
    #[error("a fragment splits the transport header")]
    FragmentTiny,
}
