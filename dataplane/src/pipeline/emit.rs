//! Emit: the last stage, from a forwarded packet to frames its port can take.
//!
//! A port that takes super-packets and partial checksums gets them as they are, and TCP segments and UDP datagrams that
//! follow one another in their flow within a batch as one super-packet. For any other segments are cut and checksums completed first; the tunnel
//! takes super-packets where the kernel behind it does. On the way to another node each frame is then
//! encapsulated: for a datagram underlay a VXLAN header and the outer addresses beside it, for a whole-frame
//! underlay all outer headers.

use vxlan::ecn;
use vxlan::encap::{OUTER_BYTES_V4, OUTER_BYTES_V6, OuterChecksum, OuterConfig, write_outer};
use vxlan::entropy;
use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::vtep::TunnelPath;
use vxlan::wire::ethernet;
use vxlan::wire::headers::{IpHeaders, PROTOCOL_TCP, PROTOCOL_UDP};
use vxlan::wire::udp;
use vxlan::wire::vxlan as header;

use super::Pipeline;
use super::bindings::{Binding, PortId, Role};
use crate::buffer::{Batch, Checksum, Frame, GsoKind, Outer, Pool};
use crate::drop_reason::DropReason;
use crate::offload::{self, Open};
use crate::ports::Capabilities;
use crate::tables::{Generation, OwnNode};
use crate::time::Timestamp;

/// Where the checksum stands in a UDP header.
const UDP_CHECKSUM: u16 = 6;

/// What the pipeline wants sent: a batch for each port.
#[derive(Default)]
pub struct Outputs {
    ports: Vec<Output>,
    used: Vec<PortId>,
}

#[derive(Default)]
struct Output {
    frames: Batch,
    /// Those of `frames` to which more may be joined.
    open: Open,
}

impl Outputs {
    /// Adds a frame for `port`.
    #[inline]
    pub fn push(&mut self, port: PortId, frame: Frame) {
        if let Some(output) = self.output(port) {
            output.open.close(&mut output.frames);
            output.frames.push(frame);
        }
    }

    /// Adds a frame for `port`, which is finished where it stands. `None`, and the frame lost, for a port there cannot be.
    #[inline]
    pub(super) fn place(&mut self, port: PortId, frame: Frame) -> Option<&mut Frame> {
        let output = self.output(port)?;
        output.open.close(&mut output.frames);
        output.frames.push(frame);
        output.frames.last_mut()
    }

    /// Takes out the frame that was added for `port` last.
    pub(super) fn take_back(&mut self, port: PortId) -> Option<Frame> {
        let output = self.ports.get_mut(port.0 as usize)?;
        let frame = output.frames.pop()?;
        if output.frames.is_empty() {
            self.used.retain(|used| *used != port);
        }
        Some(frame)
    }

    /// Adds a frame for a `port` that takes super-packets, or joins it to those of its flow before it.
    fn join(&mut self, port: PortId, frame: Frame, ip: &IpHeaders, pool: &mut Pool) {
        let Some(output) = self.output(port) else { return pool.give(frame) };
        output.open.add(&mut output.frames, frame, ip, pool);
    }

    #[inline]
    fn output(&mut self, port: PortId) -> Option<&mut Output> {
        let place = port.0 as usize;
        if self.ports.len() <= place {
            self.ports.resize_with(place + 1, Output::default);
        }
        let output = self.ports.get_mut(place)?;
        if output.frames.is_empty() {
            self.used.push(port);
        }
        Some(output)
    }

    /// Hands each port's frames to `send`, which takes all of them out.
    pub fn drain(&mut self, mut send: impl FnMut(PortId, &mut Batch)) {
        for port in self.used.drain(..) {
            if let Some(output) = self.ports.get_mut(port.0 as usize) {
                output.open.close(&mut output.frames);
                send(port, &mut output.frames);
                debug_assert!(output.frames.is_empty(), "every frame is sent or given back");
                output.frames.clear();
            }
        }
    }

    /// True when nothing is to be sent.
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}

/// What a batch's packets have in common while they pass: what they are judged by, and where they go.
pub(super) struct Pass<'a> {
    pub(super) generation: &'a Generation,
    pub(super) now: Timestamp,
    pub(super) pool: &'a mut Pool,
    pub(super) out: &'a mut Outputs,
}

/// How a frame leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) port: PortId,
    capabilities: Capabilities,
    tunnel: Option<Tunnel>,
}

#[derive(Debug, Clone, Copy)]
struct Tunnel {
    path: TunnelPath,
    whole_frames: bool,
    /// Whether the outer checksum is left to whoever sends the frame.
    checksum_outside: bool,
    /// The next hop's MAC, where it is known and outer frames are built here.
    next_hop: Option<Mac>,
}

impl Tunnel {
    /// Bytes of IP, UDP and VXLAN in front of an inner frame.
    fn outer_bytes(&self) -> usize {
        let outer = match self.path.underlay {
            Family::V4 => OUTER_BYTES_V4,
            Family::V6 => OUTER_BYTES_V6,
        };
        outer - ethernet::HEADER_BYTES
    }
}

impl Way {
    pub(super) fn port(binding: &Binding) -> Self {
        Self { port: binding.id, capabilities: binding.capabilities, tunnel: None }
    }

    pub(super) fn tunnel(underlay: &Binding, path: TunnelPath, own: &OwnNode) -> Self {
        let whole_frames = underlay.role == Role::UnderlayFrame;
        let next_hop = own.underlay_neighbours.get(&path.peer).filter(|_| whole_frames).copied();
        Self {
            port: underlay.id,
            capabilities: if whole_frames { Capabilities::default() } else { underlay.capabilities },
            tunnel: Some(Tunnel {
                path,
                whole_frames,
                checksum_outside: whole_frames && underlay.capabilities.checksum,
                next_hop,
            }),
        }
    }

    /// True where packets of this protocol are put together again.
    #[inline]
    pub(super) fn joins(&self, protocol: u8) -> bool {
        let takes = match protocol {
            PROTOCOL_TCP => self.capabilities.tso,
            PROTOCOL_UDP => self.capabilities.uso,
            _ => false,
        };
        takes && self.tunnel.is_none() && self.capabilities.checksum
    }

    fn takes_whole(&self, frame: &Frame) -> bool {
        // The length fields outside have to count the outer headers as well.
        if self.tunnel.is_some_and(|tunnel| frame.len() > usize::from(u16::MAX) - tunnel.outer_bytes()) {
            return frame.gso.is_none();
        }
        match frame.gso.map(|gso| gso.kind) {
            None => true,
            Some(GsoKind::Tcp4 | GsoKind::Tcp6) => self.capabilities.tso,
            Some(GsoKind::UdpL4) => self.capabilities.uso,
        }
    }
}

impl Pipeline {
    /// Sends `frame`, cut and completed as its way out demands, into the tunnel from `source_port`. A packet of which
    /// a piece could not be sent counts as dropped, whatever became of the others.
    pub(super) fn emit(
        &mut self,
        pass: &mut Pass<'_>,
        frame: Frame,
        ip: &IpHeaders,
        way: &Way,
        source_port: u16,
    ) -> Result<(), DropReason> {
        if way.takes_whole(&frame) {
            return self.send_piece(pass, frame, ip.tos, Some(ip), way, source_port);
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        let packets = frame.packets;
        let cut = offload::segment(frame, ip, pass.pool, &mut pieces);
        // What could be cut is sent all the same, and the packet is lost.
        let packets = if cut.is_ok() { packets } else { 0 };
        let sent = self.send_pieces(pass, &mut pieces, packets, ip, way, source_port);
        self.pieces = pieces;
        cut.map_err(offload::SegmentError::drop_reason)?;
        sent
    }

    /// Sends all of `pieces`; the first reason why one could not be sent. The last of them stands for the `packets` that
    /// they were made of: only then is it known whether these count as forwarded.
    pub(super) fn send_pieces(
        &self,
        pass: &mut Pass<'_>,
        pieces: &mut Batch,
        packets: u32,
        ip: &IpHeaders,
        way: &Way,
        source_port: u16,
    ) -> Result<(), DropReason> {
        let mut left = pieces.len();
        let mut outcome = Ok(());
        for mut piece in pieces.drain(..) {
            left -= 1;
            piece.packets = if left == 0 && outcome.is_ok() { packets } else { 0 };
            outcome = outcome.and(self.send_piece(pass, piece, ip.tos, Some(ip), way, source_port));
        }
        outcome
    }

    /// Sends a frame that is cut already. Without its headers it is joined to no other.
    pub(super) fn send_piece(
        &self,
        pass: &mut Pass<'_>,
        mut frame: Frame,
        tos: u8,
        ip: Option<&IpHeaders>,
        way: &Way,
        source_port: u16,
    ) -> Result<(), DropReason> {
        if let Err(reason) = self.make_ready(pass.generation, &mut frame, tos, way, source_port) {
            pass.pool.give(frame);
            return Err(reason);
        }
        match ip {
            Some(ip) if way.joins(ip.protocol) => {
                pass.out.join(way.port, frame, ip, pass.pool);
            }
            _ => pass.out.push(way.port, frame),
        }
        Ok(())
    }

    /// Completes the checksum of a frame that is cut already, if its way out does not, and puts the tunnel headers in
    /// front, if its way is one.
    #[inline]
    pub(super) fn make_ready(
        &self,
        generation: &Generation,
        frame: &mut Frame,
        tos: u8,
        way: &Way,
        source_port: u16,
    ) -> Result<(), DropReason> {
        // The sum of a super-packet is completed by whoever cuts it.
        let partial = frame.checksum != Checksum::Complete && !(way.tunnel.is_some() && frame.gso.is_some());
        if partial && !way.capabilities.checksum && !offload::complete_checksum(frame) {
            return Err(DropReason::BadHeader);
        }
        match &way.tunnel {
            Some(tunnel) => self.put_in_tunnel(generation, frame, tos, tunnel, source_port),
            None => Ok(()),
        }
    }

    /// Puts the tunnel headers in front of a complete frame and sends it.
    pub(super) fn encap(
        &self,
        pass: &mut Pass<'_>,
        mut frame: Frame,
        tos: u8,
        way: &Way,
        source_port: u16,
    ) -> Result<(), DropReason> {
        let written = way
            .tunnel
            .as_ref()
            .ok_or(DropReason::VtepUnreachable)
            .and_then(|tunnel| self.put_in_tunnel(pass.generation, &mut frame, tos, tunnel, source_port));
        match written {
            Ok(()) => pass.out.push(way.port, frame),
            Err(_) => pass.pool.give(frame),
        }
        written
    }

    #[inline]
    fn put_in_tunnel(
        &self,
        generation: &Generation,
        frame: &mut Frame,
        tos: u8,
        tunnel: &Tunnel,
        source_port: u16,
    ) -> Result<(), DropReason> {
        let tos = ecn::encapsulate(tos);
        if tunnel.whole_frames {
            return self.write_outer(generation, frame, tunnel, source_port, tos);
        }
        write_datagram(frame, &tunnel.path, header::emit(self.settings.vni), source_port, tos)
            .ok_or(DropReason::VtepUnreachable)
    }

    /// The outer source port for what `of` names, where `way` leads into the tunnel.
    pub(super) fn source_port(&self, way: &Way, of: impl std::hash::Hash) -> u16 {
        if way.tunnel.is_some() { entropy::source_port(self.flow_hash.hash_one(of) as u32) } else { 0 }
    }

    fn write_outer(
        &self,
        generation: &Generation,
        frame: &mut Frame,
        tunnel: &Tunnel,
        source_port: u16,
        tos: u8,
    ) -> Result<(), DropReason> {
        let path = &tunnel.path;
        let own = &generation.own;
        let (room, src) = match path.underlay {
            Family::V4 => (OUTER_BYTES_V4, own.underlay_v4.map(|underlay| underlay.address.into())),
            Family::V6 => (OUTER_BYTES_V6, own.underlay_v6.map(|underlay| underlay.address.into())),
        };
        let src = src.ok_or(DropReason::VtepUnreachable)?;
        // Not to everybody on the segment: that would be flooding.
        let dest_mac = tunnel.next_hop.ok_or(DropReason::UnderlayUnresolved)?;
        // Over IPv6 a sum is never left out: a kernel VTEP drops what has none.
        let checksum = match (self.settings.outer_checksum, path.underlay) {
            (OuterChecksum::Zero, Family::V4) => OuterChecksum::Zero,
            _ if tunnel.checksum_outside => OuterChecksum::PseudoHeader,
            _ => OuterChecksum::Compute,
        };
        let config = OuterConfig {
            source_mac: own.underlay_mac,
            dest_mac,
            src,
            dst: path.peer,
            source_port,
            dest_port: self.settings.vxlan_port,
            vni: self.settings.vni,
            tos,
            ttl: 64,
            checksum,
            identification: self.next_identification(),
        };
        let (outer, inner) = frame
            .push_front(room)
            .is_some()
            .then(|| frame.bytes_mut().split_at_mut_checked(room))
            .flatten()
            .ok_or(DropReason::TooBig)?;
        write_outer(outer, inner, &config).map_err(|_| DropReason::TooBig)?;
        if checksum == OuterChecksum::PseudoHeader {
            let start = (room - header::HEADER_BYTES - udp::HEADER_BYTES) as u16;
            frame.checksum = Checksum::Partial { start, offset: UDP_CHECKSUM };
        }
        Ok(())
    }

    /// A router may fragment what has no DF bit, as outer packets have none: each has an identification of its own
    /// (RFC 6864 section 4), lest the receiver put together what does not belong together.
    fn next_identification(&self) -> u16 {
        let next = self.identification.get();
        self.identification.set(next.wrapping_add(1));
        next
    }
}

fn write_datagram(
    frame: &mut Frame,
    path: &TunnelPath,
    vxlan: [u8; header::HEADER_BYTES],
    source_port: u16,
    tos: u8,
) -> Option<()> {
    frame.push_front(header::HEADER_BYTES)?.copy_from_slice(&vxlan);
    // `local` is the receiving side's; the underlay knows its own address.
    frame.outer = Some(Outer { peer: path.peer, local: path.peer, source_port, tos });
    Some(())
}
