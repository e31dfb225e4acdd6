//! The pipeline: what happens to a packet, in order.
//!
//! ```text
//!            underlay                        every port
//!  batch ──► decap ──┐                  ┌────────────────────────────────────────────────────┐
//!                    ├─► parse ─► guard ─► fragments ─► track ─► policy ─► forward ─► emit ──► ports
//!  batch ────────────┘              │
//!   pod, node TAP                   └─► neighbour: ARP and ND are answered, never forwarded
//! ```
//! Ahead of the stages `look` sees what a batch holds: packets of known flows take the `short_way` past all of them, and
//! what they would drop whatever came before it ends at the `door`. Each stage is a file, works over the whole batch, and
//! may end a packet with a [`DropReason`]. [`Pipeline::process`] is the one place that says what comes next; the sweep at
//! its end is the one place that counts.
//!
//! One worker owns a pipeline. It reads no clock, makes no system call and takes no lock on the way of a
//! forwarded packet; it allocates nothing per packet once its vectors have grown to the batch.

mod bindings;
mod decap;
mod door;
mod emit;
mod endings;
mod flow_cache;
mod forward;
mod fragment;
mod glance;
mod guard;
mod look;
mod neighbour;
mod packet;
mod parse;
mod policy;
mod refusals;
mod short_way;
#[cfg(test)]
mod tests;
mod track;

pub use bindings::{Binding, Bindings, PortId, Role};
pub use emit::Outputs;
pub use endings::{Ended, Ending};

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use vxlan::encap::OuterChecksum;
use vxlan::vni::Vni;

use crate::buffer::{Batch, Frame, Pool};
use crate::conntrack::{ConnTable, ConntrackConfig};
use crate::drop_reason::DropReason;
use crate::fragments::{FragConfig, FragTable};
use crate::respond::RateLimiter;
use crate::tables::Generation;
use crate::telemetry::{Denial, DenialLog, PacketCounters, Stage, StageTimer};
use crate::time::Timestamp;
use emit::Pass;
use flow_cache::FlowCache;
use look::Sighting;
use packet::{Fate, FirstFragment, Packet};

/// What stays the same over the life of a pipeline.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The VXLAN network of the cluster.
    pub vni: Vni,
    /// UDP port VXLAN is spoken on.
    pub vxlan_port: u16,
    /// Drop VXLAN packets with reserved bits set, as Linux does; RFC 7348 section 5 has them ignored.
    pub strict_reserved: bool,
    /// Checksum of outer UDP headers that weir builds itself.
    pub outer_checksum: OuterChecksum,
    /// The connection table.
    pub conntrack: ConntrackConfig,
    /// The fragment table.
    pub fragments: FragConfig,
}

/// A worker's packet path.
pub struct Pipeline {
    settings: Settings,
    generation: Option<Arc<Generation>>,
    bindings: Bindings,
    connections: Arc<ConnTable>,
    cache: FlowCache,
    /// False where every packet is to go through all stages.
    caching: bool,
    fragments: FragTable<FirstFragment>,
    counters: Arc<PacketCounters>,
    denial_log: Arc<DenialLog>,
    answer_limit: RateLimiter,
    icmp_limit: RateLimiter,
    flow_hash: ahash::RandomState,
    /// Of the next IPv4 packet whose outer headers weir builds.
    identification: Cell<u16>,
    next_resolve: Timestamp,
    // Kept between batches for their capacity alone.
    packets: Vec<Packet>,
    sightings: Vec<Sighting>,
    /// Alike ones in a row counted together.
    denials: Vec<(Denial, u64)>,
    questions: policy::Questions,
    lookups: track::Lookups,
    released: Batch,
    expired: Vec<(Frame, DropReason)>,
    pieces: Batch,
    /// What became of each packet, where somebody wants to know.
    endings: Option<Vec<Ended>>,
    /// Where somebody wants to know what the stages take.
    timer: Option<StageTimer>,
}

/// Neighbour answers per second and worker, and how many at once.
const ANSWERS: (u32, u32) = (10_000, 2_000);
/// ICMP errors per second and worker, and how many at once (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).
const ICMP_ERRORS: (u32, u32) = (1_000, 100);
/// How often the MAC of a pod that has not spoken yet is asked for.
const RESOLVE_EVERY: Duration = Duration::from_millis(500);
/// Ended connections removed with each batch, and with each tick.
const BATCH_EXPIRE: usize = 32;
const TICK_EXPIRE: usize = 4096;
/// Places of the connection table searched with each tick for connections of pods that are gone.
const TICK_PURGE: u32 = 4096;

impl Pipeline {
    /// A pipeline without ports and without a generation: it drops everything as `starting`.
    pub fn new(settings: Settings, counters: Arc<PacketCounters>, denial_log: Arc<DenialLog>) -> Self {
        let connections = ConnTable::keyed_at_random(settings.conntrack.clone());
        Self::sharing(settings, counters, denial_log, Arc::new(connections))
    }

    /// [`Pipeline::new`] with a connection table that other workers use too: the two directions of a
    /// connection may come in on two of them.
    pub fn sharing(
        settings: Settings,
        counters: Arc<PacketCounters>,
        denial_log: Arc<DenialLog>,
        connections: Arc<ConnTable>,
    ) -> Self {
        Self {
            generation: None,
            bindings: Bindings::default(),
            connections,
            cache: FlowCache::new(settings.conntrack.max_entries),
            caching: true,
            fragments: FragTable::new(settings.fragments.clone()),
            counters,
            denial_log,
            answer_limit: RateLimiter::new(ANSWERS.0, ANSWERS.1),
            icmp_limit: RateLimiter::new(ICMP_ERRORS.0, ICMP_ERRORS.1),
            flow_hash: ahash::RandomState::new(),
            // Workers begin apart.
            identification: Cell::new(ahash::RandomState::new().hash_one(0) as u16),
            next_resolve: Timestamp::ZERO,
            packets: Vec::new(),
            sightings: Vec::new(),
            denials: Vec::new(),
            questions: policy::Questions::default(),
            lookups: track::Lookups::default(),
            released: Batch::new(),
            expired: Vec::new(),
            pieces: Batch::new(),
            endings: None,
            timer: None,
            settings,
        }
    }

    /// A pipeline for another worker, which shares with this one the connections, the fragments under way, and how flows
    /// are spread over source ports.
    #[must_use]
    pub fn beside(&self, counters: Arc<PacketCounters>) -> Self {
        let mut other = Self::sharing(
            self.settings.clone(),
            counters,
            Arc::clone(&self.denial_log),
            Arc::clone(&self.connections),
        );
        other.fragments = self.fragments.clone();
        other.flow_hash = self.flow_hash.clone();
        other
    }

    /// Judges from the next batch on by `generation`. Open connections are judged again when their next
    /// packet comes.
    pub fn take_up(&mut self, generation: Arc<Generation>) {
        self.cache.forget();
        self.bindings.rebind(Some(&generation));
        self.connections.begin_purge(generation.number as u32);
        self.generation = Some(generation);
    }

    /// Adds a port.
    pub fn attach(&mut self, binding: Binding) -> PortId {
        self.cache.forget();
        let id = self.bindings.add(binding);
        self.bindings.rebind(self.generation.as_deref());
        id
    }

    /// Takes a port out. Packets to its pod are dropped from now on.
    pub fn detach(&mut self, id: PortId) -> Option<Binding> {
        self.cache.forget();
        let binding = self.bindings.remove(id);
        self.bindings.rebind(self.generation.as_deref());
        binding
    }

    /// The ports.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// The ports, to change what is known of one.
    pub fn bindings_mut(&mut self) -> &mut Bindings {
        self.cache.forget();
        &mut self.bindings
    }

    /// The connections followed now.
    pub fn connections(&self) -> &Arc<ConnTable> {
        &self.connections
    }

    /// Begins to time the stages of a few batches, or ends it.
    pub fn time_stages(&mut self, timer: impl Into<Option<StageTimer>>) {
        self.timer = timer.into();
    }

    fn lap(&mut self, stage: Stage, packets: usize) {
        if let Some(timer) = &mut self.timer {
            timer.lap(stage, packets);
        }
    }

    /// Takes the frames of `batch`, received at `now` from port `from`, through all stages; what is to be sent
    /// stands in `out` afterwards, everything else is counted and back in the pool.
    pub fn process(
        &mut self,
        from: PortId,
        batch: &mut Batch,
        now: Timestamp,
        pool: &mut Pool,
        out: &mut Outputs,
    ) {
        if let Some(timer) = &mut self.timer {
            timer.begin();
        }
        self.expire(now, BATCH_EXPIRE, pool);
        let Some(generation) = self.generation.clone() else {
            let mut packets = std::mem::take(&mut self.packets);
            packets.extend(batch.drain(..).map(|frame| Packet::new(frame, from)));
            for packet in &mut packets {
                packet.drop(DropReason::Starting);
            }
            self.sweep(&mut packets, pool, &[]);
            self.packets = packets;
            return;
        };
        self.short_way(from, batch, &mut Pass { generation: &generation, now, pool, out });
    }

    /// The long way: all stages, in order.
    fn stages(&mut self, packets: &mut Vec<Packet>, pass: &mut Pass<'_>) {
        let (generation, now) = (pass.generation, pass.now);
        self.decap(generation, packets);
        self.lap(Stage::Decap, packets.len());
        // A first fragment sets free the later ones that came before it: they go through the early stages
        // again, behind it.
        let mut begin = 0;
        while begin < packets.len() {
            let fresh = packets.get_mut(begin..).unwrap_or_default();
            let count = fresh.len();
            self.parse(fresh);
            self.lap(Stage::Parse, count);
            self.guard(generation, fresh, now, pass.out);
            self.lap(Stage::Guard, count);
            let seen = packets.len();
            self.fragments(packets, begin, now);
            begin = seen;
        }
        self.check_tunnels(generation, packets);
        self.lap(Stage::Fragments, packets.len());
        self.track(packets);
        self.lap(Stage::Track, packets.len());
        self.policy(generation, packets, now);
        self.lap(Stage::Policy, packets.len());
        self.forward(packets, pass);
        self.lap(Stage::Forward, packets.len());
    }

    /// Housekeeping between batches: ends connections and datagrams whose time is up, asks for MACs.
    pub fn tick(&mut self, now: Timestamp, pool: &mut Pool, out: &mut Outputs) {
        self.expire(now, TICK_EXPIRE, pool);
        self.purge();
        self.counters.connections.set(self.connections.len() as u64);
        if now >= self.next_resolve {
            self.next_resolve = now.plus(RESOLVE_EVERY);
            self.resolve_neighbours(pool, out);
        }
    }

    /// Ends the connections of pods that are gone. They can carry no packet any more, but established ones would
    /// keep their places for days (`tcp_established`), and pods that come and go would fill the table with them. The workers
    /// share that work.
    fn purge(&mut self) {
        let Some(generation) = &self.generation else { return };
        self.connections.purge(generation.number as u32, TICK_PURGE, |connection| {
            !generation.is_live(connection.source_owner) || !generation.is_live(connection.dest_owner)
        });
    }

    /// Ends what is over at `now`. From here on the tables find nothing that ended before, whether or not the
    /// budget sufficed to remove it.
    fn expire(&mut self, now: Timestamp, budget: usize, pool: &mut Pool) {
        self.connections.expire(now, budget);
        self.fragments.expire(now, &mut self.expired);
        for (frame, reason) in self.expired.drain(..) {
            self.counters.held.lower(1);
            self.counters.count_drop(reason, 1);
            if let Some(endings) = &mut self.endings {
                endings.push(Ended { tag: frame.tag, ending: Ending::Dropped(reason), judged: [None; 2] });
            }
            pool.give(frame);
        }
    }

    /// Counts every packet under what became of it and gives the memory of the ended ones back.
    fn sweep(&mut self, packets: &mut Vec<Packet>, pool: &mut Pool, sightings: &[Sighting]) {
        let (mut received, mut forwarded, mut answered) = (0, 0, 0);
        for packet in packets.iter_mut() {
            if let Some(endings) = &mut self.endings {
                endings.push(Ended::of(packet));
            }
            received += u64::from(!packet.counted);
            match packet.fate {
                Fate::Forwarded => forwarded += 1,
                Fate::Answered => answered += 1,
                // Counted where it was held.
                Fate::Held => {}
                Fate::Dropped(reason) => {
                    self.counters.count_drop(reason, 1);
                    self.remember_refusal(packet, sightings);
                }
                // No stage lets a packet through to here; were one to, it is not forwarded and it is counted.
                Fate::Live => self.counters.count_drop(DropReason::NoRoute, 1),
            }
            if !packet.frame.is_hollow() {
                pool.give(packet.take_frame(packet.fate));
            }
        }
        packets.clear();
        self.counters.received.add(received);
        self.counters.forwarded.add(forwarded);
        self.counters.answered.add(answered);
        self.log_denials();
    }

    /// Adds what a batch was denied to the log.
    fn log_denials(&mut self) {
        if let (false, Some(generation)) = (self.denials.is_empty(), &self.generation) {
            self.denial_log.add(&generation.rules, &self.denials);
            self.denials.clear();
        }
    }
}
