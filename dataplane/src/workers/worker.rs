//! The worker's loop.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender};
use mio::event::Source;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use vxlan::mac::Mac;

use super::handle::PortGone;
use crate::buffer::{BATCH_FRAMES, Batch, Pool};
use crate::drop_reason::DropReason;
use crate::pipeline::{Binding, Outputs, Pipeline, PortId, Settings};
use crate::ports::Port;
use crate::tables::Subscription;
use crate::telemetry::{DenialLog, PacketCounters, PortCounters};
use crate::time::Timestamp;

/// What a worker is made with.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The pipeline's settings.
    pub settings: Settings,
    /// Frames in the worker's pool; each is 64 KiB of address space, of which only used pages cost memory.
    pub frames: usize,
}

/// Rounds without a packet before the worker sleeps. One is enough to have seen every port empty.
const IDLE_ROUNDS: u32 = 1;
/// Longest sleep, so that timers run.
const TICK: Duration = Duration::from_millis(50);
/// Longest time spent at the end on packets that had come in before.
const DRAIN: Duration = Duration::from_millis(50);
/// Under load, housekeeping runs at least this often.
const BUSY_TICK: Duration = Duration::from_millis(10);

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
    Bindings {
        reply: Sender<Vec<Binding>>,
    },
    Stop,
}

struct Slot {
    id: PortId,
    port: Box<dyn Port>,
    counters: Arc<PortCounters>,
}

pub(super) struct Worker {
    poll: Poll,
    subscription: Subscription,
    pipeline: Pipeline,
    counters: Arc<PacketCounters>,
    inbox: Receiver<Command>,
    gone: Sender<PortGone>,
    pool: Pool,
    ports: Vec<Slot>,
    batch: Batch,
    out: Outputs,
    dead: Vec<(PortId, io::Error)>,
    epoch: Instant,
    next_tick: Timestamp,
}

impl Worker {
    pub(super) fn new(
        config: WorkerConfig,
        poll: Poll,
        subscription: Subscription,
        counters: Arc<PacketCounters>,
        denials: Arc<DenialLog>,
        inbox: Receiver<Command>,
        gone: Sender<PortGone>,
    ) -> Self {
        Self {
            poll,
            subscription,
            pipeline: Pipeline::new(config.settings, Arc::clone(&counters), denials),
            counters,
            inbox,
            gone,
            pool: Pool::new(config.frames),
            ports: Vec::new(),
            batch: Batch::with_capacity(BATCH_FRAMES),
            out: Outputs::default(),
            dead: Vec::new(),
            epoch: Instant::now(),
            next_tick: Timestamp::ZERO,
        }
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        let mut idle = 0;
        loop {
            if !self.obey() {
                self.drain();
                return;
            }
            if let Some(generation) = self.subscription.changed() {
                let number = generation.number;
                self.pipeline.take_up(generation);
                self.subscription.acknowledge(number);
            }
            let now = self.now();
            idle = if self.round(now) == 0 { idle + 1 } else { 0 };
            self.bury();
            if now >= self.next_tick {
                self.next_tick = now.plus(BUSY_TICK);
                self.pipeline.tick(now, &mut self.pool, &mut self.out);
                self.flush();
            }
            if idle >= IDLE_ROUNDS {
                self.sleep(&mut events);
            }
        }
    }

    /// Passes on what had come in before the end, as long as that takes no longer than [`DRAIN`].
    fn drain(&mut self) {
        let until = self.now().plus(DRAIN);
        while self.now() < until && self.round(self.now()) > 0 {}
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO.plus(self.epoch.elapsed())
    }

    /// One batch from each port. Returns how many frames came in.
    fn round(&mut self, now: Timestamp) -> usize {
        let mut total = 0;
        for position in 0..self.ports.len() {
            let Some(slot) = self.ports.get_mut(position) else { break };
            let id = slot.id;
            match slot.port.recv(&mut self.pool, &mut self.batch, BATCH_FRAMES) {
                Ok(received) => {
                    total += received.frames + received.malformed;
                    slot.counters.rx_lost.add(received.lost);
                    slot.counters.rx_malformed.add(received.malformed as u64);
                }
                Err(error) => self.dead.push((id, error)),
            }
            if self.batch.is_empty() {
                continue;
            }
            slot.counters.rx_packets.add(self.batch.len() as u64);
            slot.counters.rx_bytes.add(self.batch.iter().map(|frame| frame.len() as u64).sum());
            self.pipeline.process(id, &mut self.batch, now, &mut self.pool, &mut self.out);
            self.flush();
        }
        total
    }

    /// Sends what the pipeline put out.
    fn flush(&mut self) {
        let Self { out, ports, pool, counters, dead, .. } = self;
        out.drain(|id, batch| {
            let Some(slot) = ports.iter_mut().find(|slot| slot.id == id) else {
                counters.count_drop(DropReason::PortUnattached, batch.len() as u64);
                pool.give_all(batch.drain(..));
                return;
            };
            slot.counters.tx_bytes.add(batch.iter().map(|frame| frame.len() as u64).sum());
            let offered = batch.len();
            let sent = match slot.port.send(pool, batch) {
                Ok(sent) => sent,
                Err(error) => {
                    dead.push((id, error));
                    crate::ports::Sent { frames: 0, congested: 0, failed: offered }
                }
            };
            slot.counters.tx_packets.add(sent.frames as u64);
            slot.counters.tx_congested.add(sent.congested as u64);
            slot.counters.tx_failed.add(sent.failed as u64);
            let lost = (sent.congested + sent.failed) as u64;
            if lost > 0 {
                counters.count_drop(DropReason::TxCongested, sent.congested as u64);
                counters.count_drop(DropReason::TxFailed, sent.failed as u64);
                counters.forwarded.sub(lost);
            }
        });
    }

    /// Lets go of ports that died, and tells the control side.
    fn bury(&mut self) {
        for (id, error) in std::mem::take(&mut self.dead) {
            if let Some(slot) = self.release(id) {
                // The control side reads this when it next looks; when it is gone too, nobody needs to know.
                let _ = self.gone.send(PortGone { counters: slot.counters, error });
            }
        }
    }

    fn release(&mut self, id: PortId) -> Option<Slot> {
        let position = self.ports.iter().position(|slot| slot.id == id)?;
        let slot = self.ports.swap_remove(position);
        for descriptor in slot.port.descriptors() {
            // A descriptor of a deleted interface is out of the epoll set already.
            let _ = SourceFd(&descriptor).deregister(self.poll.registry());
        }
        self.pipeline.detach(id);
        Some(slot)
    }

    /// Carries out what the control side asked for; `false` to stop.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Attach { binding, port, counters, reply } => {
                    let outcome = self.take_in(binding, port, counters);
                    let _ = reply.send(outcome);
                }
                Command::Detach { id, reply } => {
                    let slot = self.release(id);
                    let _ = reply.send(slot.map(|slot| slot.port));
                }
                Command::Update { id, mac, mtu } => {
                    if let Some(binding) = self.pipeline.bindings_mut().get_mut(id) {
                        binding.mac = mac.or(binding.mac);
                        binding.mtu = mtu.unwrap_or(binding.mtu);
                    }
                }
                Command::Bindings { reply } => {
                    let _ = reply.send(self.pipeline.bindings().iter().cloned().collect());
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn take_in(
        &mut self,
        binding: Binding,
        port: Box<dyn Port>,
        counters: Arc<PortCounters>,
    ) -> io::Result<PortId> {
        let id = self.pipeline.attach(binding);
        for descriptor in port.descriptors() {
            let registered = self.poll.registry().register(
                &mut SourceFd(&descriptor),
                Token(id.0 as usize),
                Interest::READABLE,
            );
            if let Err(error) = registered {
                self.pipeline.detach(id);
                return Err(error);
            }
        }
        self.ports.push(Slot { id, port, counters });
        Ok(id)
    }

    fn sleep(&mut self, events: &mut Events) {
        match self.poll.poll(events, Some(TICK)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                // Nothing to wait on: fall back to looking every now and then rather than spin or stop.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(()) | Err(_) => {}
        }
    }
}
