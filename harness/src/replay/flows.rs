//! The flows of a replay: which packet opened each, and what became of them all, under one state or two.
//!
//! Key: the two ends and the protocol, either direction (of ICMP echo its identifier; of later fragments no ports).
//! Value: some 150 bytes. Bounded at [`MAX_FLOWS`], reserved at the start; the packets of flows beyond that are
//! counted together. The first packet's verdict is the flow's: that is what `weir policy eval` would have said.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

use dataplane::drop_reason::DropReason;
use policy_compiler::RuleId;
use serde::{Deserialize, Serialize};
use vxlan::wire::headers::{self, L4, Network};

use super::headers::Sketch;
use super::place::LeftOut;

/// Most flows told apart: what a hash table of 2^18 places takes.
pub const MAX_FLOWS: usize = 229_376;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Outcome {
    Forwarded,
    Answered,
    Dropped(DropReason),
    LeftOut(LeftOut),
}

impl Outcome {
    /// `FORWARDED`, `ANSWERED`, `DROPPED` or `LEFT_OUT`.
    pub(super) const fn verdict(self) -> &'static str {
        match self {
            Self::Forwarded => "FORWARDED",
            Self::Answered => "ANSWERED",
            Self::Dropped(_) => "DROPPED",
            Self::LeftOut(_) => "LEFT_OUT",
        }
    }

    /// The drop reason, or why it was left out.
    pub(super) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Forwarded | Self::Answered => None,
            Self::Dropped(reason) => Some(reason.name()),
            Self::LeftOut(reason) => Some(reason.name()),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.verdict())?;
        self.reason().map_or(Ok(()), |reason| write!(f, " ({reason})"))
    }
}

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FlowKey {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) protocol: u8,
}

/// A packet's flow, and its type and code if it is ICMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) key: FlowKey,
    pub(super) icmp: Option<(u8, u8)>,
}

impl Seen {
    /// The flow of an Ethernet frame, of the inner one if it is VXLAN; `None` where there is none to be read.
    pub(super) fn of(frame: &[u8], sketch: &Sketch, vxlan_port: u16) -> Option<Self> {
        let inner = sketch.udp_to(frame, vxlan_port).and_then(|udp| frame.get(udp + 16..));
        let ip = match headers::parse(inner.unwrap_or(frame), false).ok()?.net {
            Network::Ip(ip) => ip,
            Network::Arp => return None,
        };
        let (src_port, dst_port, icmp) = match ip.l4 {
            L4::Tcp { src_port, dst_port, .. }
            | L4::Udp { src_port, dst_port }
            | L4::Sctp { src_port, dst_port, .. } => (src_port, dst_port, None),
            L4::Icmp { icmp_type: kind @ (0 | 8), code, id }
            | L4::Icmpv6 { icmp_type: kind @ (128 | 129), code, id } => (id, id, Some((kind, code))),
            L4::Icmp { icmp_type, code, .. } | L4::Icmpv6 { icmp_type, code, .. } => {
                (0, 0, Some((icmp_type, code)))
            }
            L4::Other | L4::LaterFragment => (0, 0, None),
        };
        let key = FlowKey { src: ip.src, dst: ip.dst, src_port, dst_port, protocol: ip.protocol };
        Some(Self { key, icmp })
    }
}

impl FlowKey {
    /// The same for both directions, and whether this is the other one.
    fn canonical(self) -> (Self, bool) {
        let other = Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        };
        if (other.src, other.src_port) < (self.src, self.src_port) { (other, true) } else { (self, false) }
    }
}

/// What one state made of a flow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Side {
    /// Of its first packet.
    pub(super) first: Option<Outcome>,
    /// The rules that last decided about it, egress and ingress.
    pub(super) rules: [Option<RuleId>; 2],
    pub(super) forwarded: u64,
    pub(super) dropped: u64,
    /// Answered or left out.
    pub(super) other: u64,
}

/// A flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// Its first packet, by number.
    first_packet: u64,
    /// Its first packet went against the canonical direction.
    reversed: bool,
    icmp: Option<(u8, u8)>,
    pub(super) bytes: u64,
    pub(super) sides: [Side; 2],
    /// Packets that the two states judge differently.
    pub(super) changed: u64,
}

/// All flows.
pub(super) struct Flows {
    table: HashMap<FlowKey, Flow, ahash::RandomState>,
    limit: usize,
    /// Packets of flows that found no place.
    pub(super) beyond: u64,
    /// Packets without a flow: ARP, and what cannot be read.
    pub(super) without: u64,
}

impl Flows {
    pub(super) fn new(limit: usize) -> Self {
        let table = HashMap::with_capacity_and_hasher(limit, ahash::RandomState::new());
        Self { table, limit, beyond: 0, without: 0 }
    }

    /// Enters a packet; the flow's key where it is kept.
    pub(super) fn enter(&mut self, seen: Option<Seen>, number: u64, bytes: u64) -> Option<FlowKey> {
        let Some(seen) = seen else {
            self.without += 1;
            return None;
        };
        let full = self.table.len() >= self.limit;
        let (key, reversed) = seen.key.canonical();
        match self.table.entry(key) {
            Entry::Occupied(mut flow) => flow.get_mut().bytes += bytes,
            Entry::Vacant(_) if full => {
                self.beyond += 1;
                return None;
            }
            Entry::Vacant(place) => {
                let sides = [Side::default(); 2];
                let icmp = seen.icmp;
                place.insert(Flow { first_packet: number, reversed, icmp, bytes, sides, changed: 0 });
            }
        }
        Some(key)
    }

    /// The flow that [`Flows::enter`] gave this key for.
    pub(super) fn at(&mut self, key: FlowKey) -> Option<&mut Flow> {
        self.table.get_mut(&key)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// In the order of their first packets.
    pub(super) fn in_order(&self) -> Vec<(FlowKey, &Flow)> {
        let mut flows: Vec<_> = self.table.iter().map(|(key, flow)| (flow.opened_as(*key), flow)).collect();
        flows.sort_unstable_by_key(|(_, flow)| flow.first_packet);
        flows
    }
}

impl Flow {
    /// The direction its first packet went.
    fn opened_as(&self, key: FlowKey) -> FlowKey {
        if !self.reversed {
            return key;
        }
        FlowKey {
            src: key.dst,
            dst: key.src,
            src_port: key.dst_port,
            dst_port: key.src_port,
            protocol: key.protocol,
        }
    }

    /// Notes what became of one of its packets under a state.
    pub(super) fn settle(&mut self, side: usize, number: u64, outcome: Outcome, rules: [Option<RuleId>; 2]) {
        let first = number == self.first_packet;
        let Some(side) = self.sides.get_mut(side) else { return };
        if first || side.first.is_none() {
            side.first = Some(outcome);
        }
        if rules != [None; 2] {
            side.rules = rules;
        }
        match outcome {
            Outcome::Forwarded => side.forwarded += 1,
            Outcome::Dropped(_) => side.dropped += 1,
            Outcome::Answered | Outcome::LeftOut(_) => side.other += 1,
        }
    }

    pub(super) fn packets(&self) -> u64 {
        let [side, _] = &self.sides;
        side.forwarded + side.dropped + side.other
    }
}

/// A flow as a line of JSON. Its first six fields are those of a probe of `weir policy eval`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLine {
    /// Where its first packet came from.
    pub src: IpAddr,
    /// Where it went.
    pub dst: IpAddr,
    /// `TCP`, `UDP`, `SCTP`, `ICMP`, or the number of another protocol.
    pub protocol: String,
    /// Destination port; absent for protocols without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Source port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Type of its first packet, of ICMP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<u8>,
    /// Code of its first packet, of ICMP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<u8>,
    /// The number of its first packet in the replay.
    pub first_packet: u64,
    /// What became of that: `FORWARDED`, `DROPPED`, `ANSWERED` or `LEFT_OUT`.
    pub verdict: String,
    /// The drop reason, or why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same under the older state, where two are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_verdict: Option<String>,
    /// Packets forwarded.
    pub forwarded: u64,
    /// Packets dropped.
    pub dropped: u64,
    /// Packets answered or left out.
    pub other: u64,
    /// Bytes on the wire, headers of the tunnel included.
    pub bytes: u64,
    /// The rules that decided last, in words.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rules: Vec<String>,
}

impl FlowLine {
    pub(super) fn new(key: FlowKey, flow: &Flow, two: bool, rules: Vec<String>) -> Self {
        let [side, old] = &flow.sides;
        let first = side.first;
        let ported = matches!(key.protocol, 6 | 17 | 132);
        Self {
            src: key.src,
            dst: key.dst,
            protocol: protocol_name(key.protocol),
            port: ported.then_some(key.dst_port),
            sport: ported.then_some(key.src_port),
            icmp_type: flow.icmp.map(|(kind, _)| kind),
            icmp_code: flow.icmp.map(|(_, code)| code),
            first_packet: flow.first_packet,
            verdict: first.map_or("HELD", Outcome::verdict).to_owned(),
            reason: first.and_then(Outcome::reason).map(str::to_owned),
            old_verdict: two.then(|| old.first.map_or("HELD".to_owned(), |first| first.to_string())),
            forwarded: side.forwarded,
            dropped: side.dropped,
            other: side.other,
            bytes: flow.bytes,
            rules,
        }
    }
}

/// As probes spell it.
pub(super) fn protocol_name(protocol: u8) -> String {
    match protocol {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        132 => "SCTP".to_owned(),
        1 | 58 => "ICMP".to_owned(),
        other => other.to_string(),
    }
}
