//! A set of connections, as people write it.

use super::ports::{EVERY, Group, Range, Stretch, join};
use super::transport::{Transport, protocol_name};
use crate::model::Protocol;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// Part of a [`Reach`]: a range of ports of a protocol, from some source ports.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Part {
    group: Group,
    ports: Range,
    /// Sorted, with gaps between them.
    sources: Vec<Range>,
}

/// A set of protocols and ports. Written `TCP 80,8000-8100; UDP; ICMP type 8; other protocols`; a protocol without
/// ports stands for all of it, `other protocols` for all that no rule mentions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Reach {
    /// By protocol and port.
    parts: Vec<Part>,
    /// Everything there is to ask about is in it.
    all: bool,
    /// The protocols without ports that are not among the others.
    mentioned: Arc<[Protocol]>,
}

impl Reach {
    /// The stretches of which `member` holds, by position. Stretches are sorted by group, ports, source ports.
    pub(super) fn collect(
        stretches: &[Stretch],
        mentioned: &Arc<[Protocol]>,
        member: impl Fn(usize) -> bool,
    ) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut all = true;
        let chunks = stretches.chunk_by(|a, b| a.group == b.group && a.ports == b.ports);
        let mut position = 0;
        for chunk in chunks {
            let mut sources = Vec::new();
            let Some(&Stretch { group, ports, .. }) = chunk.first() else { continue };
            for stretch in chunk {
                if member(position) {
                    join(&mut sources, stretch.sources);
                } else {
                    all = false;
                }
                position += 1;
            }
            if sources.is_empty() {
                continue;
            }
            match parts.last_mut() {
                Some(part)
                    if part.group == group
                        && part.sources == sources
                        && part.ports.1.checked_add(1) == Some(ports.0) =>
                {
                    part.ports.1 = ports.1;
                }
                _ => parts.push(Part { group, ports, sources }),
            }
        }
        Self { parts, all, mentioned: Arc::clone(mentioned) }
    }

    /// Whether the connection is in it, of a family (4 or 6) and from a source port.
    pub fn contains(&self, transport: Transport, src_port: u16, family: u8) -> bool {
        let (group, port) = match transport {
            Transport::Port(protocol, port) => (Group::Of(protocol), port),
            Transport::Icmp(None, code) if family == 4 => (Group::Icmp, u16::from_be_bytes([8, code])),
            Transport::Icmp(kind, code) => (Group::Icmp, u16::from_be_bytes([kind.unwrap_or(128), code])),
            Transport::Other(protocol) if self.mentioned.contains(&protocol) => (Group::Of(protocol), 0),
            Transport::Other(_) => (Group::Rest, 0),
        };
        let src_port = if transport.has_ports() { src_port } else { 0 };
        let within = |&(first, last): &Range, port: u16| (first..=last).contains(&port);
        self.parts.iter().any(|part| {
            part.group == group
                && within(&part.ports, port)
                && part.sources.iter().any(|sources| within(sources, src_port))
        })
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether everything is in it.
    pub fn is_all(&self) -> bool {
        self.all
    }
}

/// `80,8000-8100`.
pub(super) fn ranges_in_words(ranges: &[Range]) -> String {
    let range = |&(first, last): &Range| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

/// `type 8`, `type 3 code 4`, `types 8-10`; `type << 8 | code` where it begins or ends within a type.
pub(super) fn types_in_words((first, last): Range) -> String {
    let [kind, code] = first.to_be_bytes();
    let [last_kind, last_code] = last.to_be_bytes();
    match (code, last_code) {
        (0, u8::MAX) if kind == last_kind => format!("type {kind}"),
        (0, u8::MAX) => format!("types {kind}-{last_kind}"),
        _ if first == last => format!("type {kind} code {code}"),
        _ if kind == last_kind => format!("type {kind} codes {code}-{last_code}"),
        _ => format!("type {kind} code {code} to type {last_kind} code {last_code}"),
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        if self.is_empty() {
            return f.write_str("none");
        }
        let mut separator = "";
        for parts in self.parts.chunk_by(|a, b| a.group == b.group && a.sources == b.sources) {
            let Some(Part { group, sources, .. }) = parts.first() else { continue };
            f.write_str(separator)?;
            separator = "; ";
            let ranges: Vec<Range> = parts.iter().map(|part| part.ports).collect();
            let whole = ranges[..] == [EVERY];
            match group {
                Group::Of(protocol) if protocol.has_ports() && whole => write!(f, "all {protocol}")?,
                Group::Of(protocol) if protocol.has_ports() => {
                    write!(f, "{protocol} {}", ranges_in_words(&ranges))?;
                }
                Group::Of(protocol) => f.write_str(&protocol_name(*protocol))?,
                Group::Icmp if whole => f.write_str("ICMP")?,
                Group::Icmp => {
                    let types: Vec<String> = ranges.iter().map(|&range| types_in_words(range)).collect();
                    write!(f, "ICMP {}", types.join(", "))?;
                }
                Group::Rest => f.write_str("other protocols")?,
            }
            if sources[..] != [EVERY] {
                write!(f, " from source ports {}", ranges_in_words(sources))?;
            }
        }
        Ok(())
    }
}

impl Serialize for Reach {
    /// As it is written.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
