//! A frame for every drop reason that one frame alone can earn, so that the cost of refusing is known for each.
//!
//! Left out are the reasons that take a history (full tables, revoked policies, fragments that never come) and
//! those of ports. A drop has to cost less than a forward, or whoever sends rubbish buys more of the core with it
//! than those who send what is allowed.

use std::net::Ipv4Addr;

use dataplane::buffer::{Frame, Outer};
use dataplane::drop_reason::DropReason;
use vxlan::Mac;
use vxlan::wire::checksum;

use super::node::{Node, PEER, SERVER, Underlay};
use super::traffic::{Datagram, Direction, FIRST_DST_PORT, envelope};

/// Frames that all end under one reason.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The reason.
    pub reason: DropReason,
    /// The way they come.
    pub direction: Direction,
    bytes: Vec<u8>,
    outer: Option<Outer>,
}

impl Refused {
    /// Writes the frame into `frame`.
    pub fn write(&self, frame: &mut Frame) {
        frame.write(&self.bytes);
        frame.outer = self.outer;
    }
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 99);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const FOREIGN_MAC: Mac = Mac([2, 0, 0, 0, 9, 9]);
/// Offsets in a frame.
const IP: usize = 14;
const ETHERTYPE: usize = 12;

/// All of them, on a datagram underlay.
pub fn all() -> Vec<Refused> {
    use DropReason as R;
    let pod = Datagram { src_port: 40_000, dst_port: FIRST_DST_PORT, ..Datagram::of(Direction::Encap) };
    let overlay = Datagram { src_port: 40_000, dst_port: FIRST_DST_PORT, ..Datagram::of(Direction::Decap) };
    let from_pod = |reason, bytes| Refused { reason, direction: Direction::Encap, bytes, outer: None };
    let from_overlay = |reason, inner| Refused {
        reason,
        direction: Direction::Decap,
        bytes: envelope(Direction::Decap, Underlay::Datagram, inner),
        outer: Some(Node::outer()),
    };
    let good = overlay.frame(64);
    let with_outer = |reason, outer| Refused { outer: Some(outer), ..from_overlay(reason, good.clone()) };
    let with_vxlan = |reason, place: usize, value| {
        let mut refused = from_overlay(reason, good.clone());
        refused.bytes.get_mut(place).into_iter().for_each(|byte| *byte = value);
        refused
    };
    vec![
        with_outer(R::VtepUnknown, Outer { peer: [192, 0, 2, 77].into(), ..Node::outer() }),
        with_outer(R::EcnInvalid, Outer { tos: 3, ..Node::outer() }),
        with_vxlan(R::VxlanFlags, 0, 0),
        with_vxlan(R::VniMismatch, 5, 9),
        from_overlay(R::InnerL2, Datagram { src_mac: FOREIGN_MAC, ..overlay }.frame(64)),
        from_overlay(R::InnerSourceMismatch, Datagram { src: OUTSIDE, ..overlay }.frame(64)),
        from_overlay(R::ControlOverOverlay, Datagram { dst_port: 67, ..overlay }.frame(64)),
        from_overlay(R::NestedTunnel, Datagram { dst: GATEWAY, dst_port: 8472, ..overlay }.frame(64)),
        from_overlay(R::NotLocal, Datagram { dst: OUTSIDE, ..overlay }.frame(64)),
        from_pod(R::Truncated, pod.frame(64).get(..20).unwrap_or_default().to_vec()),
        from_pod(R::LengthMismatch, patched(&pod, IP + 2, &[0x7f])),
        from_pod(R::BadHeader, patched(&pod, IP, &[0x55])),
        from_pod(R::IpChecksum, patched(&pod, IP + 10, &[0, 0])),
        from_pod(R::Martian, Datagram { src: Ipv4Addr::LOCALHOST, ..pod }.frame(64)),
        from_pod(R::UnsupportedEthertype, patched(&pod, ETHERTYPE, &[0x88, 0xb5])),
        from_pod(R::SpoofedSource, Datagram { src: SERVER, ..pod }.frame(64)),
        from_pod(R::BumDropped, Datagram { dst: Ipv4Addr::new(224, 0, 0, 9), ..pod }.frame(64)),
        from_pod(R::PodTunnel, Datagram { dst: PEER, dst_port: 8472, ..pod }.frame(64)),
        from_pod(R::FragmentTiny, tiny(&pod)),
        from_pod(R::PolicyDeny, Datagram { dst_port: 7000, ..pod }.frame(64)),
        from_overlay(R::PolicyDeny, Datagram { dst_port: 7000, ..overlay }.frame(64)),
        from_pod(R::ConntrackInvalid, acknowledgment(&pod)),
        from_pod(R::TtlExpired, Datagram { ttl: 1, ..pod }.frame(64)),
        from_pod(R::TooBig, summed(patch(pod.frame(1518), IP + 6, &[0x40]))),
        from_pod(R::NoRoute, Datagram { dst: NOBODY, ..pod }.frame(64)),
    ]
}

fn patched(datagram: &Datagram, place: usize, bytes: &[u8]) -> Vec<u8> {
    patch(datagram.frame(64), place, bytes)
}

fn patch(mut frame: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    let to = frame.get_mut(place..place.saturating_add(bytes.len()));
    if let Some(to) = to {
        to.copy_from_slice(bytes);
    }
    frame
}

/// With a right IP header checksum.
fn summed(frame: Vec<u8>) -> Vec<u8> {
    let frame = patch(frame, IP + 10, &[0, 0]);
    let sum = frame.get(IP..IP + 20).map(checksum::ipv4_header).unwrap_or_default();
    patch(frame, IP + 10, &sum.to_be_bytes())
}

/// A later fragment that would write over the TCP header of its first.
fn tiny(datagram: &Datagram) -> Vec<u8> {
    summed(patch(patched(datagram, IP + 6, &[0, 1]), IP + 9, &[6]))
}

/// A TCP segment in the middle of a connection that nobody knows.
fn acknowledgment(datagram: &Datagram) -> Vec<u8> {
    let frame = summed(patched(datagram, IP + 9, &[6]));
    patch(frame, IP + 20 + 12, &[0x50, 0x10])
}
