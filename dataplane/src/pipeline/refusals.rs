//! Refusals: flows of late whose packets were dropped, and why, so that a drop costs less than what it keeps out.
//!
//! Key: as in the flow cache, the flow and where its packet came from. Value: a [`Refusal`], which says what the next
//! packet has to be like to end in the same way. Anything else goes the long way, which is asked again.
//!
//! A refusal never lets a packet through. That it drops none that the stages would pass on now:
//!
//! - It ends with the epoch of the flow cache: each generation, each change of a port.
//! - Where the reason is that no connection is there, a [`Witness`] of the connection table stands beside it: as soon as
//!   any connection has been opened in that flow's shard, the refusal is none.
//! - A packet by which something else happens than its end and the counting of it is never remembered: what a rule wants
//!   noted, what is owed an ICMP error now.
//!
//! 64 KiB a worker: one place for each of 512 values of the hash. A flow enters with its second packet in a row there,
//! so that a flood of new ones costs a store each; whoever has the same hash comes in its stead.

use std::net::IpAddr;

use policy_compiler::{Direction, RuleId};

use super::Pipeline;
use super::bindings::PortId;
use super::emit::Pass;
use super::glance::{FlowKey, Glance, Macs};
use super::look::Sighting;
use super::packet::Packet;
use super::short_way::Tally;
use crate::buffer::Frame;
use crate::conntrack::{ConnTable, Witness};
use crate::drop_reason::DropReason;
use crate::telemetry::Denial;

const PLACES: usize = 512;

/// What ends the packets of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Who sends them to whom, whatever else is known.
    Ends(DropReason),
    /// Without a connection: the policy's denial.
    Denied(Direction, RuleId),
    /// Without a connection: this.
    Closed(DropReason),
    /// Without a connection: that they open none, unless one does.
    Unopened,
    /// They would open a connection if there were a way on.
    NoWay(DropReason),
    /// They would open a connection if they had a way on: their TTL, where it goes down, or their size are against it.
    Stranded {
        /// The TTL goes down by one.
        routed: bool,
        /// Largest packet of the way.
        mtu: u16,
    },
}

impl Refusal {
    /// True where a connection would change it.
    pub(super) const fn wants_witness(self) -> bool {
        !matches!(self, Self::Ends(_))
    }
}

/// A refusal and, where it wants one, the witness that no connection is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) witness: Option<Witness>,
}

/// A refused flow.
#[derive(Clone, Copy)]
#[repr(align(128))]
struct Entry {
    key: FlowKey,
    macs: Macs,
    peer: Option<IpAddr>,
    from: PortId,
    epoch: u32,
    refused: Refused,
}

const _: () = assert!(size_of::<Entry>() == 128);

/// Those remembered.
pub(super) struct Refusals {
    entries: Vec<Option<Entry>>,
    /// Which hash was refused last, by place.
    last: Vec<u64>,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self { entries: vec![None; PLACES], last: vec![0; PLACES] }
    }

    /// What is known of the packets of this flow.
    #[inline]
    pub(super) fn find(
        &self,
        hash: u64,
        glance: &Glance,
        from: PortId,
        peer: Option<IpAddr>,
        epoch: u32,
    ) -> Option<&Refused> {
        let place = place(hash);
        if *self.last.get(place)? != hash {
            return None;
        }
        let entry = self.entries.get(place)?.as_ref()?;
        let same = entry.epoch == epoch
            && entry.key.is(&glance.key)
            && entry.macs == glance.macs
            && entry.from == from
            && entry.peer == peer;
        same.then_some(&entry.refused)
    }

    /// True if the flow of this hash was the last one refused at its place, so that it is worth remembering.
    #[inline]
    pub(super) fn comes_again(&mut self, hash: u64) -> bool {
        self.last.get_mut(place(hash)).is_some_and(|last| std::mem::replace(last, hash) == hash)
    }

    /// Remembers a flow.
    pub(super) fn remember(
        &mut self,
        hash: u64,
        glance: &Glance,
        from: PortId,
        peer: Option<IpAddr>,
        epoch: u32,
        refused: Refused,
    ) {
        if let Some(entry) = self.entries.get_mut(place(hash)) {
            let (key, macs) = (glance.key, glance.macs);
            *entry = Some(Entry { key, macs, peer, from, epoch, refused });
        }
    }
}

impl Pipeline {
    /// Why the packets of this flow are dropped, if they are. Who asks what became of each packet asks for verdicts too,
    /// which are not remembered.
    #[inline]
    pub(super) fn refusal(
        &self,
        hash: u64,
        glance: &Glance,
        from: PortId,
        peer: Option<IpAddr>,
    ) -> Option<&Refused> {
        if self.endings.is_some() {
            return None;
        }
        self.cache.refusals.find(hash, glance, from, peer, self.cache.epoch())
    }

    /// Drops a packet of a flow that was refused of late. Gives the frame back where all stages have to see it.
    pub(super) fn refused(
        &mut self,
        from: PortId,
        frame: Frame,
        sighting: &Sighting,
        pass: &mut Pass<'_>,
        tally: &mut Tally,
    ) -> Option<Frame> {
        let glance = &sighting.glance;
        let peer = frame.outer.map(|outer| outer.peer);
        // What came before it in the batch may have taken its place, or begun a new epoch.
        let Some(&Refused { refusal, witness }) = self.refusal(sighting.hash, glance, from, peer) else {
            return Some(frame);
        };
        if refusal.wants_witness()
            && !witness.is_some_and(|witness| self.connections.is_still_absent(witness))
        {
            return Some(frame);
        }
        let may_open = ConnTable::may_open(glance.signal());
        let reason = match refusal {
            Refusal::Unopened | Refusal::NoWay(_) | Refusal::Stranded { .. } if !may_open => {
                DropReason::ConntrackInvalid
            }
            Refusal::Ends(reason) | Refusal::Closed(reason) | Refusal::NoWay(reason) => reason,
            Refusal::Denied(direction, rule) => {
                let (src, dst) = glance.addresses();
                self.count_denial(Denial { direction, src, dst, rule });
                DropReason::PolicyDeny
            }
            // Its sender is owed an error, if not too many were of late.
            Refusal::Stranded { .. } if self.icmp_limit.would_allow(pass.now) => return Some(frame),
            Refusal::Stranded { routed: true, .. } if glance.ttl <= 1 => DropReason::TtlExpired,
            // Out of the tunnel a long segment may stand for several.
            Refusal::Stranded { mtu, .. }
                if glance.ip_len > mtu
                    && glance.must_stay_whole()
                    && !(peer.is_some() && glance.is_tcp()) =>
            {
                DropReason::TooBig
            }
            Refusal::Unopened | Refusal::Stranded { .. } => return Some(frame),
        };
        tally.dropped += 1;
        self.end(frame, reason, pass.pool, tally);
        None
    }

    /// Remembers why a packet was dropped, where the next one of its flow is going to be.
    pub(super) fn remember_refusal(&mut self, packet: &Packet, sightings: &[Sighting]) {
        let Some(refusal) = packet.refusal else { return };
        let sighting = sightings.get(packet.sighting as usize).filter(|sighting| sighting.taken);
        let Some(&Sighting { ref glance, hash, .. }) = sighting else { return };
        if !self.cache.refusals.comes_again(hash) {
            return;
        }
        let peer = packet.peer.or(packet.frame.outer.map(|outer| outer.peer));
        let witness = packet.tuple.as_ref().and_then(|tuple| self.connections.witness(tuple));
        if refusal.wants_witness() && witness.is_none() {
            return;
        }
        let epoch = self.cache.epoch();
        let refused = Refused { refusal, witness };
        self.cache.refusals.remember(hash, glance, packet.from, peer, epoch, refused);
    }
}

/// The bits of the hash above those that choose the flow cache's set.
const fn place(hash: u64) -> usize {
    (hash >> 48) as usize % PLACES
}
