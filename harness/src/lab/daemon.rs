//! A process of a lab that is not weir: what else forwards on a node, to be compared with it.
//!
//! As weir, it dies with the lab's process however that ends, and is ended in order where the lab is.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::sys::netns::Netns;
use dataplane::sys::process::{self, Signal};

use super::LabError;
use super::node_weir::Keeper;

/// How long it has to end in order.
const STOP: Duration = Duration::from_secs(5);

/// A running process.
#[derive(Debug)]
pub struct Daemon {
    node: &'static str,
    name: &'static str,
    child: Child,
    keep: bool,
    /// The process dies with the thread that started it.
    _keeper: Arc<Keeper>,
}

/// Where daemons of a node run, and what they leave behind.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The node's name.
    pub node: &'static str,
    /// Its namespace.
    pub netns: &'a Netns,
    /// The node's directory.
    pub directory: &'a Path,
    /// Who starts processes.
    pub keeper: &'a Arc<Keeper>,
    /// Whether they outlive the lab.
    pub keep: bool,
}

impl Daemon {
    /// Starts `command` in the node's namespace; what it says goes to `NAME.log` in the node's directory.
    pub fn start(place: Place<'_>, name: &'static str, mut command: Command) -> Result<Self, LabError> {
        let log = File::create(place.directory.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C at the terminal is the lab's to handle.
        command.process_group(0);
        process::run_in(&mut command, place.netns)?;
        if !place.keep {
            process::die_with_parent(&mut command);
        }
        let child = place
            .keeper
            .spawn(command)
            .map_err(|error| trouble(place, name, &format!("cannot be started: {error}")))?;
        Ok(Self { node: place.node, name, child, keep: place.keep, _keeper: Arc::clone(place.keeper) })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `is_ready`.
    pub fn wait_until(
        &mut self,
        place: Place<'_>,
        timeout: Duration,
        is_ready: impl Fn() -> io::Result<bool>,
    ) -> Result<(), LabError> {
        let start = Instant::now();
        while !is_ready()? {
            if let Some(status) = self.child.try_wait()? {
                return Err(trouble(place, self.name, &format!("ended at its start ({status})")));
            }
            if start.elapsed() > timeout {
                return Err(trouble(place, self.name, &format!("is not ready after {timeout:?}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        process::signal(self.child.id(), Signal::Terminate)?;
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > STOP {
                self.child.kill()?;
                return self.child.wait().map(drop);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = self.end()
        {
            tracing::warn!(node = self.node, name = self.name, %error, "a process of the lab did not end");
        }
    }
}

/// An error with the end of the process's log, which usually holds the reason.
fn trouble(place: Place<'_>, name: &str, what: &str) -> LabError {
    let log = std::fs::read_to_string(place.directory.join(format!("{name}.log"))).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(6)..).unwrap_or_default();
    let tail = tail.join("\n  | ");
    LabError::Weir { node: place.node, text: format!("{name} {what}\n  | {tail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(directory: &Path, keeper: &Arc<Keeper>, script: &str) -> Daemon {
        let here = Netns::current().unwrap();
        let place = Place { node: "node-a", netns: &here, directory, keeper, keep: false };
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Daemon::start(place, "sleeper", command).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_daemon_ends_with_its_owner() {
        if !process::is_root() {
            println!("skipped: entering a namespace takes root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let keeper = Arc::new(Keeper::new().unwrap());
        let daemon = started(directory.path(), &keeper, "exec sleep 60");
        let pid = daemon.pid();
        assert!(process::is_alive(pid));
        drop(daemon);
        assert!(!process::is_alive(pid));
    }

    #[test]
    fn one_that_ends_at_once_is_reported_with_its_last_words() {
        if !process::is_root() {
            println!("skipped: entering a namespace takes root");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let keeper = Arc::new(Keeper::new().unwrap());
        let mut daemon = started(directory.path(), &keeper, "echo no such device; exit 3");
        let here = Netns::current().unwrap();
        let place =
            Place { node: "node-a", netns: &here, directory: directory.path(), keeper: &keeper, keep: false };
        let error = daemon.wait_until(place, STOP, || Ok(false)).unwrap_err().to_string();
        assert!(error.contains("sleeper ended at its start") && error.contains("no such device"), "{error}");
    }
}
