//! Nothing stays behind: owners that remove what they made, and a sweep for labs that were killed.
//!
//! Order of a lab's end: servers, weir, namespaces (with them all links), files. Each owner does its part
//! when dropped, so an error, a panic and Ctrl-C (a flag that turns the next step into an error) all end the
//! same way. A lab killed by `SIGKILL` cannot do that: weir dies with it (the kernel sees to that), and the
//! next lab removes the namespaces and the directory, which carry the dead process's number in their names.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::process::{self, Signal};

/// Names of namespaces that go when their lab's process has gone.
const PREFIX: &str = "weir-lab-";
/// Names of namespaces that were asked to stay.
const KEPT_PREFIX: &str = "weir-kept-";

/// The start of the names of one lab's namespaces, like `weir-lab-4711-0`.
pub fn fresh_id(keep: bool) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = if keep { KEPT_PREFIX } else { PREFIX };
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A namespace that is removed with its owner.
#[derive(Debug)]
pub struct OwnedNetns {
    name: String,
    netns: Arc<Netns>,
    keep: bool,
}

impl OwnedNetns {
    /// Makes the namespace.
    pub fn create(name: String, keep: bool) -> io::Result<Self> {
        let netns = Arc::new(Netns::create(&name)?);
        Ok(Self { name, netns, keep })
    }

    /// Its name, as under `/run/netns`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace.
    pub fn netns(&self) -> &Arc<Netns> {
        &self.netns
    }
}

impl Drop for OwnedNetns {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = Netns::delete(&self.name)
        {
            tracing::warn!(name = self.name, %error, "a namespace of the lab stays behind");
        }
    }
}

/// Removes what labs left whose process has gone, and ends what still runs there.
pub fn sweep() -> io::Result<Vec<String>> {
    remove(|name| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        pid.is_some_and(|pid| !process::is_alive(pid))
    })
}

/// Removes labs that were kept, and ends what still runs in them.
pub fn remove_kept() -> io::Result<Vec<String>> {
    remove(|name| name.starts_with(KEPT_PREFIX))
}

/// Removes the namespaces and the directories of labs with chosen names. Others may do the same at the same time: each
/// says what it has removed itself.
fn remove(is_chosen: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for name in Netns::names()?.into_iter().filter(|name| is_chosen(name)) {
        // A name whose mount is gone opens as no namespace; nothing can run in it.
        if let Ok(netns) = Netns::named(&name) {
            end_processes(netns.inode()?)?;
        }
        match Netns::delete(&name) {
            Ok(()) => removed.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for entry in fs::read_dir(std::env::temp_dir())?.filter_map(Result::ok) {
        if let Ok(name) = entry.file_name().into_string()
            && is_chosen(&name)
            && fs::remove_dir_all(entry.path()).is_ok()
        {
            removed.push(entry.path().display().to_string());
        }
    }
    Ok(removed)
}

/// Ends the processes in a namespace: in order, and after a while at once.
fn end_processes(inode: u64) -> io::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(3);
    let start = Instant::now();
    let mut signal = Signal::Terminate;
    loop {
        let running = process::in_netns(inode)?;
        if running.is_empty() {
            return Ok(());
        }
        for pid in running {
            // It may have ended by itself meanwhile.
            let _ = process::signal(pid, signal);
        }
        if start.elapsed() > PATIENCE * 2 {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a process in a namespace of a lab does not end",
            ));
        }
        if start.elapsed() > PATIENCE {
            signal = Signal::Kill;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
