//! Neighbours: weir answers ARP and neighbour discovery itself and forwards neither (RFC 826, RFC 4861).
//!
//! A pod hears the gateway's MAC for the gateway and for the other pods of its subnet: all its traffic comes to
//! weir and is judged by address. The node hears weir's VTEP MAC for every pod, near or far. A pod whose
//! MAC the kernel would not tell is asked for it.

use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::wire::headers::IpHeaders;

use super::Pipeline;
use super::bindings::Role;
use super::emit::Outputs;
use super::packet::{Fate, Packet};
use crate::buffer::{Frame, Pool};
use crate::drop_reason::DropReason;
use crate::respond::{self, ArpOutcome, NdpOutcome};
use crate::tables::{Endpoint, Generation, Party};
use crate::time::Timestamp;

/// The MAC that `asker` is to use for `target`.
#[inline]
fn next_hop(generation: &Generation, asker: Option<&Endpoint>, target: IpAddr) -> Option<Mac> {
    match asker {
        Some(pod) => {
            let known =
                generation.own.is_gateway(target) || matches!(generation.party(target), Party::Pod(_));
            (known && !pod.addresses.contains(&target)).then_some(generation.own.gateway_mac)
        }
        None => matches!(generation.party(target), Party::Pod(_) | Party::Vtep(_))
            .then_some(generation.own.vtep_mac),
    }
}

impl Pipeline {
    /// Answers an ARP frame of `asker` (the node where `None`).
    pub(super) fn answer_arp(
        &mut self,
        generation: &Generation,
        asker: Option<&Endpoint>,
        packet: &mut Packet,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let sender_mac = self.bindings.get(packet.from).and_then(|binding| binding.mac);
        let outcome = respond::arp(
            &mut packet.frame,
            sender_mac,
            |address| owns(generation, asker, address.into()),
            |target| next_hop(generation, asker, target.into()),
        );
        match outcome {
            ArpOutcome::Reply => self.send_answer(packet, now, out),
            ArpOutcome::Learned(_, mac) => {
                self.learn(asker, packet, mac);
                Ok(())
            }
            ArpOutcome::Drop(reason) => Err(reason),
        }
    }

    /// Answers a neighbour discovery packet of `asker` (the node where `None`).
    pub(super) fn answer_ndp(
        &mut self,
        generation: &Generation,
        asker: Option<&Endpoint>,
        ip: &IpHeaders,
        packet: &mut Packet,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let sender_mac = self.bindings.get(packet.from).and_then(|binding| binding.mac);
        let outcome = respond::ndp(
            &mut packet.frame,
            ip,
            sender_mac,
            |address| owns(generation, asker, address.into()),
            |target| next_hop(generation, asker, target.into()),
            |target| generation.own.is_gateway(target.into()),
        );
        match outcome {
            NdpOutcome::Reply => self.send_answer(packet, now, out),
            NdpOutcome::Learned(_, mac) => {
                self.learn(asker, packet, mac);
                Ok(())
            }
            NdpOutcome::Drop(reason) => Err(reason),
        }
    }

    fn send_answer(
        &mut self,
        packet: &mut Packet,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        if !self.answer_limit.allow(now) {
            return Err(DropReason::NeighbourIgnored);
        }
        let mut frame = packet.take_frame(Fate::Answered);
        frame.packets = 0;
        out.push(packet.from, frame);
        Ok(())
    }

    /// An answer to our own question.
    fn learn(&mut self, asker: Option<&Endpoint>, packet: &mut Packet, mac: Mac) {
        let binding = self.bindings.get_mut(packet.from).filter(|_| asker.is_some());
        if let Some(binding) = binding.filter(|binding| binding.mac.is_none() && mac.is_unicast()) {
            binding.mac = Some(mac);
            self.cache.forget();
        }
        packet.fate = Fate::Answered;
    }

    /// Asks for the MAC of every attached pod that has none yet.
    pub(super) fn resolve_neighbours(&mut self, pool: &mut Pool, out: &mut Outputs) {
        let Some(generation) = &self.generation else { return };
        for binding in self.bindings.iter() {
            if binding.mac.is_some() || !matches!(binding.role, Role::Pod(_)) {
                continue;
            }
            let endpoint = binding.endpoint.and_then(|index| generation.endpoint(index));
            let Some(&address) = endpoint.and_then(|endpoint| endpoint.addresses.first()) else { continue };
            let Some(mut frame) = pool.take() else { return };
            let own = &generation.own;
            let asked = match (address, own.gateway_v4, own.gateway_v6) {
                (IpAddr::V4(target), Some(gateway), _) => {
                    respond::arp_request(&mut frame, own.gateway_mac, gateway, target);
                    true
                }
                (IpAddr::V6(target), _, Some(gateway)) => {
                    respond::ns_request(&mut frame, own.gateway_mac, gateway, target);
                    true
                }
                _ => false,
            };
            if asked {
                out.push(binding.id, frame);
            } else {
                pool.give(frame);
            }
        }
    }
}

/// Why a message of `asker` about neighbours (ARP where `ip` is `None`) gets no answer and teaches nothing, if so.
pub(super) fn neighbour_refusal(
    generation: &Generation,
    asker: Option<&Endpoint>,
    sender_mac: Option<Mac>,
    ip: Option<&IpHeaders>,
    frame: &Frame,
) -> Option<DropReason> {
    let own = |address| owns(generation, asker, address);
    let target = |target| next_hop(generation, asker, target);
    match ip {
        None => respond::arp_refusal(
            frame.bytes(),
            sender_mac,
            |address| own(address.into()),
            |address| target(address.into()),
        ),
        Some(ip) => respond::ndp_refusal(
            frame,
            ip,
            sender_mac,
            |address| own(address.into()),
            |address| target(address.into()),
        ),
    }
}

/// A pod may speak for its own addresses; the node for anything that is not a pod's.
fn owns(generation: &Generation, asker: Option<&Endpoint>, address: IpAddr) -> bool {
    match asker {
        Some(endpoint) => endpoint.addresses.contains(&address),
        None => matches!(generation.party(address), Party::Node | Party::Outside),
    }
}
