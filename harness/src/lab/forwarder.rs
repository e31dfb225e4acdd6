//! What weir's mechanism costs without weir: frames from one TAP to the other and back, unread.
//!
//! ```text
//!  pod's TAP ── queue n ─► thread n ─► queue n ── the other pod's TAP
//! ```
//! Same ports, same batches, same placing of threads and the same sleep as weir's workers; no parsing, no policy, no
//! connections, no tables. Figures of weir beside it say what those cost. It serves two pods of one node and runs as a
//! process of its own, as weir does (`weir lab forwarder`, which is no command for people).

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dataplane::buffer::{BATCH_FRAMES, Batch, Pool};
use dataplane::ports::Port;
use dataplane::ports::tap::{TapConfig, TapPort};
use dataplane::sys::scheduling::{self, Policy};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::LabError;
use super::daemon::{Daemon, Place};
use super::plan::mac_text;
use super::pods::{INTERFACE, Pod};

/// How long the TAPs may take to appear.
const START: Duration = Duration::from_secs(15);
/// Longest sleep: what was announced and then taken back announces nothing more.
const TICK: Duration = Duration::from_millis(50);

/// How the threads of a forwarder run; weir's defaults where nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheduling {
    /// How many there are; none for one on each processor.
    pub workers: Option<usize>,
    /// Whether each stays on a processor.
    pub pin: bool,
    /// Whether they never sleep.
    pub busy_poll: bool,
    /// Whether a thread that wakes goes before whoever is running.
    pub policy: Policy,
    /// Their niceness.
    pub niceness: i8,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self { workers: None, pin: true, busy_poll: false, policy: Policy::Other, niceness: 0 }
    }
}

/// One of the two TAPs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The pod's namespace.
    pub netns: PathBuf,
    /// The pod's MAC.
    pub mac: [u8; 6],
}

/// Starts the process for the two pods of a node, and gives them their addresses.
///
/// # Errors
/// There are not two pods, or the process does not make their TAPs.
pub(super) fn build(
    place: Place<'_>,
    binary: &Path,
    pods: &[&Pod],
    mtu: u32,
    scheduling: Scheduling,
) -> Result<Vec<Daemon>, LabError> {
    let [one, other] = pods else {
        let text = format!("{}: a trivial forwarder joins two pods, not {}", place.node, pods.len());
        return Err(LabError::State(vec![text]));
    };
    std::fs::create_dir_all(place.directory)?;
    let mut command = Command::new(binary);
    command.args(["lab", "forwarder"]);
    for pod in [one, other] {
        command.arg("--tap").arg(format!("{}={}", mac_text(pod.plan.mac()), netns_path(pod).display()));
    }
    if let Some(workers) = scheduling.workers {
        command.arg("--workers").arg(workers.to_string());
    }
    command.arg(format!("--niceness={}", scheduling.niceness));
    if scheduling.policy == Policy::Batch {
        command.arg("--batch");
    }
    for (flag, given) in [("--no-pin", !scheduling.pin), ("--busy-poll", scheduling.busy_poll)] {
        command.args(given.then_some(flag));
    }
    let mut daemon = Daemon::start(place, "forwarder", command)?;
    for pod in pods {
        daemon.wait_until(place, START, || pod.has_interface())?;
        pod.configure(mtu)?;
    }
    Ok(vec![daemon])
}

fn netns_path(pod: &Pod) -> PathBuf {
    Path::new("/run/netns").join(pod.netns.name())
}

/// Makes the TAPs and forwards between them until one is gone.
///
/// # Errors
/// A TAP cannot be made, or was deleted.
pub fn run(taps: [&Tap; 2], scheduling: Scheduling) -> io::Result<()> {
    let processors = scheduling::allowed_processors()?;
    let workers = scheduling.workers.unwrap_or(processors.len()).max(1);
    let [one, other] = taps.map(|tap| {
        let config =
            TapConfig { netns: Some(tap.netns.clone()), mac: Some(tap.mac), ..TapConfig::named(INTERFACE) };
        TapPort::open_queues(&config, workers)
    });
    let queues = one?.into_iter().zip(other?).enumerate();
    std::thread::scope(|scope| {
        let threads: Vec<_> = queues
            .map(|(number, (one, other))| {
                let processor = processors.get(number.checked_rem(processors.len()).unwrap_or(0)).copied();
                let processor = processor.filter(|_| scheduling.pin);
                scope.spawn(move || {
                    if let Some(processor) = processor {
                        scheduling::pin_to(processor)?;
                    }
                    scheduling::set_policy(scheduling.policy)?;
                    // Without the right to it weir's workers run at everybody's niceness too.
                    let _ = scheduling::set_niceness(scheduling.niceness);
                    forward([one, other], scheduling.busy_poll)
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the forwarder panicked")))
        });
        ended.collect()
    })
}

fn forward([mut one, mut other]: [TapPort; 2], busy_poll: bool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(4);
    for descriptor in [&one, &other].into_iter().flat_map(TapPort::descriptors) {
        poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE)?;
    }
    let (mut pool, mut batch) = (Pool::new(2 * BATCH_FRAMES), Batch::with_capacity(BATCH_FRAMES));
    loop {
        let mut received = 0;
        for turn in [true, false] {
            let (from, to) = if turn { (&mut one, &mut other) } else { (&mut other, &mut one) };
            received += from.recv(&mut pool, &mut batch, BATCH_FRAMES)?.frames;
            if !batch.is_empty() {
                to.send(&mut pool, &mut batch)?;
            }
        }
        if received == 0 {
            match poll.poll(&mut events, Some(if busy_poll { Duration::ZERO } else { TICK })) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}
