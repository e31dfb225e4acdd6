//! The control side's end of the workers: one hand that holds all of them.
//!
//! Every worker sees the same attaches and detaches in the same order, so that a port has one number everywhere. A port
//! whose queue died on one worker keeps its number until it was detached from all, which [`Workers::tend`] does once.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use mio::{Poll, Token, Waker};
use vxlan::mac::Mac;

use super::placement::Placement;
use super::wakefulness::{Sleeps, Wakefulness};
use super::watch::{Lease, Watch};
use super::worker::{Command, Report, Worker, WorkerConfig};
use crate::buffer::Pool;
use crate::pipeline::{Binding, Pipeline, PortId, Settings};
use crate::ports::Port;
use crate::sys::latency_qos::LatencyQos;
use crate::sys::scheduling;
use crate::tables::Publisher;
use crate::telemetry::{DenialLog, LoopCounters, PacketCounters, PortCounters, StageCounters};

pub(super) const WAKE: Token = Token(usize::MAX);

/// What the workers are made with.
#[derive(Debug, Clone)]
pub struct WorkersConfig {
    /// The pipelines' settings.
    pub settings: Settings,
    /// Frames in each worker's pool; each is 64 KiB of address space, of which only used pages cost memory.
    pub frames: usize,
    /// Where each worker is to run; there are as many workers (1 at the least).
    pub placements: Vec<Placement>,
    /// Never sleep.
    pub busy_poll: bool,
    /// Where they sleep often and shortly, keep processors from idle states.
    pub latency_qos: bool,
}

/// A port in the workers' hands.
#[derive(Debug, Clone)]
pub struct AttachedPort {
    id: PortId,
    /// One for each worker. They tell the port for good, where its number may be another's by now.
    queues: Arc<[Arc<PortCounters>]>,
}

impl AttachedPort {
    /// Its number.
    pub fn id(&self) -> PortId {
        self.id
    }

    /// Its counters, summed over its queues.
    pub fn counters(&self) -> PortCounters {
        PortCounters::total(self.queues.iter().map(AsRef::as_ref))
    }

    /// Whether this is that very attachment.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.queues, &other.queues)
    }

    fn has(&self, queue: &Arc<PortCounters>) -> bool {
        self.queues.iter().any(|own| Arc::ptr_eq(own, queue))
    }
}

/// A port that died under the workers (its interface was deleted, say); they have let go of it.
#[derive(Debug)]
pub struct PortGone {
    /// Which.
    pub port: AttachedPort,
    /// What the kernel said.
    pub error: io::Error,
}

/// Why a port could not be handed to the workers; none of them serves it then.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A worker's thread has ended.
    #[error("a worker has stopped")]
    Stopped,
    /// As many queues as workers are needed.
    #[error("the port has {queues} of the {workers} queues that the workers need")]
    Queues {
        /// Queues handed over.
        queues: usize,
        /// Workers there are.
        workers: usize,
    },
    /// The port's descriptor cannot be waited for.
    #[error("cannot wait for packets of the port: {0}")]
    Register(#[from] io::Error),
}

/// One worker.
struct Handle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
    counters: Arc<PacketCounters>,
    steps: Arc<LoopCounters>,
    stages: Arc<StageCounters>,
    placement: Placement,
}

impl Handle {
    fn send(&self, command: Command) -> Result<(), AttachError> {
        self.commands.send(command).map_err(|_| AttachError::Stopped)?;
        self.wake();
        Ok(())
    }

    fn wake(&self) {
        // Fails only when the worker's epoll instance is gone, and with it the worker.
        let _ = self.waker.wake();
    }
}

/// All running workers.
pub struct Workers {
    handles: Vec<Handle>,
    reports: Receiver<Report>,
    attached: Vec<AttachedPort>,
    timing: Lease,
}

/// What one worker has done and where it runs.
#[derive(Debug, Clone, Copy)]
pub struct WorkerView<'a> {
    /// Where it runs.
    pub placement: Placement,
    /// Packets by what became of them.
    pub counters: &'a PacketCounters,
    /// Its loop.
    pub steps: &'a LoopCounters,
    /// What went through its stages while they were timed.
    pub stages: &'a StageCounters,
}

impl Workers {
    /// Starts the threads, without ports. Returns once each runs where it may.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance or a thread.
    pub fn start(
        config: &WorkersConfig,
        publisher: &Publisher,
        denials: &Arc<DenialLog>,
    ) -> io::Result<Self> {
        let (report, reports) = unbounded();
        let epoch = Instant::now();
        let mut workers =
            Self { handles: Vec::new(), reports, attached: Vec::new(), timing: Lease::default() };
        let alone = [Placement::default()];
        let placements = if config.placements.is_empty() { &alone[..] } else { &config.placements };
        let mut pipelines = pipelines(config, placements.len(), denials);
        let wakefulness = wakefulness(config);
        let pools = Pool::beside(config.frames, placements.len());
        for ((index, placement), pool) in placements.iter().enumerate().zip(pools) {
            let Some((pipeline, counters)) = pipelines.pop() else { break };
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
            let (commands, inbox) = unbounded();
            let steps = Arc::new(LoopCounters::default());
            let stages = Arc::new(StageCounters::default());
            let worker = Worker::new(WorkerConfig {
                pool,
                busy_poll: config.busy_poll,
                sleeps: Sleeps::new(wakefulness.clone()),
                epoch,
                poll,
                subscription: publisher.subscribe(),
                pipeline,
                counters: Arc::clone(&counters),
                steps: Arc::clone(&steps),
                watch: Watch::new(Arc::clone(&stages)),
                inbox,
                reports: report.clone(),
            });
            let (placed, answer) = bounded(1);
            let placement = *placement;
            let thread = std::thread::Builder::new().name(Self::name(index)).spawn(move || {
                // Whoever started this thread waits for it.
                let _ = placed.send(placement.take_effect());
                worker.run();
            })?;
            let placement = answer.recv().unwrap_or_default();
            let thread = Some(thread);
            workers.handles.push(Handle { commands, waker, thread, counters, steps, stages, placement });
        }
        Ok(workers)
    }

    /// The name of a worker's thread.
    pub fn name(index: usize) -> String {
        format!("weir-worker-{index}")
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// What each has done.
    pub fn iter(&self) -> impl Iterator<Item = WorkerView<'_>> {
        self.handles.iter().map(|handle| WorkerView {
            placement: handle.placement,
            counters: &handle.counters,
            steps: &handle.steps,
            stages: &handle.stages,
        })
    }

    /// What all of them have done.
    pub fn counters(&self) -> PacketCounters {
        PacketCounters::total(self.handles.iter().map(|handle| handle.counters.as_ref()))
    }

    /// Hands a port over, a queue to each worker. Returns once all serve it.
    ///
    /// # Errors
    /// See [`AttachError`]; all queues are closed then.
    pub fn attach(
        &mut self,
        binding: &Binding,
        queues: Vec<Box<dyn Port>>,
    ) -> Result<AttachedPort, AttachError> {
        if queues.len() != self.count() {
            return Err(AttachError::Queues { queues: queues.len(), workers: self.count() });
        }
        let counters: Arc<[Arc<PortCounters>]> = queues.iter().map(|_| Arc::default()).collect();
        let mut answers = Vec::with_capacity(queues.len());
        for ((handle, port), counters) in self.handles.iter().zip(queues).zip(counters.iter()) {
            let (reply, answer) = bounded(1);
            let command =
                Command::Attach { binding: binding.clone(), port, counters: Arc::clone(counters), reply };
            answers.push(handle.send(command).map(|()| answer));
        }
        let mut served = Vec::with_capacity(answers.len());
        let mut refused = None;
        for (handle, answer) in self.handles.iter().zip(answers) {
            let answer = answer.and_then(|answer| answer.recv().map_err(|_| AttachError::Stopped));
            match answer.and_then(|answer| answer.map_err(AttachError::Register)) {
                Ok(id) => served.push((handle, id)),
                Err(error) => refused = Some(error),
            }
        }
        match (refused, served.first()) {
            (None, Some((_, id))) => {
                debug_assert!(served.iter().all(|(_, other)| other == id), "one number on all workers");
                let port = AttachedPort { id: *id, queues: counters };
                self.attached.push(port.clone());
                Ok(port)
            }
            (refused, _) => {
                for (handle, id) in served {
                    drop(detach_from(handle, id));
                }
                Err(refused.unwrap_or(AttachError::Stopped))
            }
        }
    }

    /// Takes a port back. Returns once every worker has let go of it, with its queues; none of those that had died.
    pub fn detach(&mut self, port: &AttachedPort) -> Vec<Box<dyn Port>> {
        let Some(position) = self.attached.iter().position(|attached| attached.is(port)) else {
            return Vec::new();
        };
        let port = self.attached.swap_remove(position);
        self.handles.iter().filter_map(|handle| detach_from(handle, port.id)).collect()
    }

    /// Corrects what is known of a port: its peer's MAC and its MTU.
    pub fn update(&self, port: &AttachedPort, mac: Option<Mac>, mtu: Option<u16>) {
        if !self.attached.iter().any(|attached| attached.is(port)) {
            return;
        }
        for handle in &self.handles {
            // A worker that has stopped has no use for it.
            let _ = handle.send(Command::Update { id: port.id, mac, mtu });
        }
    }

    /// The MAC that a worker knows (or has learned) for the pod behind a port.
    pub fn mac(&self, port: &AttachedPort) -> Option<Mac> {
        self.handles.iter().find_map(|handle| {
            let (reply, answer) = bounded(1);
            handle.send(Command::Mac { id: port.id, reply }).ok()?;
            answer.recv().ok().flatten()
        })
    }

    /// Has the workers time their stages for so long from now, or as long as somebody else asked for.
    pub fn time_stages(&mut self, lease: Duration) {
        if self.timing.extend(Instant::now(), lease) {
            self.switch_timing(true);
        }
    }

    fn switch_timing(&self, on: bool) {
        for handle in &self.handles {
            // A worker that has stopped times nothing.
            let _ = handle.send(Command::Time(on));
        }
    }

    /// Makes the workers look at the published generation now rather than at their next packets.
    pub fn wake(&self) {
        self.handles.iter().for_each(Handle::wake);
    }

    /// True once a worker's thread is over. Before the end that means that it panicked: its queues are closed, and
    /// what the kernel sends there is lost.
    pub fn any_has_ended(&self) -> bool {
        self.handles.iter().any(|handle| handle.thread.as_ref().is_none_or(JoinHandle::is_finished))
    }

    /// Hears what the workers have to say: a MAC that one has learned is told to all; ports of which a queue died are
    /// taken from all, and returned. Stages are timed no longer once nobody asks.
    pub fn tend(&mut self) -> Vec<PortGone> {
        if self.timing.lapse(Instant::now()) {
            self.switch_timing(false);
        }
        let mut gone = Vec::new();
        while let Ok(report) = self.reports.try_recv() {
            match report {
                Report::Learned { counters, mac } => {
                    if let Some(port) = self.attached.iter().find(|port| port.has(&counters)) {
                        self.update(port, Some(mac), None);
                    }
                }
                Report::Gone { counters, error } => {
                    // The first queue to die has taken the others with it.
                    let Some(port) = self.attached.iter().find(|port| port.has(&counters)).cloned() else {
                        continue;
                    };
                    drop(self.detach(&port));
                    gone.push(PortGone { port, error });
                }
            }
        }
        gone
    }

    /// Lets the workers finish their rounds, and waits for them. Their queues are closed.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        for handle in &self.handles {
            let _ = handle.send(Command::Stop);
        }
        for thread in self.handles.iter_mut().filter_map(|handle| handle.thread.take()) {
            // A worker that panicked has said so on stderr.
            let _ = thread.join();
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// A pipeline for each worker, which share what connections and datagrams need that come by several.
fn pipelines(
    config: &WorkersConfig,
    count: usize,
    denials: &Arc<DenialLog>,
) -> Vec<(Pipeline, Arc<PacketCounters>)> {
    let counters = Arc::new(PacketCounters::default());
    let first = Pipeline::new(config.settings.clone(), Arc::clone(&counters), Arc::clone(denials));
    let mut all = Vec::with_capacity(count);
    for _ in 1..count {
        let counters = Arc::new(PacketCounters::default());
        all.push((first.beside(Arc::clone(&counters)), counters));
    }
    all.push((first, counters));
    all
}

/// What keeps processors awake, where that is wanted and the kernel lets weir.
fn wakefulness(config: &WorkersConfig) -> Option<Arc<Wakefulness>> {
    // Who never sleeps is in no hurry to wake.
    if !config.latency_qos || config.busy_poll {
        return None;
    }
    match LatencyQos::open() {
        Ok(qos) => Some(Wakefulness::new(qos, scheduling::online_processors())),
        Err(error) => {
            tracing::info!(%error, "processors sleep between packets (/dev/cpu_dma_latency may not be used)");
            None
        }
    }
}

fn detach_from(handle: &Handle, id: PortId) -> Option<Box<dyn Port>> {
    let (reply, answer) = bounded(1);
    handle.send(Command::Detach { id, reply }).ok()?;
    answer.recv().ok().flatten()
}
