//! Look: what a batch holds, before any of it moves.
//!
//! On entry a batch is as its port handed it over; whole frames of the underlay lose their outer headers here. On exit
//! there is a [`Sighting`] of each frame: that its flow is in the flow cache, or was refused of late, that it was rejected
//! at the `door`, or nothing. Whether that still holds when its turn comes is for `short_way` to ask.

use super::Pipeline;
use super::bindings::PortId;
use super::glance::Glance;
use crate::buffer::Batch;
use crate::conntrack::Witness;
use crate::drop_reason::DropReason;
use crate::tables::Generation;

/// What was seen of a frame before it moved.
#[derive(Clone, Copy)]
pub(super) struct Sighting {
    pub(super) glance: Glance,
    /// The glance took the frame in.
    pub(super) taken: bool,
    pub(super) hash: u64,
    pub(super) known: Known,
    /// Of one that was rejected: for as long as this holds.
    pub(super) witness: Option<Witness>,
    /// Known packets from here on, as far as it matters.
    pub(super) stretch: u8,
}

impl Sighting {
    const NONE: Self = Self {
        glance: Glance::EMPTY,
        taken: false,
        hash: 0,
        known: Known::Nothing,
        witness: None,
        stretch: 0,
    };
}

/// What is known of a packet by its headers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// The flow cache may have its flow there.
    Candidate(u32),
    /// The flow cache has its flow there.
    Flow(u32),
    /// Its flow was refused of late.
    Refusal,
    /// It was rejected at the door.
    Rejected(DropReason),
}

/// Where the frames of a batch come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Port,
    Datagrams,
    /// Whole frames of the underlay, whose outer headers are taken off before anything else.
    Frames,
}

impl Pipeline {
    /// Finds the flow of each frame. In rounds over the batch, so that the waits for memory overlap.
    pub(super) fn look(
        &self,
        from: PortId,
        source: Source,
        batch: &mut Batch,
        sightings: &mut Vec<Sighting>,
        generation: &Generation,
    ) {
        if sightings.len() < batch.len() {
            sightings.resize(batch.len(), Sighting::NONE);
        }
        let vni = self.settings.vni;
        for (frame, sighting) in batch.iter_mut().zip(&mut *sightings) {
            let stripped = match source {
                Source::Frames => self.strip_outer(generation, frame),
                Source::Port | Source::Datagrams => Ok(()),
            };
            sighting.taken = match source {
                _ if stripped.is_err() => false,
                Source::Port => sighting.glance.at(frame),
                Source::Datagrams | Source::Frames => sighting.glance.at_datagram(frame, vni),
            };
            sighting.known = Known::Nothing;
            if sighting.taken {
                sighting.hash = self.cache.hash(&sighting.glance.key);
                self.cache.bring_set(sighting.hash);
            } else {
                let witness = &mut sighting.witness;
                let rejected = self.rejected(source, generation, from, frame, stripped, witness);
                sighting.known = rejected.map_or(Known::Nothing, Known::Rejected);
            }
        }
        let sightings = sightings.get_mut(..batch.len()).unwrap_or_default();
        for sighting in sightings.iter_mut().filter(|sighting| sighting.taken) {
            if let Some(place) = self.cache.candidate(sighting.hash) {
                sighting.known = Known::Candidate(place);
                self.cache.bring_entry(place);
            }
        }
        let mut stretch = 0_u8;
        for (sighting, frame) in sightings.iter_mut().zip(&*batch).rev() {
            if sighting.taken {
                let glance = &sighting.glance;
                let peer = frame.outer.map(|outer| outer.peer);
                sighting.known = match sighting.known {
                    Known::Candidate(place) if self.cache.verified(place, glance, from, peer) => {
                        self.connections.bring(self.cache.connection(place).into_iter());
                        Known::Flow(place)
                    }
                    _ if self.refusal(sighting.hash, glance, from, peer).is_some() => Known::Refusal,
                    _ => Known::Nothing,
                };
            }
            stretch = if sighting.known == Known::Nothing { 0 } else { stretch.saturating_add(1) };
            sighting.stretch = stretch;
        }
    }
}
