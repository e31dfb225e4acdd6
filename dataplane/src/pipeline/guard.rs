//! Guard: who is speaking, to whom, and may they say so.
//!
//! On entry a packet is parsed. On exit `source` and `destination` are known [`Party`]s; or it was ARP or
//! neighbour discovery and was answered (`neighbour`); or it is dropped. What each kind of port is believed:
//!
//! - a **pod**: only its own MAC and addresses, unicast, to the gateway or to another pod's MAC;
//! - the **node**: its own addresses and those of the world outside, never one of a pod;
//! - the **underlay**: only inner sources in the pod subnets of the node whose VTEP sent it, and only to pods of
//!   this node (or back to the node on a connection it opened: `policy`). Nothing from the overlay is ever
//!   sent on: not to another node, not outside.

use std::net::IpAddr;

use policy_compiler::PodName;
use vxlan::wire::headers::L4;

use super::bindings::Role;
use super::emit::Outputs;
use super::packet::Packet;
use super::{Pipeline, parse};
use crate::drop_reason::DropReason;
use crate::respond;
use crate::tables::{Generation, Party};
use crate::time::Timestamp;

impl Pipeline {
    pub(super) fn guard(
        &mut self,
        generation: &Generation,
        packets: &mut [Packet],
        now: Timestamp,
        out: &mut Outputs,
    ) {
        let Some(role) = packets
            .first()
            .and_then(|packet| self.bindings.get(packet.from))
            .map(|binding| binding.role.clone())
        else {
            for packet in packets {
                packet.drop(DropReason::PodUnknown);
            }
            return;
        };
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            let outcome = match &role {
                Role::Pod(name) => self.guard_pod(generation, name, packet, now, out),
                Role::Node => self.guard_node(generation, packet, now, out),
                Role::UnderlayDatagram | Role::UnderlayFrame => guard_overlay(generation, packet),
            };
            if let Err(reason) = outcome {
                packet.refuse(reason);
            }
        }
    }

    fn guard_pod(
        &mut self,
        generation: &Generation,
        name: &PodName,
        packet: &mut Packet,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let binding = self.bindings.get(packet.from).ok_or(DropReason::PodUnknown)?;
        let bound_mac = binding.mac;
        let Some(index) = binding.endpoint else {
            return Err(if generation.endpoint_named(name).is_some() {
                DropReason::PolicyPending
            } else {
                DropReason::PodUnknown
            });
        };
        let endpoint = generation.endpoint(index).ok_or(DropReason::PodUnknown)?;
        if generation.is_cut_off(index) {
            return Err(DropReason::IpConflict);
        }
        if !packet.eth_src.is_unicast() || bound_mac.is_some_and(|mac| mac != packet.eth_src) {
            return Err(spoof_kind(packet));
        }
        let Some(ip) = packet.ip else {
            return self.answer_arp(generation, Some(endpoint), packet, now, out);
        };
        if respond::is_rogue_control(&ip, packet.frame.bytes()) {
            return Err(DropReason::RogueControl);
        }
        if respond::is_ndp(&ip) {
            return self.answer_ndp(generation, Some(endpoint), &ip, packet, now, out);
        }
        if !packet.eth_dst.is_unicast() || is_group(ip.dst) {
            return Err(DropReason::BumDropped);
        }
        if !endpoint.addresses.contains(&ip.src) {
            return Err(match generation.party(ip.src) {
                Party::Conflict => DropReason::IpConflict,
                _ => DropReason::SpoofedSource,
            });
        }
        if bound_mac.is_none() {
            // The first packet with the pod's address tells the MAC of a wire whose kernel would not.
            if let Some(binding) = self.bindings.get_mut(packet.from) {
                binding.mac = Some(packet.eth_src);
                self.cache.forget();
            }
        }
        packet.source = Party::Pod(index);
        packet.destination = generation.party(ip.dst);
        if !self.is_next_hop(generation, packet) {
            return Err(DropReason::BumDropped);
        }
        match packet.destination {
            Party::Nobody => Err(DropReason::NoRoute),
            Party::Unreachable => Err(DropReason::VtepUnreachable),
            Party::Conflict => Err(DropReason::IpConflict),
            _ if is_link_local(ip.dst) => Err(DropReason::Martian),
            Party::Pod(_) | Party::Node | Party::Vtep(_) | Party::Outside => Ok(()),
        }
    }

    fn guard_node(
        &mut self,
        generation: &Generation,
        packet: &mut Packet,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let Some(ip) = packet.ip else {
            return self.answer_arp(generation, None, packet, now, out);
        };
        if respond::is_ndp(&ip) {
            return self.answer_ndp(generation, None, &ip, packet, now, out);
        }
        if !packet.eth_dst.is_unicast() || is_group(ip.dst) {
            return Err(DropReason::BumDropped);
        }
        packet.source = match generation.party(ip.src) {
            party @ (Party::Node | Party::Outside) => party,
            Party::Pod(_) | Party::Vtep(_) | Party::Unreachable | Party::Nobody | Party::Conflict => {
                return Err(DropReason::SpoofedSource);
            }
        };
        if is_link_local(ip.src) || is_link_local(ip.dst) {
            return Err(DropReason::Martian);
        }
        packet.destination = generation.party(ip.dst);
        match packet.destination {
            Party::Pod(_) | Party::Vtep(_) => Ok(()),
            Party::Nobody => Err(DropReason::NoRoute),
            Party::Unreachable => Err(DropReason::VtepUnreachable),
            Party::Conflict => Err(DropReason::IpConflict),
            Party::Node | Party::Outside => Err(DropReason::NotLocal),
        }
    }

    /// A unicast frame is for the gateway, or for the MAC of the pod its packet is for; anything else is
    /// unknown unicast.
    fn is_next_hop(&self, generation: &Generation, packet: &Packet) -> bool {
        packet.eth_dst == generation.own.gateway_mac
            || matches!(packet.destination, Party::Pod(index)
                if self.bindings.of_endpoint(index).and_then(|binding| binding.mac) == Some(packet.eth_dst))
    }

    /// A pod's VXLAN must reach no node (felix #2063): it would be taken for a node's own. Runs once the ports
    /// of later fragments are known.
    pub(super) fn check_tunnels(&self, generation: &Generation, packets: &mut [Packet]) {
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            let Some(ip) = packet.ip else { continue };
            if parse::udp_destination(packet.l4) != Some(self.settings.vxlan_port) {
                continue;
            }
            match packet.source {
                Party::Pod(_) if generation.is_node_address(ip.dst) => packet.refuse(DropReason::PodTunnel),
                Party::Vtep(_) if generation.is_node_address(ip.dst) => {
                    packet.refuse(DropReason::NestedTunnel);
                }
                _ => {}
            }
        }
    }
}

/// Names a foreign MAC by what it was used for.
fn spoof_kind(packet: &Packet) -> DropReason {
    match packet.ip {
        None => DropReason::ArpSpoof,
        Some(ip) if respond::is_ndp(&ip) => DropReason::NdSpoof,
        Some(_) => DropReason::SpoofedSource,
    }
}

fn guard_overlay(generation: &Generation, packet: &mut Packet) -> Result<(), DropReason> {
    let ip = packet.ip.ok_or(DropReason::ControlOverOverlay)?;
    if respond::is_ndp(&ip) || dhcp(packet.l4) || respond::is_rogue_control(&ip, packet.frame.bytes()) {
        return Err(DropReason::ControlOverOverlay);
    }
    if is_group(ip.dst) {
        return Err(DropReason::InnerL2);
    }
    let id = packet.vtep.ok_or(DropReason::VtepUnknown)?;
    let vtep = generation.fdb.get(id).ok_or(DropReason::VtepUnknown)?;
    // The node's own addresses and pods are asked for first: a subnet that overlaps ours must not help.
    if !vtep.owns(ip.src) || generation.party(ip.src) != Party::Vtep(id) {
        return Err(DropReason::InnerSourceMismatch);
    }
    packet.source = Party::Vtep(id);
    packet.destination = generation.party(ip.dst);
    match packet.destination {
        // `policy` lets the node through only on connections it opened itself.
        Party::Pod(_) | Party::Node => Ok(()),
        Party::Conflict => Err(DropReason::IpConflict),
        Party::Vtep(_) | Party::Outside | Party::Unreachable | Party::Nobody => Err(DropReason::NotLocal),
    }
}

/// DHCP for IPv4 (67, 68) and IPv6 (546, 547), either side.
fn dhcp(l4: L4) -> bool {
    matches!(l4, L4::Udp { dst_port: 67 | 68 | 546 | 547, .. })
}

fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    }
}

/// IPv6 link-local addresses are never routed (RFC 4291 section 2.5.6). IPv4's are left to the node, which
/// clouds use for their metadata service; policy decides who reaches it.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
