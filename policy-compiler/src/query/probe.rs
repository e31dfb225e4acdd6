//! A question about one connection, as a line of JSON or as the words of a command line.

use super::transport::{Transport, protocol_named};
use crate::model::Protocol;
use serde::Deserialize;

/// Source port where a probe names none: the first of the dynamic range.
pub(super) const SOURCE_PORT: u16 = 49152;

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
    /// Source port; 0 for protocols without ports.
    pub src_port: u16,
}

impl Probe {
    /// A probe from the dynamic source port, in the first family that fits.
    pub fn new(src: &str, dst: &str, transport: Transport) -> Self {
        let src_port = if transport.has_ports() { SOURCE_PORT } else { 0 };
        Self { src: src.to_owned(), dst: dst.to_owned(), transport, family: None, src_port }
    }

    /// Reads `{"src", "dst", "protocol", "port"}` with optional `family`, `sport`, `icmp_type`, `icmp_code`.
    ///
    /// `protocol` is a name or an IANA number. ICMP, and what is neither TCP, UDP nor SCTP, has no ports: `port` and
    /// `sport` beside it say nothing. `ICMPv6` asks about IPv6. An ICMP field beside another protocol, and a field of
    /// any other name, are refused: they would not mean what their writer thinks.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn from_json(line: &str) -> Result<Self, ProbeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, expecting = "an object")]
        struct Raw {
            src: String,
            dst: String,
            protocol: Word,
            port: Option<u16>,
            family: Option<u8>,
            sport: Option<u16>,
            icmp_type: Option<u8>,
            icmp_code: Option<u8>,
        }
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "the name or the number of a protocol")]
        enum Word {
            Number(u8),
            Name(String),
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
        let unknown = |name: String| ProbeError::Field {
            field: "protocol",
            message: format!("{name:?} is no protocol"),
            expected: "TCP, UDP, SCTP, ICMP, another protocol like GRE, or a number",
        };
        let numbered = matches!(raw.protocol, Word::Number(_));
        let (family, is_icmp, protocol) = match raw.protocol {
            Word::Number(1) => (raw.family.or(Some(4)), true, Protocol::ICMP),
            Word::Number(58) => (raw.family.or(Some(6)), true, Protocol::ICMPV6),
            Word::Number(number) => (raw.family, false, Protocol::new(number)),
            Word::Name(name) if name == "ICMP" => (raw.family, true, Protocol::ICMP),
            Word::Name(name) if name == "ICMPv6" => (raw.family.or(Some(6)), true, Protocol::ICMPV6),
            Word::Name(name) => {
                let protocol = Protocol::from_name(&name).or_else(|| protocol_named(&name));
                (raw.family, false, protocol.ok_or_else(|| unknown(name))?)
            }
        };
        let misplaced = match (protocol, family) {
            (Protocol::ICMPV6, Some(4)) => Some(("ICMPv6 is not of IPv4", "6")),
            (Protocol::ICMP, Some(6)) if numbered => {
                Some(("protocol 1 is not of IPv6", "4, or \"protocol\": \"ICMP\""))
            }
            _ => None,
        };
        if let Some((message, expected)) = misplaced {
            return Err(ProbeError::Field { field: "family", message: message.to_owned(), expected });
        }
        let transport = if is_icmp {
            Transport::Icmp(raw.icmp_type, raw.icmp_code.unwrap_or(0))
        } else {
            for (field, value) in [("icmp_type", raw.icmp_type), ("icmp_code", raw.icmp_code)] {
                if value.is_some() {
                    let message = format!("{protocol} has none");
                    return Err(ProbeError::Field { field, message, expected: "protocol ICMP beside it" });
                }
            }
            match (protocol.has_ports(), raw.port) {
                (false, _) => Transport::Other(protocol),
                (true, Some(port)) => Transport::Port(protocol, port),
                (true, None) => {
                    return Err(ProbeError::Field {
                        field: "port",
                        message: format!("{protocol} without a port"),
                        expected: "a number up to 65535",
                    });
                }
            }
        };
        let mut probe = Self::new(&raw.src, &raw.dst, transport);
        probe.family = family;
        if let (Some(src_port), true) = (raw.sport, transport.has_ports()) {
            probe.src_port = src_port;
        }
        Ok(probe)
    }
}

/// What is wrong with the JSON, without the names of Rust's types.
fn in_words(error: &serde_json::Error) -> String {
    error.to_string().replace("u16", "a number up to 65535").replace("u8", "a number up to 255")
}
