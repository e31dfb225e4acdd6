//! A worker's loop.
//!
//! # Waiting
//! While something is due the worker looks for more without sleeping, and sleeps as soon as every port was drained: what
//! came in the meantime ends the sleep before it begins. It does not ask on for a while first; decision 0022 has what that
//! was found to cost. With `busy_poll` it never sleeps. Where it sleeps often and shortly, processors are kept from
//! falling asleep with it ([`super::wakefulness`]).

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};
use vxlan::mac::Mac;

use super::group::WAKE;
use super::slots::{Announced, Slot, Slots};
use super::wakefulness::Sleeps;
use super::watch::Watch;
use crate::buffer::{BATCH_FRAMES, Batch, Pool};
use crate::drop_reason::DropReason;
use crate::pipeline::{Binding, Outputs, Pipeline, PortId};
use crate::ports::{Gone, Peers, Port};
use crate::tables::{Generation, Subscription};
use crate::telemetry::{LoopCounters, PacketCounters, PortCounters};
use crate::time::Timestamp;

/// What a worker is made of.
pub(super) struct WorkerConfig {
    pub(super) pool: Pool,
    pub(super) busy_poll: bool,
    pub(super) sleeps: Sleeps,
    /// When time began, for all workers.
    pub(super) epoch: Instant,
    pub(super) poll: Poll,
    pub(super) subscription: Subscription,
    pub(super) pipeline: Pipeline,
    pub(super) counters: Arc<PacketCounters>,
    pub(super) steps: Arc<LoopCounters>,
    pub(super) watch: Watch,
    pub(super) inbox: Receiver<Command>,
    pub(super) reports: Sender<Report>,
}

/// What a worker tells the control side.
pub(super) enum Report {
    /// A queue died.
    Gone { counters: Arc<PortCounters>, error: io::Error },
    /// A packet told the MAC behind a port.
    Learned { counters: Arc<PortCounters>, mac: Mac },
}

/// Longest sleep, so that timers run.
const TICK: Duration = Duration::from_millis(50);
/// Longest time spent at the end on packets that had come in before.
const DRAIN: Duration = Duration::from_millis(50);
/// Under load, housekeeping runs at least this often.
const BUSY_TICK: Duration = Duration::from_millis(10);
/// Every port is asked this often, announced or not: what was set down and then deleted announces nothing.
const LOOK: Duration = Duration::from_millis(200);
/// Every port is asked for its losses this often.
const LOSSES: Duration = Duration::from_millis(500);

pub(super) enum Command {
    Attach {
        binding: Binding,
        port: Box<dyn Port>,
        counters: Arc<PortCounters>,
        reply: Sender<io::Result<PortId>>,
    },
    Detach {
        id: PortId,
        reply: Sender<Option<Box<dyn Port>>>,
    },
    Update {
        id: PortId,
        mac: Option<Mac>,
        mtu: Option<u16>,
    },
    Mac {
        id: PortId,
        reply: Sender<Option<Mac>>,
    },
    /// Whether stages are timed from now on.
    Time(bool),
    Stop,
}

pub(super) struct Worker {
    config: WorkerConfig,
    slots: Slots,
    /// The ports of this round; kept for its capacity alone.
    turn: Vec<PortId>,
    batch: Batch,
    out: Outputs,
    dead: Vec<(PortId, io::Error)>,
    next_tick: Timestamp,
    next_look: Timestamp,
    next_losses: Timestamp,
    /// The other nodes of the generation in force.
    peers: Option<Peers>,
}

impl Worker {
    pub(super) fn new(config: WorkerConfig) -> Self {
        Self {
            config,
            slots: Slots::default(),
            turn: Vec::new(),
            batch: Batch::with_capacity(BATCH_FRAMES),
            out: Outputs::default(),
            dead: Vec::new(),
            next_tick: Timestamp::ZERO,
            next_look: Timestamp::ZERO,
            next_losses: Timestamp::ZERO,
            peers: None,
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            if !self.obey() {
                self.drain();
                return;
            }
            if let Some(generation) = self.config.subscription.changed() {
                let number = generation.number;
                self.introduce(&generation);
                self.config.pipeline.take_up(generation);
                self.config.subscription.acknowledge(number);
            }
            let now = self.now();
            self.round(now);
            self.bury();
            if now >= self.next_tick {
                self.keep_house(now);
            }
            self.wait(&mut events);
        }
    }

    /// Tells the ports who the other nodes are.
    fn introduce(&mut self, generation: &Arc<Generation>) {
        let generation = Arc::clone(generation);
        let peers: Peers = Arc::new(move |peer| generation.fdb.by_underlay(peer).is_some());
        for (_, slot) in self.slots.iter_mut() {
            slot.port.trust(&peers);
        }
        self.peers = Some(peers);
    }

    /// What has to be done every now and then.
    fn keep_house(&mut self, now: Timestamp) {
        self.next_tick = now.plus(BUSY_TICK);
        let restless = self.config.sleeps.judge(now);
        self.config.steps.restless.set(u64::from(restless));
        self.config.pipeline.tick(now, &mut self.config.pool, &mut self.out);
        self.flush();
        self.tell_learned();
        if now >= self.next_look {
            self.next_look = now.plus(LOOK);
            self.slots.mark_all();
        }
        if now >= self.next_losses {
            self.next_losses = now.plus(LOSSES);
            self.slots.iter_mut().for_each(|(_, slot)| slot.counters.rx_lost.add(slot.port.losses()));
        }
    }

    /// Waits for something to come, or not at all while there is something left to do.
    fn wait(&mut self, events: &mut Events) {
        let sleeps = !self.config.busy_poll && !self.slots.any_announced();
        self.config.steps.sleeps.add(u64::from(sleeps));
        let begin = (sleeps && self.config.sleeps.matter()).then(|| self.now());
        match self.config.poll.poll(events, Some(if sleeps { TICK } else { Duration::ZERO })) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => {
                // Nothing to wait on: fall back to looking every now and then rather than spin or stop.
                std::thread::sleep(Duration::from_millis(1));
                self.slots.mark_all();
            }
        }
        if let Some(begin) = begin {
            let end = self.now();
            self.config.sleeps.add(begin, end);
        }
        for event in events.iter().filter(|event| event.token() != WAKE) {
            self.slots.announce(Announced::of(event.token()));
        }
    }

    /// Passes on what had come in before the end, as long as that takes no longer than [`DRAIN`].
    fn drain(&mut self) {
        let until = self.now().plus(DRAIN);
        while self.now() < until && self.round(self.now()) > 0 {}
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.config.epoch.elapsed())
    }

    /// One batch from each port that is due. Returns how many frames came in.
    fn round(&mut self, now: Timestamp) -> usize {
        let mut total = 0;
        let mut turn = std::mem::take(&mut self.turn);
        self.slots.copy_due(&mut turn);
        for &id in &turn {
            let Some(slot) = self.slots.get_mut(id) else { continue };
            let mut more = false;
            self.config.watch.begin();
            match slot.port.recv(&mut self.config.pool, &mut self.batch, BATCH_FRAMES) {
                Ok(received) => {
                    total += received.frames + received.malformed;
                    total += usize::from(received.strangers > 0);
                    self.config.counters.received.add(received.strangers);
                    self.config.counters.count_drop(DropReason::VtepUnknown, received.strangers);
                    slot.counters.rx_lost.add(received.lost);
                    slot.counters.rx_malformed.add(received.malformed as u64);
                    more = received.more;
                }
                Err(error) => self.dead.push((id, error)),
            }
            if !self.batch.is_empty() {
                self.config.watch.received(self.batch.len());
                slot.counters.rx_packets.add(self.batch.len() as u64);
                slot.counters.rx_bytes.add(self.batch.iter().map(|frame| frame.len() as u64).sum());
                self.config.steps.batches.add(1);
                self.config.pipeline.process(id, &mut self.batch, now, &mut self.config.pool, &mut self.out);
                self.flush();
            }
            if !more {
                self.slots.drained(id);
            }
        }
        self.turn = turn;
        total
    }

    /// Sends what the pipeline put out.
    fn flush(&mut self) {
        let Self { out, slots, config: WorkerConfig { counters, pool, watch, .. }, dead, .. } = self;
        let mut frames = 0;
        watch.sends();
        out.drain(|id, batch| {
            frames += batch.len();
            let Some(slot) = slots.get_mut(id) else {
                let packets = batch.iter().map(|frame| u64::from(frame.packets)).sum();
                counters.refuse(DropReason::PortUnattached, packets);
                pool.give_all(batch.drain(..));
                return;
            };
            slot.counters.tx_bytes.add(batch.iter().map(|frame| frame.len() as u64).sum());
            let sent = slot.port.send(pool, batch).unwrap_or_else(|Gone { sent, error }| {
                dead.push((id, error));
                sent
            });
            slot.counters.tx_packets.add(sent.frames as u64);
            slot.counters.tx_congested.add(sent.congested as u64);
            slot.counters.tx_failed.add(sent.failed as u64);
            counters.refuse(DropReason::TxCongested, sent.congested_packets);
            counters.refuse(DropReason::TxFailed, sent.failed_packets);
        });
        watch.sent(frames);
    }

    /// Closes queues that died, and tells the control side. The port keeps its number until that detaches it, so that
    /// numbers stay the same on all workers.
    fn bury(&mut self) {
        for (id, error) in std::mem::take(&mut self.dead) {
            if let Some(slot) = self.release(id) {
                // The control side reads this when it next looks; when it is gone too, nobody needs to know.
                let _ = self.config.reports.send(Report::Gone { counters: slot.counters, error });
            }
        }
    }

    /// Tells the control side, and through it the other workers, of MACs that packets told. Each worker sees only some
    /// of a pod's packets.
    fn tell_learned(&mut self) {
        let Self { slots, config: WorkerConfig { pipeline, reports, .. }, .. } = self;
        for (id, slot) in slots.iter_mut().filter(|(_, slot)| !slot.mac_known) {
            if let Some(mac) = pipeline.bindings().get(id).and_then(|binding| binding.mac) {
                slot.mac_known = true;
                let _ = reports.send(Report::Learned { counters: Arc::clone(&slot.counters), mac });
            }
        }
    }

    fn release(&mut self, id: PortId) -> Option<Slot> {
        let slot = self.slots.remove(id)?;
        for descriptor in &slot.descriptors {
            // A descriptor of a deleted interface is out of the epoll set already.
            let _ = SourceFd(descriptor).deregister(self.config.poll.registry());
        }
        Some(slot)
    }

    /// Carries out what the control side asked for; `false` to stop.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.config.inbox.try_recv() {
            match command {
                Command::Attach { binding, port, counters, reply } => {
                    let outcome = self.take_in(binding, port, counters);
                    let _ = reply.send(outcome);
                }
                Command::Detach { id, reply } => {
                    let slot = self.release(id);
                    self.config.pipeline.detach(id);
                    let _ = reply.send(slot.map(|slot| slot.port));
                }
                Command::Update { id, mac, mtu } => {
                    if let Some(slot) = self.slots.get_mut(id) {
                        slot.mac_known |= mac.is_some();
                    }
                    if let Some(binding) = self.config.pipeline.bindings_mut().get_mut(id) {
                        binding.mac = mac.or(binding.mac);
                        binding.mtu = mtu.unwrap_or(binding.mtu);
                    }
                }
                Command::Mac { id, reply } => {
                    let binding = self.config.pipeline.bindings().get(id);
                    let _ = reply.send(binding.and_then(|binding| binding.mac));
                }
                Command::Time(on) => self.config.watch.set(on, &mut self.config.pipeline),
                Command::Stop => return false,
            }
        }
        true
    }

    fn take_in(
        &mut self,
        binding: Binding,
        mut port: Box<dyn Port>,
        counters: Arc<PortCounters>,
    ) -> io::Result<PortId> {
        if let Some(peers) = &self.peers {
            port.trust(peers);
        }
        let slot = Slot::new(port, counters, binding.mac.is_some());
        let id = self.config.pipeline.attach(binding);
        for (place, descriptor) in slot.descriptors.iter().enumerate() {
            let registered = self.config.poll.registry().register(
                &mut SourceFd(descriptor),
                Announced { id, descriptor: place }.token(),
                Interest::READABLE,
            );
            if let Err(error) = registered {
                self.config.pipeline.detach(id);
                return Err(error);
            }
        }
        self.slots.insert(id, slot);
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
