//! The short way: packets of flows that the flow cache knows, from port to port in one step.
//!
//! On entry a batch is as its port handed it over. On exit each packet of a known flow has been put to its connection
//! and stands in the outputs, or was dropped as `ct_invalid`, exactly as all stages together would have had it; the
//! others have gone the long way. Order is kept: the batch falls into stretches, and what goes the long way is done
//! before what follows it begins. A stretch of few known packets between unknown ones goes with them, so that the long
//! way always has something to work on at once.
//!
//! What a known packet still has to show, each time: that it is well-formed (`glance`) and no SYN, which may open its
//! connection anew and has to be judged for it, that its TTL and size fit, that
//! its connection is there, judged by this generation and agrees with it. Otherwise the long way says what becomes of it.

use vxlan::mtu::Family;
use vxlan::wire::{ethernet, ipv4, ipv6, vxlan as header};

use super::Pipeline;
use super::bindings::{PortId, Role};
use super::emit::Pass;
use super::endings::{Ended, Ending};
use super::flow_cache::{Context, Destination, Flow};
use super::forward::Hop;
use super::glance::{FlowKey, Glance, Macs};
use super::packet::Packet;
use crate::buffer::{Batch, Frame};
use crate::drop_reason::DropReason;
use crate::tables::{Generation, Party};
use crate::telemetry::Stage;

/// Fewer known packets than this between unknown ones go with them.
const SHORTEST: u8 = 4;
/// No entry.
const NOWHERE: u32 = u32::MAX;

/// DHCP, for which more than the flow decides.
const LONG_WAY_PORTS: [u16; 4] = [67, 68, 546, 547];

/// What was seen of a frame before it moved.
#[derive(Clone, Copy)]
pub(super) struct Sighting {
    glance: Option<Glance>,
    hash: u64,
    place: u32,
    /// Known packets from here on, as far as it matters.
    stretch: u8,
    /// Why the outer headers were refused.
    refused: Option<DropReason>,
}

/// Where the frames of a batch come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Port,
    Datagrams,
    /// Whole frames of the underlay, whose outer headers are taken off before anything else.
    Frames,
}

/// What became of the packets that went the short way.
#[derive(Default)]
struct Tally {
    forwarded: u64,
    invalid: u64,
    bad_header: u64,
    unsent: u64,
}

impl Pipeline {
    /// Takes the packets of known flows through, and the others through all stages.
    pub(super) fn short_way(&mut self, from: PortId, batch: &mut Batch, pass: &mut Pass<'_>) {
        let source = match self.bindings.get(from).map(|binding| &binding.role) {
            Some(Role::Pod(_) | Role::Node) if self.caching => Source::Port,
            Some(Role::UnderlayDatagram) if self.caching => Source::Datagrams,
            Some(Role::UnderlayFrame) if self.caching => Source::Frames,
            _ => return self.long_way(batch.drain(..), from, pass),
        };
        let mut sightings = std::mem::take(&mut self.sightings);
        self.look(from, source, batch, &mut sightings, pass.generation);
        self.lap(Stage::Look, batch.len());
        let mut tally = Tally::default();
        let mut waiting = std::mem::take(&mut self.packets);
        let mut count = 0;
        for (frame, sighting) in batch.drain(..).zip(&sightings) {
            let known = sighting.place != NOWHERE && (waiting.is_empty() || sighting.stretch >= SHORTEST);
            let frame = if known {
                self.stages_and_sweep(&mut waiting, pass);
                let Some(frame) = self.known(source, frame, sighting, pass, &mut tally) else {
                    count += 1;
                    continue;
                };
                frame
            } else {
                frame
            };
            let mut packet = Packet::new(frame, from);
            packet.stripped = source == Source::Frames;
            if let Some(reason) = sighting.refused {
                packet.drop(reason);
            }
            waiting.push(packet);
            if count > 0 {
                self.lap(Stage::Known, std::mem::take(&mut count));
            }
        }
        if count > 0 {
            self.lap(Stage::Known, count);
        }
        self.stages_and_sweep(&mut waiting, pass);
        self.packets = waiting;
        self.sightings = sightings;
        self.count(&tally);
    }

    /// All stages, for frames that no flow is known of.
    pub(super) fn long_way(
        &mut self,
        frames: impl Iterator<Item = Frame>,
        from: PortId,
        pass: &mut Pass<'_>,
    ) {
        let mut packets = std::mem::take(&mut self.packets);
        packets.extend(frames.map(|frame| Packet::new(frame, from)));
        self.stages_and_sweep(&mut packets, pass);
        self.packets = packets;
    }

    fn stages_and_sweep(&mut self, packets: &mut Vec<Packet>, pass: &mut Pass<'_>) {
        if packets.is_empty() {
            return;
        }
        self.counters.flow_misses.add(packets.len() as u64);
        self.stages(packets, pass);
        let count = packets.len();
        self.sweep(packets, pass.pool);
        self.lap(Stage::Sweep, count);
    }

    /// Finds the flow of each frame. In rounds over the batch, so that the waits for memory overlap.
    fn look(
        &self,
        from: PortId,
        source: Source,
        batch: &mut Batch,
        sightings: &mut Vec<Sighting>,
        generation: &Generation,
    ) {
        sightings.clear();
        let vni = self.settings.vni;
        for frame in &mut *batch {
            let refused = match source {
                Source::Frames => self.strip_outer(generation, frame).err(),
                Source::Port | Source::Datagrams => None,
            };
            let glance = match source {
                _ if refused.is_some() => None,
                Source::Port => Glance::at(frame),
                Source::Datagrams | Source::Frames => Glance::at_datagram(frame, vni),
            };
            let hash = glance.as_ref().map_or(0, |glance| self.cache.hash(&glance.key));
            sightings.push(Sighting { glance, hash, place: NOWHERE, stretch: 0, refused });
        }
        for sighting in sightings.iter_mut().filter(|sighting| sighting.glance.is_some()) {
            sighting.place = self.cache.candidate(sighting.hash).unwrap_or(NOWHERE);
        }
        let mut stretch = 0_u8;
        for (sighting, frame) in sightings.iter_mut().zip(&*batch).rev() {
            let peer = frame.outer.map(|outer| outer.peer);
            let known = sighting
                .glance
                .as_ref()
                .is_some_and(|glance| self.cache.verified(sighting.place, glance, from, peer));
            stretch = if known { stretch.saturating_add(1) } else { 0 };
            sighting.stretch = stretch;
            if !known {
                sighting.place = NOWHERE;
            }
        }
        let known = sightings.iter().filter(|sighting| sighting.place != NOWHERE);
        self.connections.bring(known.filter_map(|sighting| self.cache.connection(sighting.place)));
    }

    /// Passes a packet of a known flow on. Gives the frame back, untouched, where all stages have to see it.
    #[inline]
    fn known(
        &mut self,
        source: Source,
        mut frame: Frame,
        sighting: &Sighting,
        pass: &mut Pass<'_>,
        tally: &mut Tally,
    ) -> Option<Frame> {
        let (Some(glance), Some((entry, decision))) = (&sighting.glance, self.cache.at(sighting.place))
        else {
            return Some(frame);
        };
        let hop = &decision.hop;
        // A SYN may open the connection anew, which has to be judged.
        if decision.routed && glance.ttl <= 1 || glance.ip_len > hop.mtu || glance.is_syn() {
            return Some(frame);
        }
        let bytes = glance.frame_len() as u32;
        let Some(fits) = self.connections.proceed(
            entry.connection,
            entry.dir,
            pass.generation.number,
            glance.signal(),
            bytes,
            pass.now,
        ) else {
            return Some(frame);
        };
        let tag = frame.tag;
        let outcome = if fits {
            frame.packets = 1;
            if source != Source::Port {
                frame.pull_front(header::HEADER_BYTES);
                frame.outer = None;
            }
            frame.truncate(glance.frame_len());
            if source != Source::Port {
                frame.checksum = glance.detected_checksum();
            }
            // Only where packets are joined are their headers asked for.
            let joins = hop.way.joins(glance.protocol);
            let parsed = joins.then(|| glance.headers(frame.bytes()));
            if decision.routed {
                let packet = frame.bytes_mut().get_mut(ethernet::HEADER_BYTES..).unwrap_or_default();
                // It is not going to expire: that was looked at.
                let _ = match glance.family {
                    Family::V4 => ipv4::decrement_ttl(packet),
                    Family::V6 => ipv6::decrement_ttl(packet),
                };
            }
            ethernet::set_macs(frame.bytes_mut(), hop.dst_mac, hop.src_mac);
            self.send_piece(pass, frame, glance.tos, parsed.as_ref(), &hop.way, entry.source_port)
        } else {
            pass.pool.give(frame);
            Err(DropReason::ConntrackInvalid)
        };
        match outcome {
            Ok(()) => tally.forwarded += 1,
            Err(DropReason::ConntrackInvalid) => tally.invalid += 1,
            Err(DropReason::BadHeader) => tally.bad_header += 1,
            Err(reason) => {
                tally.unsent += 1;
                self.counters.count_drop(reason, 1);
            }
        }
        if let Some(endings) = &mut self.endings {
            let ending = outcome.err().map_or(Ending::Forwarded, Ending::Dropped);
            endings.push(Ended { tag, ending, judged: [None; 2] });
        }
        None
    }

    fn count(&self, tally: &Tally) {
        let Tally { forwarded, invalid, bad_header, unsent } = *tally;
        let all = forwarded + invalid + bad_header + unsent;
        if all == 0 {
            return;
        }
        self.counters.flow_hits.add(all);
        self.counters.received.add(all);
        self.counters.forwarded.add(forwarded);
        self.counters.count_drop(DropReason::ConntrackInvalid, invalid);
        self.counters.count_drop(DropReason::BadHeader, bad_header);
    }

    /// Remembers the flow of a packet that the stages have passed on over `hop`.
    pub(super) fn remember(&mut self, packet: &Packet, hop: &Hop, source_port: u16) {
        let (Some(ip), Some((connection, dir))) = (&packet.ip, packet.connection) else { return };
        let known_kind = packet.frame.gso.is_none() && !packet.related && self.caching;
        let Some(key) = FlowKey::of(ip).filter(|_| known_kind) else { return };
        let (src_port, dst_port) = super::track::policy_ports(ip.l4);
        if LONG_WAY_PORTS.iter().any(|port| [src_port, dst_port].contains(port)) {
            return;
        }
        let routed = packet.vtep.is_some() || matches!(packet.destination, Party::Vtep(_));
        let flow = Flow {
            key,
            context: Context {
                from: packet.from,
                macs: Macs::new(packet.eth_dst, packet.eth_src),
                peer: packet.peer,
            },
            destination: Destination { party: packet.destination, family: ip.family, routed },
            connection,
            dir,
            source_port,
        };
        self.cache.remember(&flow, hop);
    }
}
