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

use vxlan::fdb::VtepId;
use vxlan::mac::Mac;
use vxlan::wire::headers::{IpHeaders, L4};

use super::bindings::{Binding, Role};
use super::emit::Outputs;
use super::packet::Packet;
use super::{Pipeline, parse};
use crate::drop_reason::DropReason;
use crate::respond;
use crate::tables::{Endpoint, Generation, Party};
use crate::time::Timestamp;

/// What guard looks at.
pub(super) struct Seen<'a> {
    pub(super) eth_dst: &'a Mac,
    pub(super) eth_src: &'a Mac,
    /// `None` for ARP.
    pub(super) ip: Option<&'a IpHeaders>,
    /// The transport header; of a later fragment, that of its first where it is known.
    pub(super) l4: &'a L4,
    /// The frame, an IP packet's without padding.
    pub(super) bytes: &'a [u8],
    /// The VTEP that sent it, on packets from the underlay.
    pub(super) vtep: Option<VtepId>,
}

/// Who is speaking.
pub(super) enum Speaker<'a> {
    /// A neighbour, of neighbours: this pod, or the node where `None`. Its message is still to be judged.
    Neighbour(Option<&'a Endpoint>),
    /// The source of a packet.
    Source(Party),
}

impl Pipeline {
    pub(super) fn guard(
        &mut self,
        generation: &Generation,
        packets: &mut [Packet],
        now: Timestamp,
        out: &mut Outputs,
    ) {
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            if let Err(reason) = self.guard_one(generation, packet, now, out) {
                packet.refuse(reason);
            }
        }
    }

    fn guard_one(
        &mut self,
        generation: &Generation,
        packet: &mut Packet,
        now: Timestamp,
        out: &mut Outputs,
    ) -> Result<(), DropReason> {
        let binding = self.bindings.get(packet.from).ok_or(DropReason::PodUnknown)?;
        let nameless = binding.mac.is_none();
        let seen = Seen {
            eth_dst: &packet.eth_dst,
            eth_src: &packet.eth_src,
            ip: packet.ip.as_ref(),
            l4: &packet.l4,
            bytes: packet.frame.bytes(),
            vtep: packet.vtep,
        };
        let source = match speaker(generation, binding, &seen)? {
            Speaker::Source(source) => source,
            Speaker::Neighbour(asker) => {
                return match packet.ip {
                    None => self.answer_arp(generation, asker, packet, now, out),
                    Some(ip) => self.answer_ndp(generation, asker, &ip, packet, now, out),
                };
            }
        };
        if nameless && matches!(source, Party::Pod(_)) {
            // The first packet with the pod's address tells the MAC of a wire whose kernel would not.
            if let Some(binding) = self.bindings.get_mut(packet.from) {
                binding.mac = Some(*seen.eth_src);
                self.cache.forget();
            }
        }
        let destination = self.destination(generation, source, &seen)?;
        packet.source = source;
        packet.destination = destination;
        Ok(())
    }

    /// Whom a packet of `source` is for.
    ///
    /// # Errors
    /// Nobody whom `source` may reach from where it speaks: the reason to drop it.
    pub(super) fn destination(
        &self,
        generation: &Generation,
        source: Party,
        seen: &Seen<'_>,
    ) -> Result<Party, DropReason> {
        let ip = seen.ip.ok_or(DropReason::BadHeader)?;
        match source {
            Party::Pod(_) => {
                let destination = generation.party(ip.dst);
                if !self.is_next_hop(generation, destination, *seen.eth_dst) {
                    return Err(DropReason::BumDropped);
                }
                match destination {
                    Party::Nobody => Err(DropReason::NoRoute),
                    Party::Unreachable => Err(DropReason::VtepUnreachable),
                    Party::Conflict => Err(DropReason::IpConflict),
                    _ if is_link_local(ip.dst) => Err(DropReason::Martian),
                    Party::Pod(_) | Party::Node | Party::Vtep(_) | Party::Outside => Ok(destination),
                }
            }
            Party::Node | Party::Outside if is_link_local(ip.src) || is_link_local(ip.dst) => {
                Err(DropReason::Martian)
            }
            Party::Node | Party::Outside => match generation.party(ip.dst) {
                destination @ (Party::Pod(_) | Party::Vtep(_)) => Ok(destination),
                Party::Nobody => Err(DropReason::NoRoute),
                Party::Unreachable => Err(DropReason::VtepUnreachable),
                Party::Conflict => Err(DropReason::IpConflict),
                Party::Node | Party::Outside => Err(DropReason::NotLocal),
            },
            Party::Vtep(_) => match generation.party(ip.dst) {
                // `policy` lets the node through only on connections it opened itself.
                destination @ (Party::Pod(_) | Party::Node) => Ok(destination),
                Party::Conflict => Err(DropReason::IpConflict),
                Party::Vtep(_) | Party::Outside | Party::Unreachable | Party::Nobody => {
                    Err(DropReason::NotLocal)
                }
            },
            // They do not speak.
            Party::Unreachable | Party::Nobody | Party::Conflict => Err(DropReason::SpoofedSource),
        }
    }

    /// A unicast frame is for the gateway, or for the MAC of the pod its packet is for; anything else is
    /// unknown unicast.
    fn is_next_hop(&self, generation: &Generation, destination: Party, mac: Mac) -> bool {
        mac == generation.own.gateway_mac
            || matches!(destination, Party::Pod(index)
                if self.bindings.of_endpoint(index).and_then(|binding| binding.mac) == Some(mac))
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

/// Who speaks at a port.
///
/// # Errors
/// Nobody who may: the reason to drop what was said. Of a port whose MAC is known it is the same for as long as the
/// generation and the ports are.
pub(super) fn speaker<'a>(
    generation: &'a Generation,
    binding: &Binding,
    seen: &Seen<'_>,
) -> Result<Speaker<'a>, DropReason> {
    match &binding.role {
        Role::Pod(_) => pod(generation, binding, seen),
        Role::Node => node(generation, seen),
        Role::UnderlayDatagram | Role::UnderlayFrame => overlay(generation, seen),
    }
}

fn pod<'a>(
    generation: &'a Generation,
    binding: &Binding,
    seen: &Seen<'_>,
) -> Result<Speaker<'a>, DropReason> {
    let Some(index) = binding.endpoint else {
        let Role::Pod(name) = &binding.role else { return Err(DropReason::PodUnknown) };
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
    if !seen.eth_src.is_unicast() || binding.mac.as_ref().is_some_and(|mac| mac != seen.eth_src) {
        return Err(spoof_kind(seen.ip));
    }
    let Some(ip) = seen.ip else { return Ok(Speaker::Neighbour(Some(endpoint))) };
    if respond::is_rogue_control(ip, seen.bytes) {
        return Err(DropReason::RogueControl);
    }
    if respond::is_ndp(ip) {
        return Ok(Speaker::Neighbour(Some(endpoint)));
    }
    if !seen.eth_dst.is_unicast() || is_group(ip.dst) {
        return Err(DropReason::BumDropped);
    }
    if !endpoint.addresses.contains(&ip.src) {
        return Err(match generation.party(ip.src) {
            Party::Conflict => DropReason::IpConflict,
            _ => DropReason::SpoofedSource,
        });
    }
    Ok(Speaker::Source(Party::Pod(index)))
}

fn node<'a>(generation: &Generation, seen: &Seen<'_>) -> Result<Speaker<'a>, DropReason> {
    let Some(ip) = seen.ip.filter(|ip| !respond::is_ndp(ip)) else { return Ok(Speaker::Neighbour(None)) };
    if !seen.eth_dst.is_unicast() || is_group(ip.dst) {
        return Err(DropReason::BumDropped);
    }
    match generation.party(ip.src) {
        source @ (Party::Node | Party::Outside) => Ok(Speaker::Source(source)),
        Party::Pod(_) | Party::Vtep(_) | Party::Unreachable | Party::Nobody | Party::Conflict => {
            Err(DropReason::SpoofedSource)
        }
    }
}

fn overlay<'a>(generation: &Generation, seen: &Seen<'_>) -> Result<Speaker<'a>, DropReason> {
    let ip = seen.ip.ok_or(DropReason::ControlOverOverlay)?;
    if respond::is_ndp(ip)
        || parse::udp_destination(*seen.l4).is_some_and(respond::is_dhcp)
        || respond::is_rogue_control(ip, seen.bytes)
    {
        return Err(DropReason::ControlOverOverlay);
    }
    if is_group(ip.dst) {
        return Err(DropReason::InnerL2);
    }
    let id = seen.vtep.ok_or(DropReason::VtepUnknown)?;
    let vtep = generation.fdb.get(id).ok_or(DropReason::VtepUnknown)?;
    // The node's own addresses and pods are asked for first: a subnet that overlaps ours must not help.
    if !vtep.owns(ip.src) || generation.party(ip.src) != Party::Vtep(id) {
        return Err(DropReason::InnerSourceMismatch);
    }
    Ok(Speaker::Source(Party::Vtep(id)))
}

/// Names a foreign MAC by what it was used for.
fn spoof_kind(ip: Option<&IpHeaders>) -> DropReason {
    match ip {
        None => DropReason::ArpSpoof,
        Some(ip) if respond::is_ndp(ip) => DropReason::NdSpoof,
        Some(_) => DropReason::SpoofedSource,
    }
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
