//! Packets for every drop reason that a sender can bring about at will, so that the cost of refusing is known for each.
//!
//! Most take one frame alone, some a node that lacks something, two a table that is full, and there each packet is of a
//! flow of its own. Left out are the reasons that take a longer history (revoked policies, pods that are gone, fragments
//! whose first never comes) and those of ports. A drop has to cost less than a forward, or whoever sends rubbish buys more of the
//! core with it than those who send what is allowed.

mod packets;

use std::net::Ipv4Addr;

use dataplane::buffer::{Frame, Outer};
use dataplane::drop_reason::DropReason;
use vxlan::Mac;

use super::lack::Lack;
use super::node::{CLIENT, FEW_CONNECTIONS, GATEWAY_MAC, Node, PEER, SERVER, SERVER_MAC, Underlay};
use super::traffic::{Datagram, Direction, FIRST_DST_PORT, FIRST_SRC_PORT, Frames, Size, envelope};
use packets::{
    acknowledgment, arp, first_fragment, icmp_error, ipv6_martian, later_fragment, patch, patched,
    routing_header, solicitation, summed, tiny, with_options,
};

/// Frames that all end under one reason.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The reason.
    pub reason: DropReason,
    /// The way they come.
    pub direction: Direction,
    /// Kind of underlay of the node.
    pub underlay: Underlay,
    /// What the node lacks.
    pub lack: Lack,
    bytes: Vec<u8>,
    outer: Option<Outer>,
}

/// Writes one frame after the other.
pub(super) enum Source<'a> {
    /// The same again and again.
    Same(&'a Refused),
    /// Each of a flow of its own.
    Flows(Box<Frames>, std::iter::Cycle<std::ops::Range<u32>>),
}

impl Refused {
    /// Brings the node to where they end so.
    ///
    /// # Errors
    /// It is not to be brought there.
    pub(super) fn prepare(&self, node: &mut Node) -> Result<(), String> {
        match self.reason {
            DropReason::ConntrackFull | DropReason::ConntrackQuota => use_up(node, self.reason),
            // Seen twice, a fragment overlaps itself.
            DropReason::FragmentOverlap => send(node, self.direction, [&self.bytes; 2]),
            DropReason::FragmentTableFull => {
                let pod = datagram(self.direction);
                let firsts: Vec<_> = (1..LAST_DATAGRAM).map(|number| first_fragment(&pod, number)).collect();
                send(node, self.direction, &firsts)
            }
            _ => Ok(()),
        }
    }

    /// How many flows they are of.
    pub fn flows(&self) -> u32 {
        if self.is_of_flows() { NEW_FLOWS.end - NEW_FLOWS.start } else { 1 }
    }

    /// Whether each is of another flow, since of one flow it would be known what became of the last one.
    fn is_of_flows(&self) -> bool {
        matches!(self.lack, Lack::Room | Lack::Share)
    }

    /// The frames.
    pub(super) fn source(&self) -> Source<'_> {
        if self.is_of_flows() {
            let frames = Frames::new(self.direction, self.underlay, Size::Fixed(64));
            Source::Flows(Box::new(frames), NEW_FLOWS.cycle())
        } else {
            Source::Same(self)
        }
    }
}

impl Source<'_> {
    /// Writes the next frame into `frame`.
    pub(super) fn write(&mut self, frame: &mut Frame) {
        match self {
            Self::Same(refused) => {
                frame.write(&refused.bytes);
                frame.outer = refused.outer;
            }
            Self::Flows(frames, flows) => {
                flows.next().into_iter().for_each(|flow| frames.write(frame, flow));
            }
        }
    }
}

/// More datagrams in fragments than one sender may have under way.
const LAST_DATAGRAM: u16 = 1_000;

/// Flows that nobody has opened.
const NEW_FLOWS: std::ops::Range<u32> = 10_000..40_000;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 99);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const FOREIGN_MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
/// Offsets in a frame.
const IP: usize = 14;
const ETHERTYPE: usize = 12;

/// All of them.
pub fn all() -> Vec<Refused> {
    [from_tunnel(), from_frames(), from_pod(), for_want()].concat()
}

/// What `reason` is earned by, on a node that lacks nothing.
fn refused(reason: DropReason, direction: Direction, bytes: Vec<u8>) -> Refused {
    let bytes = envelope(direction, Underlay::Datagram, bytes);
    let outer = (direction == Direction::Decap).then(Node::outer);
    Refused { reason, direction, underlay: Underlay::Datagram, lack: Lack::Nothing, bytes, outer }
}

fn datagram(direction: Direction) -> Datagram {
    Datagram { src_port: 40_000, dst_port: FIRST_DST_PORT, ..Datagram::of(direction) }
}

/// Out of the tunnel, on an underlay of datagrams.
fn from_tunnel() -> Vec<Refused> {
    use DropReason as R;
    let overlay = datagram(Direction::Decap);
    let inner = |reason, inner| refused(reason, Direction::Decap, inner);
    let good = overlay.frame(64);
    let with_outer = |reason, outer| Refused { outer: Some(outer), ..inner(reason, good.clone()) };
    let with_vxlan = |reason, place: usize, value| {
        let refused = inner(reason, good.clone());
        Refused { bytes: patch(refused.bytes, place, &[value]), ..refused }
    };
    vec![
        with_outer(R::VtepUnknown, Outer { peer: [192, 0, 2, 77].into(), ..Node::outer() }),
        with_outer(R::EcnInvalid, Outer { tos: 3, ..Node::outer() }),
        with_vxlan(R::VxlanFlags, 0, 0),
        with_vxlan(R::VniMismatch, 5, 9),
        inner(R::InnerL2, Datagram { src_mac: FOREIGN_MAC, ..overlay }.frame(64)),
        inner(R::InnerSourceMismatch, Datagram { src: OUTSIDE, ..overlay }.frame(64)),
        inner(R::ControlOverOverlay, Datagram { dst_port: 67, ..overlay }.frame(64)),
        inner(R::NestedTunnel, Datagram { dst: GATEWAY, dst_port: 8472, ..overlay }.frame(64)),
        inner(R::NotLocal, Datagram { dst: OUTSIDE, ..overlay }.frame(64)),
        inner(R::IcmpUnrelated, icmp_error(&overlay)),
        inner(R::PolicyDeny, Datagram { dst_port: 7000, ..overlay }.frame(64)),
    ]
}

/// Outer headers that are wrong, on an underlay of frames.
fn from_frames() -> Vec<Refused> {
    let direction = Direction::Decap;
    // What is in a fragment that others follow comes to a multiple of eight bytes.
    let good = envelope(direction, Underlay::Frame, datagram(direction).frame(68));
    let outer = |reason, bytes| Refused {
        underlay: Underlay::Frame,
        outer: None,
        bytes,
        ..refused(reason, direction, Vec::new())
    };
    vec![
        outer(DropReason::OuterInvalid, summed(patch(good.clone(), IP + 16, &[224, 0, 0, 9]))),
        outer(DropReason::OuterChecksum, patch(good.clone(), IP + 10, &[0, 0])),
        outer(DropReason::OuterFragment, summed(patch(good, IP + 6, &[0x20]))),
    ]
}

/// From a pod, to one on another node.
fn from_pod() -> Vec<Refused> {
    use DropReason as R;
    let pod = datagram(Direction::Encap);
    let sent = |reason, bytes| refused(reason, Direction::Encap, bytes);
    vec![
        sent(R::Truncated, pod.frame(64).get(..20).unwrap_or_default().to_vec()),
        sent(R::LengthMismatch, patched(&pod, IP + 2, &[0x7f])),
        sent(R::BadHeader, patched(&pod, IP, &[0x55])),
        sent(R::IpChecksum, patched(&pod, IP + 10, &[0, 0])),
        sent(R::IpOptions, with_options(&pod)),
        sent(R::Ipv6ExtensionChain, routing_header()),
        sent(R::Ipv6Martian, ipv6_martian()),
        sent(R::Martian, Datagram { src: Ipv4Addr::LOCALHOST, ..pod }.frame(64)),
        sent(R::UnsupportedEthertype, patched(&pod, ETHERTYPE, &[0x88, 0xb5])),
        sent(R::SpoofedSource, Datagram { src: SERVER, ..pod }.frame(64)),
        sent(R::ArpSpoof, arp(SERVER, GATEWAY)),
        sent(R::NdSpoof, solicitation(FOREIGN_MAC)),
        sent(R::NeighbourIgnored, arp(CLIENT, NOBODY)),
        sent(R::RogueControl, Datagram { src_port: 67, dst_port: 68, ..pod }.frame(64)),
        sent(R::BumDropped, Datagram { dst: Ipv4Addr::new(224, 0, 0, 9), ..pod }.frame(64)),
        sent(R::PodTunnel, Datagram { dst: PEER, dst_port: 8472, ..pod }.frame(64)),
        sent(R::FragmentTiny, tiny(&pod)),
        sent(R::FragmentOverlap, later_fragment(&pod, LAST_DATAGRAM)),
        sent(R::FragmentTableFull, first_fragment(&pod, LAST_DATAGRAM)),
        sent(R::PolicyDeny, Datagram { dst_port: 7000, ..pod }.frame(64)),
        sent(R::ConntrackInvalid, acknowledgment(&pod)),
        sent(R::TtlExpired, Datagram { ttl: 1, ..pod }.frame(64)),
        sent(R::TooBig, summed(patch(pod.frame(1518), IP + 6, &[0x40]))),
        sent(R::NoRoute, Datagram { dst: NOBODY, ..pod }.frame(64)),
    ]
}

/// Packets without a fault, for which the node lacks something.
fn for_want() -> Vec<Refused> {
    use DropReason as R;
    let want = |reason, lack, direction| Refused {
        lack,
        ..refused(reason, direction, datagram(direction).frame(64))
    };
    let next_hop = want(R::UnderlayUnresolved, Lack::NextHop, Direction::Encap);
    vec![
        want(R::Starting, Lack::Generation, Direction::Encap),
        want(R::PodUnknown, Lack::Pod, Direction::Encap),
        want(R::PolicyPending, Lack::FirstPort, Direction::Encap),
        want(R::VtepUnreachable, Lack::PeerAddress, Direction::Encap),
        Refused { underlay: Underlay::Frame, ..next_hop },
        want(R::PortUnattached, Lack::ServerPort, Direction::Local),
        want(R::NeighbourUnresolved, Lack::ServerMac, Direction::Local),
        want(R::ConntrackFull, Lack::Room, Direction::Local),
        want(R::ConntrackQuota, Lack::Share, Direction::Local),
    ]
}

/// Packets that pass, of a kind that takes the long way: what drops of that kind are to be set against.
#[derive(Debug, Clone)]
pub struct Kin {
    /// What they are.
    pub name: &'static str,
    /// The way they take.
    pub direction: Direction,
    /// What the client has sent to the remote pod before.
    pub(super) opening: Option<Vec<u8>>,
    /// They, in turn.
    pub(super) frames: Vec<Vec<u8>>,
}

/// All of them.
pub fn kin() -> [Kin; 2] {
    let (decap, encap) = (Direction::Decap, Direction::Encap);
    let opening = datagram(encap).frame(64);
    let error = icmp_error(&Datagram { dst: CLIENT, ..datagram(decap) });
    let error = envelope(decap, Underlay::Datagram, error);
    let pod = datagram(encap);
    let whole = |number| [first_fragment(&pod, number), later_fragment(&pod, number)];
    let fragments = (0..32).flat_map(whole).collect();
    [
        Kin { name: "icmp_related", direction: decap, opening: Some(opening), frames: vec![error] },
        Kin { name: "fragments", direction: encap, opening: None, frames: fragments },
    ]
}

/// Passes these frames through, one at a time.
///
/// # Errors
/// There is no room for one.
pub(super) fn send<'a>(
    node: &mut Node,
    direction: Direction,
    frames: impl IntoIterator<Item = &'a Vec<u8>>,
) -> Result<(), String> {
    for bytes in frames {
        node.put(|frame| frame.write(bytes)).then_some(()).ok_or("no frame is left")?;
        node.pass(direction);
        node.take_back();
    }
    Ok(())
}

/// Opens connections of the client's that the server answers until one is refused for `reason`.
///
/// # Errors
/// None was.
fn use_up(node: &mut Node, reason: DropReason) -> Result<(), String> {
    let mut frames = Frames::new(Direction::Local, Underlay::Datagram, Size::Fixed(64));
    for flow in 0..4 * FEW_CONNECTIONS as u32 {
        node.put(|frame| frames.write(frame, flow));
        node.pass(Direction::Local);
        node.take_back();
        if node.counters.dropped(reason) > 0 {
            return Ok(());
        }
        let (src_mac, dst_mac, dst, src) = (SERVER_MAC, GATEWAY_MAC, CLIENT, SERVER);
        let (src_port, dst_port) = (FIRST_DST_PORT, FIRST_SRC_PORT + flow as u16);
        let answer =
            Datagram { dst_mac, src_mac, src, dst, src_port, dst_port, ..Datagram::of(Direction::Local) };
        node.put(|frame| frame.write(&answer.frame(64)));
        node.answer();
        node.take_back();
    }
    Err(format!("connections were never refused for {reason}: {}", node.drops()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::{Shape, refused};

    #[test]
    fn each_ends_under_its_reason_and_no_other() {
        let shape = Shape::new(2, 1, Underlay::Datagram);
        let fails = |packets: &Refused| refused(&shape, packets, Duration::from_micros(100)).err();
        let failed: Vec<String> = all().iter().filter_map(fails).collect();
        assert_eq!(failed, Vec::<String>::new());
    }
}
