//! One node, put together: state in, generations out, ports in the worker's hands, a control socket to ask.
//!
//! ```text
//!   state directory ─► follower ─► Compiled ─► Generation ─► Publisher ─────► worker
//!        (watched)                                  ▲                           ▲
//!   own Node, config ─► Identity ───────────────────┘   gateway TAP, underlay ──┤
//!   config, `weir attach` ─► Attachments ─► TAP / AF_PACKET port ───────────────┘
//! ```
//! One control thread owns all of it and does one thing at a time; other threads (state watcher, word of next hops,
//! control socket, signals) only send it events. Nothing it does blocks the worker. What fails is said, shown in the
//! status and tried again; the last good generation stays in force meanwhile.

mod attachments;
mod control_loop;
mod identity;
mod in_force;
mod lock;
mod next_hops;
mod open;
mod requests;
mod status;

pub use control_loop::settings;
pub use identity::{Identity, IdentityError, configured_addresses, vteps};
pub use lock::LockError;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};

use crate::config::Config;
use crate::control;
use control_loop::ControlLoop;

/// What the control thread reacts to.
pub(crate) enum Event {
    /// Something in the state directory changed.
    StateChanged,
    /// Routes or neighbours of the underlay changed.
    NextHopsChanged,
    /// Read the state again now (SIGHUP).
    Reload,
    /// A request of the control socket; it answers through a channel of its own.
    Request(Box<dyn FnOnce(&mut ControlLoop) + Send>),
    /// End.
    Stop,
}

/// Why a node could not be started; nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another instance runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The control socket cannot be served.
    #[error(transparent)]
    Control(#[from] control::ServerError),
    /// The underlay cannot be opened.
    #[error("underlay: {0}")]
    Underlay(io::Error),
    /// The node TAP cannot be made.
    #[error("gateway interface {name}: {error}")]
    Gateway {
        /// Its name.
        name: String,
        /// What is wrong.
        error: io::Error,
    },
    /// A thread or an epoll instance was refused.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Why a node ended without having been told to. It never runs on with a part of it missing: a worker that is
/// gone forwards nothing, a watcher that is gone would leave an old policy in force without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part} died of a bug (its panic is above); weir has ended and no packet passes: start it again")]
pub struct Died {
    part: &'static str,
}

/// A running node.
pub struct Node {
    events: Sender<Event>,
    thread: Option<JoinHandle<Result<(), Died>>>,
    _server: control::Server,
}

/// Stops or reloads a node from another thread, a signal handler's say.
#[derive(Clone)]
pub struct NodeHandle(Sender<Event>);

impl NodeHandle {
    /// Reads the state again.
    pub fn reload(&self) {
        // A node that has ended needs neither.
        let _ = self.0.send(Event::Reload);
    }

    /// Ends the node; [`Node::wait`] returns.
    pub fn stop(&self) {
        let _ = self.0.send(Event::Stop);
    }
}

impl Node {
    /// Starts a node. Returns once it serves: the underlay is bound (unless its address is only known from a state
    /// that cannot be read yet), the first generation is in force (or, the state being unusable, nothing passes),
    /// the configured attachments have been tried.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<Self, StartError> {
        let namespace = lock::NamespaceLock::take(config.underlay.port)?;
        let lock = lock::InstanceLock::take(&config.lock, config.underlay.port)?;
        let socket = config.control.socket.clone();
        let (events, inbox) = unbounded();
        let mut control_loop = ControlLoop::new(config, lock, events.clone())?;
        let handler = Arc::new(requests::RequestHandler::new(events.clone()));
        let server = control::Server::start(&socket, handler)?;
        control_loop.begin()?;
        let thread = std::thread::Builder::new().name("weir-control".into()).spawn(move || {
            let ended = control_loop.run(&inbox);
            // The port is another's to have now that the workers' sockets are closed.
            drop(namespace);
            ended
        })?;
        Ok(Self { events, thread: Some(thread), _server: server })
    }

    /// A handle to stop or reload this node by.
    pub fn handle(&self) -> NodeHandle {
        NodeHandle(self.events.clone())
    }

    /// Waits until the node has ended.
    ///
    /// # Errors
    /// It ended because a part of it panicked.
    pub fn wait(mut self) -> Result<(), Died> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Died> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // Unwinding has stopped the worker.
            Some(Err(_)) => Err(Died { part: "the control thread" }),
            None => Ok(()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
        // Whoever wants to know how it ended waits for it.
        let _ = self.join();
    }
}
