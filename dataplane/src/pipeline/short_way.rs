//! The short way: packets of flows that the flow cache knows, from port to port in one step.
//!
//! On entry a batch is as its port handed it over. On exit each packet of a known flow has been put to its connection
//! and stands in the outputs, or was dropped as `ct_invalid`, exactly as all stages together would have had it; what was
//! rejected at the `door`, or is of a flow that was refused of late (`refusals`), has been dropped; the others have gone
//! the long way. Order is kept: the batch falls into stretches, and what goes the long way is done before what follows it
//! begins. A stretch of few known packets between unknown ones goes with them, so that the long way always has something
//! to work on at once.
//!
//! What a known packet still has to show, each time: that it is well-formed (`glance`) and no SYN, which may open its
//! connection anew and has to be judged for it, that its TTL and size fit, that its connection is there, judged by this
//! generation and agrees with it. Otherwise the long way says what becomes of it.

use vxlan::mtu::Family;
use vxlan::wire::{ethernet, ipv4, ipv6, vxlan as header};

use super::Pipeline;
use super::bindings::{PortId, Role};
use super::emit::Pass;
use super::endings::{Ended, Ending};
use super::flow_cache::{Context, Decision, Destination, Flow};
use super::forward::Hop;
use super::glance::{FlowKey, Glance, Macs};
use super::look::{Known, Sighting, Source};
use super::packet::Packet;
use crate::buffer::{Batch, Frame, Pool};
use crate::drop_reason::DropReason;
use crate::tables::Party;
use crate::telemetry::Stage;

/// Fewer known packets than this between unknown ones go with them.
const SHORTEST: u8 = 4;

/// What became of the packets that went the short way.
#[derive(Default)]
pub(super) struct Tally {
    forwarded: u64,
    /// Dropped, of flows that are known.
    pub(super) dropped: u64,
    /// Dropped at the door.
    at_door: u64,
    /// The last reason for a drop, and how many in a row had it that are not counted yet.
    row: Option<(DropReason, u64)>,
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
        // Once packets have gone the long way the flow cache is not what was looked at: they may have taken places over.
        let mut stirred = false;
        for (number, (mut frame, sighting)) in batch.drain(..).zip(&sightings).enumerate() {
            if sighting.known != Known::Nothing && (waiting.is_empty() || sighting.stretch >= SHORTEST) {
                stirred |= !waiting.is_empty();
                self.stages_and_sweep(&mut waiting, pass, &sightings);
                let left = match sighting.known {
                    Known::Flow(place) => {
                        let (glance, peer) = (&sighting.glance, frame.outer.map(|outer| outer.peer));
                        let left = if stirred && !self.cache.verified(place, glance, from, peer) {
                            Some(frame)
                        } else {
                            self.known(source, frame, glance, place, pass, &mut tally)
                        };
                        // Of a connection that is over: its flow may have been refused since.
                        left.and_then(|frame| self.refused(from, frame, sighting, pass, &mut tally))
                    }
                    Known::Refusal => self.refused(from, frame, sighting, pass, &mut tally),
                    Known::Rejected(reason) => self.turn_away(frame, reason, sighting, pass.pool, &mut tally),
                    Known::Nothing | Known::Candidate(_) => Some(frame),
                };
                let Some(left) = left else {
                    count += 1;
                    continue;
                };
                frame = left;
            }
            let mut packet = Packet::new(frame, from);
            packet.stripped = source == Source::Frames;
            packet.sighting = number as u32;
            if let (Known::Rejected(reason), None) = (sighting.known, sighting.witness) {
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
        self.stages_and_sweep(&mut waiting, pass, &sightings);
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
        self.stages_and_sweep(&mut packets, pass, &[]);
        self.packets = packets;
    }

    fn stages_and_sweep(&mut self, packets: &mut Vec<Packet>, pass: &mut Pass<'_>, sightings: &[Sighting]) {
        if packets.is_empty() {
            return;
        }
        self.counters.flow_misses.add(packets.len() as u64);
        self.stages(packets, pass);
        let count = packets.len();
        self.sweep(packets, pass.pool, sightings);
        self.lap(Stage::Sweep, count);
    }

    /// Drops a frame that was rejected at the door. Gives it back where it would not be any more.
    fn turn_away(
        &mut self,
        frame: Frame,
        reason: DropReason,
        sighting: &Sighting,
        pool: &mut Pool,
        tally: &mut Tally,
    ) -> Option<Frame> {
        if sighting.witness.is_some_and(|witness| !self.connections.is_still_absent(witness)) {
            return Some(frame);
        }
        tally.at_door += 1;
        self.end(frame, reason, pool, tally);
        None
    }

    /// Gives back the memory of a frame that is dropped.
    pub(super) fn end(&mut self, frame: Frame, reason: DropReason, pool: &mut Pool, tally: &mut Tally) {
        match &mut tally.row {
            Some((last, count)) if *last == reason => *count += 1,
            row => {
                if let Some((last, count)) = row.replace((reason, 1)) {
                    self.counters.count_drop(last, count);
                }
            }
        }
        if let Some(endings) = &mut self.endings {
            endings.push(Ended { tag: frame.tag, ending: Ending::Dropped(reason), judged: [None; 2] });
        }
        pool.give(frame);
    }

    /// Passes a packet of a known flow on. Gives the frame back, untouched, where all stages have to see it.
    #[inline]
    fn known(
        &mut self,
        source: Source,
        mut frame: Frame,
        glance: &Glance,
        place: u32,
        pass: &mut Pass<'_>,
        tally: &mut Tally,
    ) -> Option<Frame> {
        let Some((entry, decision)) = self.cache.at(place) else { return Some(frame) };
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
        if !fits {
            tally.dropped += 1;
            self.end(frame, DropReason::ConntrackInvalid, pass.pool, tally);
            return None;
        }
        let tag = frame.tag;
        let source_port = entry.source_port;
        // Only where packets are joined are their headers asked for.
        let outcome = if hop.way.joins(glance.protocol) {
            rewrite(&mut frame, source, glance, decision);
            let headers = glance.headers(frame.bytes());
            self.send_piece(pass, frame, glance.tos, Some(&headers), &hop.way, source_port)
        } else {
            // First where it goes, then changed: what is moved right after it was changed stalls the processor.
            let frame = pass.out.place(hop.way.port, frame);
            let ready = frame.map_or(Err(DropReason::PortUnattached), |frame| {
                rewrite(frame, source, glance, decision);
                self.make_ready(pass.generation, frame, glance.tos, &hop.way, source_port)
            });
            if ready.is_err() {
                pass.out.take_back(hop.way.port).into_iter().for_each(|frame| pass.pool.give(frame));
            }
            ready
        };
        match outcome {
            Ok(()) => tally.forwarded += 1,
            Err(reason) => {
                tally.dropped += 1;
                self.counters.count_drop(reason, 1);
            }
        }
        if let Some(endings) = &mut self.endings {
            let ending = outcome.err().map_or(Ending::Forwarded, Ending::Dropped);
            endings.push(Ended { tag, ending, judged: [None; 2] });
        }
        None
    }

    fn count(&mut self, tally: &Tally) {
        let Tally { forwarded, dropped, at_door, row } = *tally;
        let known = forwarded + dropped;
        if known + at_door == 0 {
            return;
        }
        self.counters.flow_hits.add(known);
        self.counters.flow_misses.add(at_door);
        self.counters.received.add(known + at_door);
        self.counters.forwarded.add(forwarded);
        if let Some((reason, count)) = row {
            self.counters.count_drop(reason, count);
        }
        self.log_denials();
    }

    /// Remembers the flow of a packet that the stages have passed on over `hop`.
    pub(super) fn remember(&mut self, packet: &Packet, hop: &Hop, source_port: u16) {
        let (Some(ip), Some((connection, dir))) = (&packet.ip, packet.connection) else { return };
        let known_kind = packet.frame.gso.is_none() && !packet.related && self.caching;
        let Some(key) = FlowKey::of(ip).filter(|_| known_kind) else { return };
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

/// Makes of a frame what the stages would: takes off its tunnel and padding, counts its TTL down, and gives it the MACs
/// of its next hop.
#[inline]
fn rewrite(frame: &mut Frame, source: Source, glance: &Glance, decision: &Decision) {
    frame.packets = 1;
    if source != Source::Port {
        frame.pull_front(header::HEADER_BYTES);
        frame.outer = None;
    }
    frame.truncate(glance.frame_len());
    if source != Source::Port {
        frame.checksum = glance.detected_checksum();
    }
    if decision.routed {
        let packet = frame.bytes_mut().get_mut(ethernet::HEADER_BYTES..).unwrap_or_default();
        // It is not going to expire: that was looked at.
        let _ = match glance.family {
            Family::V4 => ipv4::decrement_ttl(packet),
            Family::V6 => ipv6::decrement_ttl(packet),
        };
    }
    ethernet::set_macs(frame.bytes_mut(), decision.hop.dst_mac, decision.hop.src_mac);
}
