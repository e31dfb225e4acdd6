//! Where a packet of a capture enters the pipeline.
//!
//! ```text
//!  a rule of --map takes it                       where the rule says
//!  VXLAN to this node's underlay address          the underlay
//!  VXLAN from this node                           what is inside, as if it had not been sent yet
//!  from a pod of this node                        that pod's port
//!  from a pod of another node to one of this      the underlay, wrapped as that node would have sent it
//!  from the node or outside to a pod              the node's port
//!  anything else                                  nowhere: it is left out, and counted under why
//! ```
//! Addresses decide, not MACs: those say which wire a packet was seen on, and the same packet is seen on several.

use std::collections::HashMap;
use std::net::IpAddr;

use dataplane::pipeline::PortId;
use dataplane::tables::{Generation, Party};
use serde::Serialize;
use vxlan::fdb::VtepId;
use vxlan::mac::Mac;

use super::headers::Sketch;
use super::map::{MapEntry, MapRule};
use crate::capture::Interface;

/// Why a packet did not enter the pipeline. The names stand in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftOut {
    /// Frames of this interface begin with a header that is not known.
    LinkType,
    /// Longer than any frame weir takes.
    TooLong,
    /// It names no addresses: neither IP nor ARP, or too short.
    NoAddress,
    /// Neither end is a pod: the node's own traffic, which never meets weir.
    NoPod,
    /// From a pod of another node to somewhere else than here.
    OtherNodes,
    /// From an address of this node's pod subnets that no pod has.
    UnknownPod,
    /// A rule of `--map` says so.
    Map,
}

impl LeftOut {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::LinkType,
        Self::TooLong,
        Self::NoAddress,
        Self::NoPod,
        Self::OtherNodes,
        Self::UnknownPod,
        Self::Map,
    ];

    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinkType => "link_type",
            Self::TooLong => "too_long",
            Self::NoAddress => "no_address",
            Self::NoPod => "no_pod",
            Self::OtherNodes => "other_nodes",
            Self::UnknownPod => "unknown_pod",
            Self::Map => "map",
        }
    }

    /// One sentence for people.
    pub const fn description(self) -> &'static str {
        match self {
            Self::LinkType => "The capture's link type is not Ethernet, raw IP or Linux cooked.",
            Self::TooLong => "Longer than any frame weir takes.",
            Self::NoAddress => "Neither IP nor ARP, or too short to name two addresses.",
            Self::NoPod => "Neither end is a pod: such packets never meet weir.",
            Self::OtherNodes => "From another node's pod, and not for this node.",
            Self::UnknownPod => "From this node's pod subnet, but no pod has the address.",
            Self::Map => "A rule of --map leaves it out.",
        }
    }
}

/// Where a packet enters, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A pod's port, by its endpoint.
    Pod(u32),
    Node,
    /// VXLAN to us, as it is. The UDP header begins at this byte.
    Underlay(usize),
    /// Through the tunnel, but captured outside it.
    Wrapped(VtepId),
    /// VXLAN from us: what is inside has yet to be placed. The UDP header begins at this byte.
    Inside(usize),
    LeftOut(LeftOut),
}

/// Places packets by one state.
pub(super) struct Placer {
    rules: Vec<(MapRule, Option<u32>)>,
    endpoints: HashMap<IpAddr, u32, ahash::RandomState>,
    vxlan_port: u16,
}

impl Placer {
    /// `Err` is a pod that a rule names and the node does not have.
    pub(super) fn new(generation: &Generation, rules: &[MapRule], vxlan_port: u16) -> Result<Self, String> {
        let mut endpoints: HashMap<_, _, ahash::RandomState> = HashMap::default();
        for (number, endpoint) in (0..).zip(&generation.endpoints) {
            for address in &endpoint.addresses {
                endpoints.entry(*address).or_insert(number);
            }
        }
        let rules = rules
            .iter()
            .map(|rule| {
                let pod = match &rule.entry {
                    MapEntry::Pod(name) => {
                        let found = (0..)
                            .zip(&generation.endpoints)
                            .find(|(_, endpoint)| endpoint.name.to_string() == *name);
                        Some(found.map(|(number, _)| number).ok_or_else(|| name.clone())?)
                    }
                    _ => None,
                };
                Ok((rule.clone(), pod))
            })
            .collect::<Result<_, String>>()?;
        Ok(Self { rules, endpoints, vxlan_port })
    }

    pub(super) fn place(
        &self,
        generation: &Generation,
        interface: (usize, &Interface),
        frame: &[u8],
        sketch: Option<&Sketch>,
    ) -> Entry {
        let eth_src = vxlan::wire::ethernet::parse(frame).map(|(eth, _)| eth.src);
        if let Some(entry) = self.by_rule(generation, interface, eth_src, frame, sketch) {
            return entry;
        }
        let Some(sketch) = sketch else { return Entry::LeftOut(LeftOut::NoAddress) };
        if let Some(udp) = sketch.udp_to(frame, self.vxlan_port) {
            if generation.own.is_underlay(sketch.dst) {
                return Entry::Underlay(udp);
            }
            if generation.own.is_underlay(sketch.src) {
                return Entry::Inside(udp);
            }
        }
        self.by_address(generation, sketch)
    }

    /// The same for a packet that was inside a tunnel of our own.
    pub(super) fn by_address(&self, generation: &Generation, sketch: &Sketch) -> Entry {
        if let Some(&endpoint) = self.endpoints.get(&sketch.src) {
            return Entry::Pod(endpoint);
        }
        let destination = generation.party(sketch.dst);
        let to_pod = matches!(
            destination,
            Party::Pod(_) | Party::Vtep(_) | Party::Nobody | Party::Conflict | Party::Unreachable
        );
        match generation.party(sketch.src) {
            Party::Pod(endpoint) => Entry::Pod(endpoint),
            Party::Vtep(id) if matches!(destination, Party::Pod(_) | Party::Node | Party::Conflict) => {
                Entry::Wrapped(id)
            }
            Party::Vtep(_) => Entry::LeftOut(LeftOut::OtherNodes),
            Party::Node | Party::Outside | Party::Unreachable if to_pod => Entry::Node,
            Party::Node | Party::Outside | Party::Unreachable => Entry::LeftOut(LeftOut::NoPod),
            Party::Nobody | Party::Conflict => Entry::LeftOut(LeftOut::UnknownPod),
        }
    }

    fn by_rule(
        &self,
        generation: &Generation,
        (number, interface): (usize, &Interface),
        eth_src: Option<Mac>,
        frame: &[u8],
        sketch: Option<&Sketch>,
    ) -> Option<Entry> {
        let (rule, pod) =
            self.rules.iter().find(|(rule, _)| rule.takes(number, interface, eth_src, sketch))?;
        Some(match (&rule.entry, *pod) {
            (_, Some(pod)) => Entry::Pod(pod),
            (MapEntry::Underlay, _) => {
                let udp = sketch.and_then(|sketch| sketch.udp_to(frame, self.vxlan_port));
                match (udp, sketch.map(|sketch| generation.party(sketch.src))) {
                    (None, Some(Party::Vtep(id))) => Entry::Wrapped(id),
                    (udp, _) => Entry::Underlay(udp.unwrap_or(usize::MAX)),
                }
            }
            (MapEntry::LeaveOut, _) => Entry::LeftOut(LeftOut::Map),
            (MapEntry::Node | MapEntry::Pod(_), _) => Entry::Node,
        })
    }
}

/// The ports of a replay, as reports name them.
#[derive(Debug, Clone)]
pub(super) struct PortNames(Vec<(PortId, String)>);

impl PortNames {
    pub(super) fn new(names: Vec<(PortId, String)>) -> Self {
        Self(names)
    }

    pub(super) fn of(&self, id: PortId) -> &str {
        // Ids are dense in the order ports are attached.
        self.0.get(id.0 as usize).map_or("?", |(_, name)| name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
