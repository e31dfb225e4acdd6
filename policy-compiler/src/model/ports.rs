//! Protocols and ports, as rules describe them.
//!
//! A *port* here is what tells services of a protocol apart: the port number of TCP, UDP and SCTP, `type << 8 | code`
//! of ICMP and ICMPv6, and 0 for every other protocol. A rule that lists TCP ports says nothing about ICMP.

use std::fmt;

/// An IP protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(u8);

impl Protocol {
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// SCTP.
    pub const SCTP: Self = Self(132);
    /// ICMP (of IPv4).
    pub const ICMP: Self = Self(1);
    /// ICMPv6.
    pub const ICMPV6: Self = Self(58);
    /// UDP-Lite.
    pub const UDP_LITE: Self = Self(136);

    /// Those with ports that pods can name.
    pub const WITH_PORTS: [Self; 3] = [Self::TCP, Self::UDP, Self::SCTP];

    /// The protocol with this IANA number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// IANA protocol number.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether it is one of [`Self::WITH_PORTS`].
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::TCP | Self::UDP | Self::SCTP)
    }

    /// `TCP`, `UDP`, `SCTP`: exactly as manifests spell those with ports.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "TCP" => Some(Self::TCP),
            "UDP" => Some(Self::UDP),
            "SCTP" => Some(Self::SCTP),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    /// As manifests spell it, or `protocol 47`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::TCP => "TCP",
            Self::UDP => "UDP",
            Self::SCTP => "SCTP",
            Self::ICMP => "ICMP",
            Self::ICMPV6 => "ICMPv6",
            Self::UDP_LITE => "UDPLite",
            Self(number) => return write!(f, "protocol {number}"),
        })
    }
}

/// Ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortSpec {
    /// Inclusive range; all ports of the protocol are 0 to 65535.
    Range {
        /// The protocol.
        protocol: Protocol,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
    },
    /// What the pod at that end calls by this name for this protocol. Never matches an address that is no pod's.
    Named {
        /// The protocol.
        protocol: Protocol,
        /// The container port's name.
        name: String,
    },
}

impl PortSpec {
    /// All ports of a protocol.
    pub const fn all(protocol: Protocol) -> Self {
        Self::Range { protocol, first: 0, last: u16::MAX }
    }

    /// One ICMP or ICMPv6 type, with all its codes or one.
    pub fn icmp(protocol: Protocol, kind: u8, code: Option<u8>) -> Self {
        let first = u16::from_be_bytes([kind, code.unwrap_or(0)]);
        let last = u16::from_be_bytes([kind, code.unwrap_or(u8::MAX)]);
        Self::Range { protocol, first, last }
    }

    /// Whether it covers the port, where `named` knows whether a name stands for it at that end.
    pub fn covers(&self, protocol: u8, port: u16, named: impl FnOnce(&str) -> bool) -> bool {
        match self {
            Self::Range { protocol: of, first, last } => {
                of.number() == protocol && (*first..=*last).contains(&port)
            }
            Self::Named { protocol: of, name } => of.number() == protocol && named(name),
        }
    }
}

/// Protocols and ports of one end of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Ports {
    /// Every protocol, every port.
    #[default]
    Any,
    /// Any one of these. An empty list is none.
    OneOf(Vec<PortSpec>),
}

impl Ports {
    /// The alternatives; none where everything is meant.
    pub fn listed(&self) -> &[PortSpec] {
        match self {
            Self::Any => &[],
            Self::OneOf(specs) => specs,
        }
    }
}
