//! Decap: from an underlay packet to the frame inside (RFC 7348).
//!
//! On entry a packet came from the underlay: a whole Ethernet frame, or a UDP payload with its outer addresses
//! beside it. On exit it is the inner Ethernet frame and `vtep` names the node that sent it; or it is dropped:
//! an outer packet that is not ours or damaged, a sender that is no node (judged before anything inside is
//! looked at), a foreign VNI, an inner frame that does not run from the sender's VTEP MAC to ours, or a
//! congestion mark that may not be passed on (RFC 6040 section 4.2). One layer is taken off, never two.

use vxlan::decap::{OuterError, UdpChecksum, parse_outer_with};
use vxlan::ecn::{self, Decapsulated};
use vxlan::fdb::VtepId;
use vxlan::vtep::Vtep;
use vxlan::wire::{ethernet, vxlan as header};

use super::Pipeline;
use super::bindings::Role;
use super::packet::Packet;
use crate::buffer::{Checksum, Frame, Outer};
use crate::drop_reason::DropReason;
use crate::tables::Generation;

/// Where the checksum stands in a transport header.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

impl Pipeline {
    pub(super) fn decap(&self, generation: &Generation, packets: &mut [Packet]) {
        let Some(role) = packets.first().and_then(|packet| self.bindings.get(packet.from)) else { return };
        let whole_frames = match role.role {
            Role::UnderlayFrame => true,
            Role::UnderlayDatagram => false,
            Role::Pod(_) | Role::Node => return,
        };
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            match self.decap_one(generation, packet, whole_frames) {
                Ok(()) => packet.frame.outer = None,
                // Of the outer headers, and of the MACs inside.
                Err(reason @ (DropReason::VtepUnknown | DropReason::InnerL2)) => packet.refuse(reason),
                Err(reason) => packet.drop(reason),
            }
        }
    }

    fn decap_one(
        &self,
        generation: &Generation,
        packet: &mut Packet,
        whole_frames: bool,
    ) -> Result<(), DropReason> {
        if whole_frames && !packet.stripped {
            self.strip_outer(generation, &mut packet.frame)?;
        }
        let outside = self.judge_outside(generation, &packet.frame)?;
        if outside.reserved_set {
            self.counters.vxlan_reserved.add(1);
        }
        let mark = judge_inside(generation, &outside, packet.frame.bytes())?;
        packet.frame.pull_front(header::HEADER_BYTES);
        if let Some(ip) = packet.frame.bytes_mut().get_mut(ethernet::HEADER_BYTES..) {
            match mark {
                Decapsulated::MarkCe => ecn::set_ce(ip),
                Decapsulated::SetEct1 => ecn::set_ect1(ip),
                Decapsulated::Keep | Decapsulated::Drop => {}
            }
        }
        packet.vtep = Some(outside.id);
        packet.peer = Some(outside.outer.peer);
        Ok(())
    }

    /// Who sent a datagram, and what its VXLAN header says. Changes nothing.
    fn judge_outside<'a>(
        &self,
        generation: &'a Generation,
        frame: &Frame,
    ) -> Result<Outside<'a>, DropReason> {
        let outer = frame.outer.ok_or(DropReason::OuterInvalid)?;
        let (id, vtep) = generation.fdb.by_underlay(outer.peer).ok_or(DropReason::VtepUnknown)?;
        let (vxlan, _) = header::parse(frame.bytes()).map_err(|error| match error {
            header::VxlanError::Truncated => DropReason::Truncated,
            header::VxlanError::NoIFlag => DropReason::VxlanFlags,
        })?;
        if vxlan.vni != self.settings.vni {
            return Err(DropReason::VniMismatch);
        }
        if vxlan.reserved_set && self.settings.strict_reserved {
            return Err(DropReason::VxlanFlags);
        }
        Ok(Outside { outer, id, vtep, reserved_set: vxlan.reserved_set })
    }

    /// The VTEP that sent a datagram and the frame inside, without its headers taken off. `None` where more would happen
    /// to them than that.
    ///
    /// # Errors
    /// Why it would be dropped.
    pub(super) fn look_inside<'a>(
        &self,
        generation: &Generation,
        frame: &'a Frame,
    ) -> Result<Option<(VtepId, &'a [u8])>, DropReason> {
        let outside = self.judge_outside(generation, frame)?;
        // They are counted.
        if outside.reserved_set {
            return Ok(None);
        }
        judge_inside(generation, &outside, frame.bytes())?;
        Ok(frame.bytes().get(header::HEADER_BYTES..).map(|inner| (outside.id, inner)))
    }

    /// Takes the outer Ethernet, IP and UDP headers off a whole frame and keeps what they said.
    pub(super) fn strip_outer(&self, generation: &Generation, frame: &mut Frame) -> Result<(), DropReason> {
        // A frame that never left the host: the kernel vouches for what it has not summed yet.
        let udp_checksum = match frame.checksum {
            Checksum::Complete => UdpChecksum::VerifyUnlessPartial,
            Checksum::Partial { .. } => UdpChecksum::Trust,
        };
        let outer = parse_outer_with(frame.bytes(), udp_checksum).map_err(|error| match error {
            OuterError::UdpChecksum | OuterError::IpChecksum => DropReason::OuterChecksum,
            OuterError::Fragment => DropReason::OuterFragment,
            OuterError::Truncated => DropReason::Truncated,
            OuterError::LengthMismatch => DropReason::LengthMismatch,
            OuterError::NotUdp | OuterError::Martian | OuterError::BadHeader => DropReason::OuterInvalid,
        })?;
        let to_us = ethernet::parse(frame.bytes())
            .is_some_and(|(eth, _)| eth.dst == generation.own.underlay_mac)
            && generation.own.is_underlay(outer.dst);
        if outer.dest_port != self.settings.vxlan_port || !to_us {
            return Err(DropReason::OuterInvalid);
        }
        frame.truncate(outer.payload.end);
        frame.pull_front(outer.payload.start);
        forget_detectable(frame)?;
        frame.outer =
            Some(Outer { peer: outer.src, local: outer.dst, source_port: outer.source_port, tos: outer.tos });
        Ok(())
    }
}

/// What is known of the sums and segments inside a frame that never left the host, once its outer headers are off. A
/// partial sum of TCP or UDP is left to be found again, as on a datagram underlay, which is where the short way looks.
fn forget_detectable(frame: &mut Frame) -> Result<(), DropReason> {
    match frame.checksum {
        // A train that its port should have taken apart.
        Checksum::Complete if frame.gso.is_some() => return Err(DropReason::OuterInvalid),
        Checksum::Partial { offset: TCP_CHECKSUM | UDP_CHECKSUM, .. } if frame.gso.is_none() => {
            frame.checksum = Checksum::Complete;
        }
        Checksum::Complete | Checksum::Partial { .. } => {}
    }
    Ok(())
}

/// What stands around an inner frame.
struct Outside<'a> {
    outer: Outer,
    id: VtepId,
    vtep: &'a Vtep,
    reserved_set: bool,
}

/// Whether a frame, behind its VXLAN header, runs from the sender's VTEP to ours; and what becomes of the congestion mark
/// that its outer header carries.
fn judge_inside(
    generation: &Generation,
    outside: &Outside<'_>,
    bytes: &[u8],
) -> Result<Decapsulated, DropReason> {
    let inner = bytes.get(header::HEADER_BYTES..).unwrap_or_default();
    let (eth, ip) = ethernet::parse(inner).ok_or(DropReason::Truncated)?;
    let ours = eth.dst == generation.own.vtep_mac || Some(eth.dst) == generation.own.vtep_mac_v6;
    if !ours || !outside.vtep.accepts_inner_mac(eth.src) {
        return Err(if eth.ethertype == ethernet::ARP {
            DropReason::ControlOverOverlay
        } else {
            DropReason::InnerL2
        });
    }
    let inner_tos = match (eth.ethertype, ip) {
        (ethernet::IPV4, [_, tos, ..]) => *tos,
        (ethernet::IPV6, [first, second, ..]) => (first << 4) | (second >> 4),
        _ => return Ok(Decapsulated::Keep),
    };
    match ecn::decapsulate(outside.outer.tos, inner_tos) {
        Decapsulated::Drop => Err(DropReason::EcnInvalid),
        mark => Ok(mark),
    }
}
