//! A question about one connection, as a line of JSON or as the words of a command line.

use crate::model::Protocol;
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Source port where a probe names none: the first of the dynamic range.
const SOURCE_PORT: u16 = 49152;

/// Why a probe cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Not the JSON of a probe.
    #[error(
        "not a probe: {0}: expected an object like {example}",
        example = r#"{"src": "shop/web", "dst": "10.0.0.1", "protocol": "TCP", "port": 80}"#
    )]
    Malformed(String),
    /// A field says what no connection can be.
    #[error("{field}: {message}: expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        message: String,
        /// What was expected.
        expected: &'static str,
    },
    /// There is no such pod.
    #[error("there is no pod {0}: expected namespace/name of a live pod, or an IP address")]
    UnknownPod(String),
    /// The pod has finished.
    #[error("pod {0} has finished: it has no address any more: expected a live pod")]
    Finished(String),
    /// The pod has no address yet.
    #[error("pod {0} has no address yet: expected status.podIPs")]
    NoAddress(String),
    /// Neither a pod nor an address.
    #[error("{0:?} is neither a pod nor an address: expected namespace/name, or an IP address")]
    NotAnEnd(String),
    /// The two ends have no address family in common, or not the wanted one.
    #[error("{src} and {dst} do not both have an address of {family}: expected a family that both ends have")]
    NoFamily {
        /// Who was to connect.
        src: String,
        /// To whom.
        dst: String,
        /// The family that was asked for, in words.
        family: &'static str,
    },
}

/// Protocol and what identifies a service within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// A protocol with ports.
    Port(Protocol, u16),
    /// ICMP or, on IPv6, ICMPv6: type and code; no type is the echo request of the family.
    Icmp(Option<u8>, u8),
}

impl Transport {
    /// IANA protocol number and the key's destination port for an address of this family.
    pub fn in_key(self, address: IpAddr) -> (u8, u16) {
        match (self, address) {
            (Self::Port(protocol, port), _) => (protocol.number(), port),
            (Self::Icmp(kind, code), IpAddr::V4(_)) => (1, u16::from_be_bytes([kind.unwrap_or(8), code])),
            (Self::Icmp(kind, code), IpAddr::V6(_)) => (58, u16::from_be_bytes([kind.unwrap_or(128), code])),
        }
    }
}

impl fmt::Display for Transport {
    /// `8080/TCP`, `ICMP`, `ICMP:3.1`: what [`Transport::from_str`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "{port}/{protocol}"),
            Self::Icmp(None, _) => f.write_str("ICMP"),
            Self::Icmp(Some(kind), code) => write!(f, "ICMP:{kind}.{code}"),
        }
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no port: expected PORT/PROTOCOL like 8080/TCP or 53/UDP, ICMP or ICMP:TYPE.CODE"
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
        let (port, protocol) = upper.split_once('/').ok_or_else(wrong)?;
        let (Ok(port), Some(protocol)) = (port.parse(), Protocol::from_name(protocol)) else {
            return Err(wrong());
        };
        Ok(Self::Port(protocol, port))
    }
}

/// A question: may `src` open this connection to `dst`?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `namespace/name` of a pod, or an address.
    pub src: String,
    /// `namespace/name` of a pod, or an address.
    pub dst: String,
    /// Protocol and port.
    pub transport: Transport,
    /// 4 or 6; else the first family of the source that the destination has too.
    pub family: Option<u8>,
    /// Source port; 0 for ICMP.
    pub src_port: u16,
}

impl Probe {
    /// A probe from the dynamic source port, in the first family that fits.
    pub fn new(src: &str, dst: &str, transport: Transport) -> Self {
        let src_port = if matches!(transport, Transport::Icmp(..)) { 0 } else { SOURCE_PORT };
        Self { src: src.to_owned(), dst: dst.to_owned(), transport, family: None, src_port }
    }

    /// Reads `{"src", "dst", "protocol", "port"}` with optional `family`, `sport`, `icmp_type`, `icmp_code`.
    ///
    /// ICMP has no ports: `port` and `sport` beside it say nothing. An ICMP field beside another protocol, and
    /// a field of any other name, are refused: they would not mean what their writer thinks.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn from_json(line: &str) -> Result<Self, ProbeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, expecting = "an object")]
        struct Raw {
            src: String,
            dst: String,
            protocol: String,
            port: Option<u16>,
            family: Option<u8>,
            sport: Option<u16>,
            icmp_type: Option<u8>,
            icmp_code: Option<u8>,
        }
        let line = line.trim();
        // Serde would also take a list of the fields' values.
        if !line.starts_with('{') {
            let found = if line.is_empty() { "an empty line" } else { "something else than an object" };
            return Err(ProbeError::Malformed(found.to_owned()));
        }
        let raw: Raw = serde_json::from_str(line).map_err(|error| ProbeError::Malformed(in_words(&error)))?;
        if let Some(family) = raw.family
            && family != 4
            && family != 6
        {
            let message = format!("{family} is no address family");
            return Err(ProbeError::Field { field: "family", message, expected: "4 or 6" });
        }
        let transport = if raw.protocol == "ICMP" {
            Transport::Icmp(raw.icmp_type, raw.icmp_code.unwrap_or(0))
        } else {
            let protocol = Protocol::from_name(&raw.protocol).ok_or_else(|| ProbeError::Field {
                field: "protocol",
                message: format!("{:?} is no protocol", raw.protocol),
                expected: "TCP, UDP, SCTP or ICMP",
            })?;
            for (field, value) in [("icmp_type", raw.icmp_type), ("icmp_code", raw.icmp_code)] {
                if value.is_some() {
                    let message = format!("{protocol} has none");
                    return Err(ProbeError::Field { field, message, expected: "protocol ICMP beside it" });
                }
            }
            let port = raw.port.ok_or_else(|| ProbeError::Field {
                field: "port",
                message: format!("{protocol} without a port"),
                expected: "a number up to 65535",
            })?;
            Transport::Port(protocol, port)
        };
        let mut probe = Self::new(&raw.src, &raw.dst, transport);
        probe.family = raw.family;
        if let (Some(src_port), Transport::Port(..)) = (raw.sport, transport) {
            probe.src_port = src_port;
        }
        Ok(probe)
    }
}

/// What is wrong with the JSON, without the names of Rust's types.
fn in_words(error: &serde_json::Error) -> String {
    error.to_string().replace("u16", "a number up to 65535").replace("u8", "a number up to 255")
}
