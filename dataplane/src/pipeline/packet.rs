//! One packet on its way through the stages: its frame and what the stages have found out so far.
//!
//! Stages work on a slice of packets in place. A stage that ends a packet sets its [`Fate`]; later stages skip
//! it, and the sweep at the end counts it and gives its memory back. So a packet cannot leave without being
//! counted.

use std::net::IpAddr;

use policy_compiler::Verdict;
use vxlan::fdb::VtepId;
use vxlan::mac::Mac;
use vxlan::wire::headers::{IpHeaders, L4};

use super::bindings::PortId;
use super::refusals::Refusal;
use crate::buffer::Frame;
use crate::conntrack::{ConnId, Dir, Signal, Tuple};
use crate::drop_reason::DropReason;
use crate::tables::Party;

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Still on its way.
    Live,
    /// Passed on to a port; the frame has moved there.
    Forwarded,
    /// Answered by weir; the frame, rewritten into the answer, has moved to the port it came from.
    Answered,
    /// Waits in the fragment table; the frame has moved there.
    Held,
    /// Ended here.
    Dropped(DropReason),
}

/// What the first fragment of a datagram says for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstFragment {
    /// The protocol behind all extension headers, of which a later IPv6 fragment knows only the first.
    pub(super) protocol: u8,
    /// The transport header.
    pub(super) l4: L4,
}

/// A packet and what is known of it.
pub(super) struct Packet {
    pub(super) frame: Frame,
    pub(super) from: PortId,
    pub(super) fate: Fate,
    /// Set once it was counted as received: a held fragment comes by twice.
    pub(super) counted: bool,
    /// Set on a later fragment that waited and was set free: what its first said.
    pub(super) first: Option<FirstFragment>,
    /// The VTEP that sent it, on packets from the underlay.
    pub(super) vtep: Option<VtepId>,
    /// Its underlay address.
    pub(super) peer: Option<IpAddr>,
    /// Set when its outer headers up to UDP are off, and what they said stands beside the frame.
    pub(super) stripped: bool,
    pub(super) eth_dst: Mac,
    pub(super) eth_src: Mac,
    /// Set by parse.
    pub(super) ip: Option<IpHeaders>,
    /// The transport header; of a later fragment, that of its first.
    pub(super) l4: L4,
    /// Set by guard.
    pub(super) source: Party,
    pub(super) destination: Party,
    /// Set by track.
    pub(super) tuple: Option<Tuple>,
    pub(super) signal: Signal,
    pub(super) connection: Option<(ConnId, Dir)>,
    /// Set by policy: the connection it opened.
    pub(super) opened: Option<ConnId>,
    /// Set by policy on a packet that is allowed and has no way on: it opened no connection.
    pub(super) stranded: bool,
    /// An ICMP error; `tuple` is then the quoted packet's.
    pub(super) related: bool,
    /// What the classifier said, egress then ingress, where it was asked.
    pub(super) judged: [Option<Verdict>; 2],
    /// Set where the next packet of the flow is going to end in the same way.
    pub(super) refusal: Option<Refusal>,
    /// Where its sighting stands; of a packet that waited elsewhere, nowhere.
    pub(super) sighting: u32,
    /// The frame's tag, which outlives the frame here.
    pub(super) tag: u64,
}

impl Packet {
    pub(super) fn new(mut frame: Frame, from: PortId) -> Self {
        frame.packets = 1;
        Self {
            tag: frame.tag,
            frame,
            from,
            fate: Fate::Live,
            counted: false,
            first: None,
            vtep: None,
            peer: None,
            stripped: false,
            eth_dst: Mac::ZERO,
            eth_src: Mac::ZERO,
            ip: None,
            l4: L4::Other,
            source: Party::Outside,
            destination: Party::Outside,
            tuple: None,
            signal: Signal::Other,
            connection: None,
            opened: None,
            stranded: false,
            related: false,
            judged: [None; 2],
            refusal: None,
            sighting: u32::MAX,
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.fate == Fate::Live
    }

    /// Has this later fragment treated as its first.
    pub(super) fn follow(&mut self, first: FirstFragment) {
        self.l4 = first.l4;
        if let Some(ip) = &mut self.ip {
            ip.protocol = first.protocol;
        }
    }

    pub(super) fn drop(&mut self, reason: DropReason) {
        self.fate = Fate::Dropped(reason);
    }

    /// Ends it for who sends it to whom: so will the next packet of its flow.
    pub(super) fn refuse(&mut self, reason: DropReason) {
        self.refusal = Some(Refusal::Ends(reason));
        self.drop(reason);
    }

    /// Takes the frame out to move it elsewhere.
    pub(super) fn take_frame(&mut self, fate: Fate) -> Frame {
        self.fate = fate;
        std::mem::replace(&mut self.frame, Frame::hollow())
    }
}
