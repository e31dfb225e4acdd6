//! What a connection is opened with: a protocol, and what tells its services apart.
//!
//! ICMP is one word for both families, as `ping` is: on IPv6 it is ICMPv6. Every other protocol goes by its name or
//! its IANA number.

use crate::model::Protocol;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Protocols without ports that people call by name; all others go by number.
const NAMED: [(&str, u8); 8] = [
    ("GRE", 47),
    ("ESP", 50),
    ("AH", 51),
    ("IPIP", 4),
    ("IGMP", 2),
    ("OSPF", 89),
    ("VRRP", 112),
    ("UDPLite", 136),
];

/// Protocol and what identifies a service within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// TCP, UDP or SCTP.
    Port(Protocol, u16),
    /// ICMP or, on IPv6, ICMPv6: type and code; no type is the echo request of the family.
    Icmp(Option<u8>, u8),
    /// Any other protocol.
    Other(Protocol),
}

impl Transport {
    /// IANA protocol number and the key's destination port for an address of this family.
    pub fn in_key(self, address: IpAddr) -> (u8, u16) {
        match (self, address) {
            (Self::Port(protocol, port), _) => (protocol.number(), port),
            (Self::Icmp(kind, code), IpAddr::V4(_)) => (1, u16::from_be_bytes([kind.unwrap_or(8), code])),
            (Self::Icmp(kind, code), IpAddr::V6(_)) => (58, u16::from_be_bytes([kind.unwrap_or(128), code])),
            (Self::Other(protocol), _) => (protocol.number(), 0),
        }
    }

    /// Whether it has source ports.
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::Port(..))
    }
}

/// The protocol without ports that is called so, whatever the case; none for those with ports and for ICMP.
pub(super) fn protocol_named(name: &str) -> Option<Protocol> {
    let known = NAMED.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|&(_, number)| Protocol::new(number))
}

/// What people call the protocol: `GRE`, or `protocol 252`.
pub(super) fn protocol_name(protocol: Protocol) -> String {
    let known = NAMED.iter().find(|(_, number)| *number == protocol.number());
    known.map_or_else(|| protocol.to_string(), |(name, _)| (*name).to_owned())
}

impl fmt::Display for Transport {
    /// `8080/TCP`, `ICMP`, `ICMP:3.1`, `GRE`, `PROTOCOL:252`: what [`Transport::from_str`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{protocol}"),
            Self::Icmp(None, _) => f.write_str("ICMP"),
            Self::Icmp(Some(kind), code) => write!(f, "ICMP:{kind}.{code}"),
            Self::Other(protocol) => match NAMED.iter().find(|(_, number)| *number == protocol.number()) {
                Some((name, _)) => f.write_str(name),
                None => write!(f, "PROTOCOL:{}", protocol.number()),
            },
        }
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no port: expected PORT/PROTOCOL like 8080/TCP or 53/UDP, ICMP or ICMP:TYPE.CODE, \
                 or another protocol like GRE or PROTOCOL:47"
            )
        };
        let upper = text.to_ascii_uppercase();
        if upper == "ICMP" {
            return Ok(Self::Icmp(None, 0));
        }
        if let Some(rest) = upper.strip_prefix("ICMP:") {
            let (kind, code) = rest.split_once('.').unwrap_or((rest, "0"));
            let (Ok(kind), Ok(code)) = (kind.parse(), code.parse()) else { return Err(wrong()) };
            return Ok(Self::Icmp(Some(kind), code));
        }
        if let Some(number) = upper.strip_prefix("PROTOCOL:") {
            let number = number.parse().map_err(|_| wrong())?;
            // Those with ports or types are told by them.
            return match number {
                1 | 6 | 17 | 58 | 132 => Err(wrong()),
                number => Ok(Self::Other(Protocol::new(number))),
            };
        }
        if let Some(protocol) = protocol_named(&upper) {
            return Ok(Self::Other(protocol));
        }
        let (port, protocol) = upper.split_once('/').ok_or_else(wrong)?;
        let (Ok(port), Some(protocol)) = (port.parse(), Protocol::from_name(protocol)) else {
            return Err(wrong());
        };
        Ok(Self::Port(protocol, port))
    }
}
