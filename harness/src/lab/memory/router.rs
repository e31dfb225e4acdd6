//! What stands behind the two node TAPs: the nodes' own hosts, and a router to the outside network.
//!
//! ```text
//!   weir, node-a ── TAP ──┬── host of node-a            198.51.100.1 and .2
//!                         └──┐                     ┌── outside
//!                          router (counts TTL down) ┤
//!                         ┌──┘                     └── outside-blocked
//!   weir, node-b ── TAP ──┴── host of node-b
//! ```
//! It does for the outside hosts what two Linux nodes with forwarding on would do: answers their ARP and neighbour
//! discovery for the nodes' outside addresses, sends each packet for a pod to the TAP of that pod's node. Nothing
//! is translated, so that `ipBlock` meets real addresses.

use std::io;
use std::net::IpAddr;

use dataplane::buffer::Frame;
use dataplane::respond::{self, ArpOutcome, NdpOutcome};
use vxlan::mac::Mac;
use vxlan::wire::headers::{self, IpHeaders, Network};
use vxlan::wire::{Ttl, ethernet, ipv4, ipv6};

use super::wire::Wire;
use crate::lab::plan::{Family, OUTSIDE, Side};

/// The router's MAC on the outside network.
const MAC: Mac = Mac([0x02, 0x57, 0, 0, 0x51, 1]);

/// MAC of an outside host.
pub(super) fn outside_mac(host: u8) -> Mac {
    Mac([0x02, 0x57, 0, 0, 0x51, host])
}

/// The router and its wires.
pub(super) struct Router {
    /// To weir, in the order of [`Side::ALL`].
    pub(super) taps: [Wire; 2],
    /// To the nodes' own hosts.
    pub(super) nodes: [Wire; 2],
    /// To the outside hosts, in the order of [`OUTSIDE`].
    pub(super) outside: [Wire; 2],
    /// The nodes' MACs on their TAPs.
    pub(super) gateway_macs: [Mac; 2],
}

impl Router {
    /// Moves every frame that has come one hop on. Returns how many came.
    pub(super) fn round(&mut self) -> io::Result<usize> {
        let mut moved = 0;
        for wire in self.taps.iter_mut().chain(&mut self.nodes).chain(&mut self.outside) {
            moved += wire.receive()?;
        }
        for side in Side::ALL {
            let index = side as usize;
            while let Some(frame) = self.nodes.get_mut(index).and_then(Wire::next) {
                send(&mut self.taps, index, frame);
            }
            while let Some(frame) = self.taps.get_mut(index).and_then(Wire::next) {
                self.deliver(index, frame);
            }
        }
        for index in 0..self.outside.len() {
            while let Some(frame) = self.outside.get_mut(index).and_then(Wire::next) {
                self.admit(index, frame);
            }
        }
        for wire in self.taps.iter_mut().chain(&mut self.nodes).chain(&mut self.outside) {
            wire.flush()?;
        }
        Ok(moved)
    }

    /// A packet for an outside host goes there; anything else is the node's own.
    fn deliver(&mut self, node: usize, mut frame: Vec<u8>) {
        let to = destination(&frame).and_then(|address| {
            let has = |family| OUTSIDE.iter().position(|plan| plan.address(family) == address);
            Family::ALL.into_iter().find_map(has)
        });
        match to.and_then(|index| Some((index, OUTSIDE.get(index)?))) {
            None => send(&mut self.nodes, node, frame),
            Some((index, plan)) => {
                if route(&mut frame, outside_mac(plan.host), MAC) {
                    send(&mut self.outside, index, frame);
                }
            }
        }
    }

    /// A question about the router is answered; a packet for a pod goes to its node's weir.
    fn admit(&mut self, index: usize, mut frame: Vec<u8>) {
        let to = destination(&frame).and_then(|address| {
            Side::ALL.into_iter().find(|side| side.pod_cidrs().iter().any(|cidr| cidr.contains(&address)))
        });
        match to {
            None => {
                if let Some(answer) = answer(&frame) {
                    send(&mut self.outside, index, answer);
                }
            }
            Some(side) => {
                let src = self.gateway_macs.get(side as usize).copied().unwrap_or(MAC);
                if route(&mut frame, Mac(side.vtep_mac()), src) {
                    send(&mut self.taps, side as usize, frame);
                }
            }
        }
    }
}

fn send(wires: &mut [Wire], index: usize, frame: Vec<u8>) {
    if let Some(wire) = wires.get_mut(index) {
        wire.send(frame);
    }
}

fn ip(frame: &[u8]) -> Option<IpHeaders> {
    match headers::parse(frame, false).ok()?.net {
        Network::Ip(ip) => Some(ip),
        Network::Arp => None,
    }
}

fn destination(frame: &[u8]) -> Option<IpAddr> {
    ip(frame).map(|ip| ip.dst)
}

/// Does what a router does to a packet; `false` where its time is up.
fn route(frame: &mut [u8], dst: Mac, src: Mac) -> bool {
    let Some((eth, _)) = ethernet::parse(frame) else { return false };
    let packet = frame.get_mut(ethernet::HEADER_BYTES..).unwrap_or_default();
    let ttl = if eth.ethertype == ethernet::IPV6 {
        ipv6::decrement_ttl(packet)
    } else {
        ipv4::decrement_ttl(packet)
    };
    ttl != Ttl::Expired && ethernet::set_macs(frame, dst, src)
}

/// The answer to a question for one of the router's addresses.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let own = |address: IpAddr| {
        let is_own =
            |side: Side| address == IpAddr::V4(side.outside_v4()) || address == IpAddr::V6(side.outside_v6());
        Side::ALL.into_iter().any(is_own).then_some(MAC)
    };
    let mut frame = Frame::from_bytes(question);
    let answered = match headers::parse(question, false).ok()?.net {
        Network::Arp => {
            respond::arp(&mut frame, None, |_| true, |target| own(target.into())) == ArpOutcome::Reply
        }
        Network::Ip(ip) => {
            respond::is_ndp(&ip)
                && respond::ndp(&mut frame, &ip, None, |_| true, |target| own(target.into()), |_| true)
                    == NdpOutcome::Reply
        }
    };
    answered.then(|| frame.bytes().to_vec())
}
