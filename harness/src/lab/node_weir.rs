//! A node that runs weir: a real `weir run` process in the node's namespace, its configuration and its log.
//!
//! The process dies with the lab's, however that ends: the kernel kills it when the thread that started it
//! does, which is why a [`Keeper`] starts it and not the caller's thread, which may end before the lab.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataplane::config::UnderlayKind;
use dataplane::control::{self, Reply, Request, Status};
use dataplane::sys::netns::Netns;
use dataplane::sys::process::{self, Signal};

use super::plan::Side;
use super::pods::{INTERFACE, Pod};
use super::topology::UNDERLAY;
use super::{Attach, LabError};

/// How long a process has from its start until it answers on its control socket.
const START: Duration = Duration::from_secs(15);
/// How long a process has to end in order.
const STOP: Duration = Duration::from_secs(5);

/// A node's weir.
#[derive(Debug)]
pub struct NodeWeir {
    side: Side,
    binary: PathBuf,
    directory: PathBuf,
    netns: Arc<Netns>,
    keep: bool,
    keeper: Arc<Keeper>,
    child: Option<Child>,
}

/// What a node's weir is started with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Which node.
    pub side: Side,
    /// The `weir` program.
    pub binary: &'a Path,
    /// The node's directory: configuration, control socket, log.
    pub directory: PathBuf,
    /// Where the objects are.
    pub state: &'a Path,
    /// The node's namespace.
    pub netns: Arc<Netns>,
    /// Whether the process outlives the lab.
    pub keep: bool,
    /// How it sends and receives on the underlay.
    pub underlay: UnderlayKind,
    /// Whether it receives by a ring there.
    pub ring: bool,
    /// Whether it sends by one, where it could.
    pub transmit_ring: bool,
    /// Further lines of the configuration, top-level keys.
    pub extra: &'a str,
}

impl NodeWeir {
    /// Writes the configuration; nothing runs yet.
    pub fn prepare(setup: Setup<'_>, keeper: Arc<Keeper>, pods: &[&Pod], attach: Attach) -> io::Result<Self> {
        fs::create_dir_all(&setup.directory)?;
        let text = configuration(&setup, pods, attach);
        fs::write(setup.directory.join("weir.yaml"), text)?;
        Ok(Self {
            side: setup.side,
            binary: setup.binary.to_owned(),
            directory: setup.directory,
            netns: setup.netns,
            keep: setup.keep,
            keeper,
            child: None,
        })
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.join("weir.yaml")
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("weir.sock")
    }

    /// What the process has written.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the process, without waiting for it.
    pub fn spawn(&mut self) -> Result<(), LabError> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.binary);
        command.arg("run").arg("--config").arg(self.config());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C at the terminal is the lab's to handle; it then ends weir in order.
        command.process_group(0);
        process::run_in(&mut command, &self.netns)?;
        if !self.keep {
            process::die_with_parent(&mut command);
        }
        self.child = Some(self.keeper.spawn(command).map_err(|error| self.trouble(&error.to_string()))?);
        Ok(())
    }

    /// Waits until the process answers, and gives its first answer.
    pub fn wait_until_up(&mut self) -> Result<Status, LabError> {
        let start = Instant::now();
        loop {
            if let Ok(status) = self.status() {
                return Ok(status);
            }
            if let Some(child) = &mut self.child
                && let Some(code) = child.try_wait()?
            {
                self.child = None;
                return Err(self.trouble(&format!("weir ended at its start ({code})")));
            }
            if start.elapsed() > START {
                return Err(
                    self.trouble(&format!("weir does not answer on its control socket after {START:?}"))
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks for the status.
    pub fn status(&self) -> Result<Status, LabError> {
        match control::call(&self.socket(), &Request::Status {}) {
            Ok(Reply::Status(status)) => Ok(*status),
            Ok(_) => Err(self.trouble("the answer to `status` is no status")),
            Err(error) => Err(self.trouble(&error.to_string())),
        }
    }

    /// Sends a request other than `status`.
    pub fn call(&self, request: &Request) -> Result<Reply, LabError> {
        control::call(&self.socket(), request).map_err(|error| self.trouble(&error.to_string()))
    }

    /// Ends the process with a signal and waits until it has gone.
    pub fn end(&mut self, signal: Signal) -> Result<(), LabError> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        process::signal(child.id(), signal)?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > STOP {
                child.kill()?;
                child.wait()?;
                return Err(self.trouble(&format!("weir did not end within {STOP:?} of SIGTERM")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("weir.log")
    }

    /// An error with the end of the log, which usually holds the reason.
    fn trouble(&self, what: &str) -> LabError {
        let log = self.log();
        let lines: Vec<&str> = log.lines().rev().take(12).collect();
        let tail = lines.into_iter().rev().fold(String::new(), |mut text, line| {
            let _ = write!(text, "\n  | {line}");
            text
        });
        LabError::Weir { node: self.side.name(), text: format!("{what}{tail}") }
    }
}

impl Drop for NodeWeir {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.end(Signal::Terminate)
        {
            tracing::warn!(%error, "the lab's weir did not end in order");
        }
    }
}

/// The configuration file, as a person would write it.
fn configuration(setup: &Setup<'_>, pods: &[&Pod], attach: Attach) -> String {
    let Setup { side, state, directory, underlay, ring, transmit_ring, extra, .. } = setup;
    let ring = if *ring { "  ring: true\n" } else { "" };
    let transmit_ring = if *transmit_ring { "" } else { "  transmit_ring: false\n" };
    let mut text = format!(
        "node: {}\nstate:\n  directory: {}\nunderlay:\n  kind: {}\n  address: {}\n  address_v6: \"{}\"\n  interface: \
         {UNDERLAY}\n{ring}{transmit_ring}gateway:\n  interface: weir0\n  addresses: [{}/24, \"{}/64\"]\ncontrol:\n  socket: {}\n",
        side.name(),
        state.display(),
        underlay.name(),
        side.underlay_v4(),
        side.underlay_v6(),
        side.pod_v4(1),
        side.pod_v6(1),
        directory.join("weir.sock").display(),
    );
    text.push_str("attachments:");
    if pods.is_empty() {
        text.push_str(" []");
    }
    for pod in pods {
        let name = pod.plan.full_name();
        let _ = match attach {
            Attach::Tap => {
                let netns = pod.netns.name();
                write!(
                    text,
                    "\n  - {{pod: {name}, kind: tap, interface: {INTERFACE}, netns: /run/netns/{netns}}}"
                )
            }
            Attach::Veth => {
                write!(text, "\n  - {{pod: {name}, kind: af_packet, interface: {}}}", pod.host_link())
            }
        };
    }
    text.push('\n');
    text.push_str(extra);
    text
}

/// A thread that lives as long as the lab and starts its processes.
#[derive(Debug)]
pub struct Keeper {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

impl Keeper {
    /// Starts the thread.
    pub fn new() -> io::Result<Self> {
        let (orders, taken) = mpsc::channel::<Order>();
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            for (mut command, answer) in taken {
                let _ = answer.send(command.spawn());
            }
        })?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Starts a process.
    pub(super) fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, answered) = mpsc::channel();
        let gone = || io::Error::other("the thread that starts processes has ended");
        self.orders.as_ref().ok_or_else(gone)?.send((command, answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::config::Config;

    #[test]
    fn the_configuration_is_one_that_weir_takes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("weir.yaml");
        for underlay in [UnderlayKind::Udp, UnderlayKind::AfPacket, UnderlayKind::AfXdp] {
            let setup = Setup {
                side: Side::B,
                binary: Path::new("weir"),
                directory: directory.path().to_owned(),
                state: Path::new("/x/state"),
                netns: Arc::new(Netns::current().unwrap()),
                keep: false,
                underlay,
                ring: underlay == UnderlayKind::AfPacket,
                transmit_ring: underlay != UnderlayKind::Udp,
                extra: "log: {level: debug}\n",
            };
            fs::write(&path, configuration(&setup, &[], Attach::Tap)).unwrap();
            let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!((config.node.as_str(), config.underlay.kind), ("node-b", underlay));
            assert_eq!(config.underlay.ring, underlay == UnderlayKind::AfPacket);
            assert_eq!(config.underlay.transmit_ring, underlay != UnderlayKind::Udp);
        }
    }
}
