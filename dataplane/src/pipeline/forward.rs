//! Forward: where an allowed packet goes, and what a router owes it on the way.
//!
//! On entry a packet has been allowed. On exit its MACs are those of its next hop and it stands in the outputs;
//! or it is dropped because there is no way, and where a router owes an ICMP error (RFC 1812, RFC 4443) one went
//! back to its sender.
//!
//! ```text
//!  pod of this node   switched: TTL as it is            dst MAC = the pod's,  src MAC = the gateway's
//!  node and outside   switched to the gateway's TAP     dst MAC = the TAP's,  src MAC = our VTEP's
//!  pod behind a VTEP  routed: TTL decremented           dst MAC = its VTEP's, src MAC = our VTEP's   (flannel's form)
//!  out of the tunnel  routed: TTL decremented           then as in the first two rows
//! ```

use vxlan::fdb::VtepId;
use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::vtep::TunnelPath;
use vxlan::wire::headers::{IpHeaders, L4};
use vxlan::wire::{Ttl, ethernet, ipv4, ipv6};

use super::Pipeline;
use super::emit::{Pass, Way};
use super::packet::{Fate, Packet};
use super::refusals::Refusal;
use crate::buffer::{Frame, Gso};
use crate::conntrack::{Conn, Dir};
use crate::drop_reason::DropReason;
use crate::offload;
use crate::respond::{self, IcmpError};
use crate::tables::{Generation, Party};

/// The next hop of a packet.
#[derive(Debug, Clone)]
pub(super) struct Hop {
    pub(super) way: Way,
    pub(super) mtu: u16,
    pub(super) dst_mac: Mac,
    pub(super) src_mac: Mac,
}

/// How a packet fits through its way out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Size {
    /// As it is, or in these segments.
    Fits(Option<Gso>),
    /// In fragments.
    Fragments,
}

/// Why a packet cannot go on, and what its sender is owed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stranded {
    reason: DropReason,
    owed: Option<IcmpError>,
    refusal: Option<Refusal>,
}

impl From<DropReason> for Stranded {
    fn from(reason: DropReason) -> Self {
        Self { reason, owed: None, refusal: None }
    }
}

impl Stranded {
    /// For want of a next hop. What could give one, a generation or a change of a port, begins a new epoch.
    const fn without_way(reason: DropReason) -> Self {
        Self { reason, owed: None, refusal: Some(Refusal::NoWay(reason)) }
    }

    /// What other packets of a flow without a connection come to, where their own headers say which.
    pub(super) const fn refusal(self) -> Option<Refusal> {
        self.refusal
    }
}

impl Pipeline {
    pub(super) fn forward(&mut self, packets: &mut [Packet], pass: &mut Pass<'_>) {
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            if let Err(reason) = self.forward_one(packet, pass) {
                self.abandon(packet);
                packet.drop(reason);
            }
        }
    }

    /// Ends the connection that a packet opened which then could not go on, unless another packet has come by it since.
    fn abandon(&self, packet: &Packet) {
        let Some(id) = packet.opened else { return };
        let alone = |conn: Conn| conn.packets(Dir::Original) == 1 && conn.packets(Dir::Reply) == 0;
        if self.connections.get(id).is_some_and(alone) {
            self.connections.remove(id);
        }
    }

    fn forward_one(&mut self, packet: &mut Packet, pass: &mut Pass<'_>) -> Result<(), DropReason> {
        let ip = packet.ip.ok_or(DropReason::BadHeader)?;
        let (hop, size) = match self.plan(pass.generation, packet) {
            Ok(planned) => planned,
            Err(Stranded { reason, owed, .. }) => {
                if let Some(error) = owed {
                    self.owe(packet, &ip, error, pass);
                }
                return Err(reason);
            }
        };
        // Nothing has changed since policy made the same plan; were it otherwise, a packet without a connection stays here.
        if packet.stranded {
            return Err(DropReason::ConntrackInvalid);
        }
        if is_routed(packet) && decrement_ttl(packet.frame.bytes_mut(), &ip) == Ttl::Expired {
            return Err(DropReason::TtlExpired);
        }
        if !ethernet::set_macs(packet.frame.bytes_mut(), hop.dst_mac, hop.src_mac) {
            return Err(DropReason::Truncated);
        }
        let source_port = self.source_port(&hop.way, packet.tuple);
        match size {
            Size::Fits(gso) => {
                self.remember(packet, &hop, source_port);
                packet.frame.gso = gso;
                let frame = packet.take_frame(Fate::Forwarded);
                self.emit(pass, frame, &ip, &hop.way, source_port)
            }
            Size::Fragments => self.fragment(packet, &ip, &hop, source_port, pass),
        }
    }

    /// Where a packet goes and how it fits; or why it cannot go on. Changes nothing: `policy` asks before it opens a
    /// connection.
    pub(super) fn plan(&self, generation: &Generation, packet: &Packet) -> Result<(Hop, Size), Stranded> {
        let ip = packet.ip.as_ref().ok_or(DropReason::BadHeader)?;
        let hop = self.next_hop(generation, packet, ip).map_err(Stranded::without_way)?;
        let routed = is_routed(packet);
        let stranded = |reason, owed| {
            let refusal = Some(Refusal::Stranded { routed, mtu: hop.mtu });
            Err(Stranded { reason, owed: Some(owed), refusal })
        };
        if routed && ip.ttl <= 1 {
            return stranded(DropReason::TtlExpired, IcmpError::TimeExceeded);
        }
        if let Some(gso) = fitting_segment(&packet.frame, ip, hop.mtu) {
            return Ok((hop, Size::Fits(gso)));
        }
        if ip.family == Family::V6 || ip.dont_fragment {
            return stranded(DropReason::TooBig, IcmpError::FragmentationNeeded { mtu: hop.mtu });
        }
        Ok((hop, Size::Fragments))
    }

    /// A router fragments what may be fragmented (RFC 791).
    fn fragment(
        &mut self,
        packet: &mut Packet,
        ip: &IpHeaders,
        hop: &Hop,
        source_port: u16,
        pass: &mut Pass<'_>,
    ) -> Result<(), DropReason> {
        let mut pieces = std::mem::take(&mut self.pieces);
        let cut = if offload::complete_checksum(&mut packet.frame) {
            offload::fragment_ipv4(&packet.frame, ip, hop.mtu, pass.pool, &mut pieces)
                .map(|_| ())
                .map_err(offload::FragmentError::drop_reason)
        } else {
            Err(DropReason::BadHeader)
        };
        let sent = match cut {
            Ok(()) => self.send_pieces(pass, &mut pieces, packet.frame.packets, ip, &hop.way, source_port),
            Err(_) => cut,
        };
        pass.pool.give_all(pieces.drain(..));
        self.pieces = pieces;
        sent?;
        packet.fate = Fate::Forwarded;
        Ok(())
    }

    fn next_hop(&self, generation: &Generation, packet: &Packet, ip: &IpHeaders) -> Result<Hop, DropReason> {
        let own = &generation.own;
        match packet.destination {
            Party::Pod(index) => {
                let binding = self.bindings.of_endpoint(index).ok_or(DropReason::PortUnattached)?;
                Ok(Hop {
                    way: Way::port(binding),
                    mtu: binding.mtu,
                    dst_mac: binding.mac.ok_or(DropReason::NeighbourUnresolved)?,
                    src_mac: own.gateway_mac,
                })
            }
            Party::Node | Party::Outside => {
                let binding = self.bindings.node().ok_or(DropReason::PortUnattached)?;
                Ok(Hop {
                    way: Way::port(binding),
                    mtu: binding.mtu,
                    dst_mac: own.gateway_mac,
                    src_mac: own.vtep_mac,
                })
            }
            Party::Vtep(id) => {
                let (path, way) = self.tunnel(generation, id, ip.family)?;
                Ok(Hop {
                    way,
                    mtu: own.tunnel_mtu(path.underlay).ok_or(DropReason::VtepUnreachable)?,
                    dst_mac: path.inner_dst_mac,
                    src_mac: own_vtep_mac(generation, path.underlay),
                })
            }
            Party::Nobody => Err(DropReason::NoRoute),
            Party::Unreachable => Err(DropReason::VtepUnreachable),
            Party::Conflict => Err(DropReason::IpConflict),
        }
    }

    /// The way to another node for inner packets of `family`.
    fn tunnel(
        &self,
        generation: &Generation,
        id: VtepId,
        family: Family,
    ) -> Result<(TunnelPath, Way), DropReason> {
        let own = &generation.own;
        let underlay = self.bindings.underlay().ok_or(DropReason::VtepUnreachable)?;
        let path = generation
            .fdb
            .get(id)
            .and_then(|vtep| vtep.path(family, own.underlay_v4.is_some(), own.underlay_v6.is_some()))
            .ok_or(DropReason::VtepUnreachable)?;
        Ok((path, Way::tunnel(underlay, path, own)))
    }

    /// Sends the ICMP error a router owes to the sender of a packet that is dropped, within the rate limit.
    fn owe(&mut self, packet: &Packet, ip: &IpHeaders, error: IcmpError, pass: &mut Pass<'_>) {
        let own = &pass.generation.own;
        let Some(from) = own.gateway_for(ip.src) else { return };
        if !self.icmp_limit.allow(pass.now) {
            return;
        }
        let Some(mut reply) = pass.pool.take() else { return };
        let our_mac = match packet.source {
            Party::Pod(_) => own.gateway_mac,
            _ => own.vtep_mac,
        };
        if !respond::icmp_error(&packet.frame, ip, error, from, our_mac, &mut reply) {
            pass.pool.give(reply);
            return;
        }
        self.counters.icmp_errors.add(1);
        match packet.vtep {
            None => pass.out.push(packet.from, reply),
            Some(id) => self.owe_through_tunnel(id, ip.family, reply, pass),
        }
    }

    fn owe_through_tunnel(&mut self, id: VtepId, family: Family, mut reply: Frame, pass: &mut Pass<'_>) {
        let Ok((path, way)) = self.tunnel(pass.generation, id, family) else {
            pass.pool.give(reply);
            return;
        };
        let src_mac = own_vtep_mac(pass.generation, path.underlay);
        ethernet::set_macs(reply.bytes_mut(), path.inner_dst_mac, src_mac);
        let source_port = self.source_port(&way, id.0);
        // An error that cannot be sent is no loss worth counting: its packet has been.
        let _ = self.encap(pass, reply, 0, &way, source_port);
    }

    /// The largest inner packet pods can take, by which a kernel sender's whole segments are cut again.
    pub(super) fn inner_mtu(&self, ip: &IpHeaders) -> Option<u16> {
        let generation = self.generation.as_deref()?;
        match generation.party(ip.dst) {
            Party::Pod(index) => self.bindings.of_endpoint(index).map(|binding| binding.mtu),
            _ => self.bindings.node().map(|binding| binding.mtu),
        }
    }
}

/// True for a packet that weir forwards as a router does, rather than as a switch.
fn is_routed(packet: &Packet) -> bool {
    packet.vtep.is_some() || matches!(packet.destination, Party::Vtep(_))
}

fn own_vtep_mac(generation: &Generation, underlay: Family) -> Mac {
    match underlay {
        Family::V4 => generation.own.vtep_mac,
        Family::V6 => generation.own.vtep_mac_v6.unwrap_or(generation.own.vtep_mac),
    }
}

/// Counts the TTL or hop limit down where `ip` says the header is.
fn decrement_ttl(frame: &mut [u8], ip: &IpHeaders) -> Ttl {
    let packet = frame.get_mut(usize::from(ip.l3_offset)..).unwrap_or_default();
    match ip.family {
        Family::V4 => ipv4::decrement_ttl(packet),
        Family::V6 => ipv6::decrement_ttl(packet),
    }
}

/// `None`: the packet is too big. Otherwise the segments it is to be cut into, if any: those its sender wanted,
/// or smaller ones where the sender permits fragments.
#[allow(clippy::option_option, reason = "too big, whole, or in segments: used in one place")]
fn fitting_segment(frame: &Frame, ip: &IpHeaders, mtu: u16) -> Option<Option<Gso>> {
    let Some(gso) = frame.gso else { return (ip.ip_len <= u32::from(mtu)).then_some(None) };
    let transport = match ip.l4 {
        L4::Tcp { header_len, .. } => u16::from(header_len),
        _ => 8,
    };
    let headers = ip.l4_offset.saturating_sub(ip.l3_offset).saturating_add(transport);
    if headers.saturating_add(gso.size) <= mtu {
        return Some(Some(gso));
    }
    let room = mtu.checked_sub(headers).filter(|room| *room > 0)?;
    let may_cut = ip.family == Family::V4 && !ip.dont_fragment && matches!(ip.l4, L4::Tcp { .. });
    may_cut.then_some(Some(Gso { size: room, ..gso }))
}
