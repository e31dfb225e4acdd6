//! The control side's end of a worker.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use mio::{Poll, Token, Waker};
use vxlan::mac::Mac;

use super::worker::{Command, Worker, WorkerConfig};
use crate::pipeline::{Binding, PortId};
use crate::ports::Port;
use crate::tables::Publisher;
use crate::telemetry::{DenialLog, PacketCounters, PortCounters};

pub(super) const WAKE: Token = Token(usize::MAX);

/// A port that died under the worker (its interface was deleted, say); the worker has let go of it.
#[derive(Debug)]
pub struct PortGone {
    /// The counters it was attached with: they tell the port for good, where its id may be another's by now.
    pub counters: Arc<PortCounters>,
    /// What the kernel said.
    pub error: io::Error,
}

/// Why a port could not be handed to a worker.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The worker's thread has ended.
    #[error("the worker has stopped")]
    Stopped,
    /// The port's descriptor cannot be waited for.
    #[error("cannot wait for packets of the port: {0}")]
    Register(#[from] io::Error),
}

/// A running worker.
pub struct WorkerHandle {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
    gone: Receiver<PortGone>,
}

impl WorkerHandle {
    /// Starts a worker thread without ports.
    ///
    /// # Errors
    /// The kernel refuses an epoll instance or a thread.
    pub fn start(
        config: WorkerConfig,
        publisher: &Publisher,
        counters: Arc<PacketCounters>,
        denials: Arc<DenialLog>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let (commands, inbox) = unbounded();
        let (gone_tx, gone) = unbounded();
        let worker = Worker::new(config, poll, publisher.subscribe(), counters, denials, inbox, gone_tx);
        let thread = std::thread::Builder::new().name("weir-worker-0".into()).spawn(move || worker.run())?;
        Ok(Self { commands, waker, thread: Some(thread), gone })
    }

    /// Hands a port over. Returns once the worker serves it.
    ///
    /// # Errors
    /// See [`AttachError`]; the port is closed then.
    pub fn attach(
        &self,
        binding: Binding,
        port: Box<dyn Port>,
        counters: Arc<PortCounters>,
    ) -> Result<PortId, AttachError> {
        let (reply, answer) = bounded(1);
        self.send(Command::Attach { binding, port, counters, reply })?;
        answer.recv().map_err(|_| AttachError::Stopped)?.map_err(AttachError::Register)
    }

    /// Takes a port back. Returns once the worker has let go of it; `None` when it had none of that id.
    pub fn detach(&self, id: PortId) -> Option<Box<dyn Port>> {
        let (reply, answer) = bounded(1);
        self.send(Command::Detach { id, reply }).ok()?;
        answer.recv().ok().flatten()
    }

    /// Corrects what is known of a port: its peer's MAC and its MTU.
    pub fn update(&self, id: PortId, mac: Option<Mac>, mtu: Option<u16>) {
        // A worker that has stopped has no use for it.
        let _ = self.send(Command::Update { id, mac, mtu });
    }

    /// The MAC the worker knows (or has learned) for the pod behind each port.
    pub fn bindings(&self) -> Vec<Binding> {
        let (reply, answer) = bounded(1);
        if self.send(Command::Bindings { reply }).is_err() {
            return Vec::new();
        }
        answer.recv().unwrap_or_default()
    }

    /// Makes the worker look at the published generation now rather than at its next packet.
    pub fn wake(&self) {
        // Fails only when the worker's epoll instance is gone, and with it the worker.
        let _ = self.waker.wake();
    }

    /// True once the worker's thread is over. Before [`WorkerHandle::stop`] that means that it panicked: its
    /// ports are closed and nothing passes any more.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ports that died since the last call.
    pub fn gone(&self) -> Vec<PortGone> {
        self.gone.try_iter().collect()
    }

    /// Lets the worker finish its round, and waits for it. Its ports are closed.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let _ = self.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has said so on stderr.
            let _ = thread.join();
        }
    }

    fn send(&self, command: Command) -> Result<(), AttachError> {
        self.commands.send(command).map_err(|_| AttachError::Stopped)?;
        self.wake();
        Ok(())
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.shut_down();
        }
    }
}
