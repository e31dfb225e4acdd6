//! Says when something under a directory may have changed.
//!
//! The kernel tells (inotify), and because it does not tell everything (network file systems, a directory that
//! is removed and made anew, a link in its path that is turned elsewhere) a look once a second compares the
//! fingerprints of all files. Events that come together are told once, at most 50 ms after the first.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::listing::{Listing, list};

/// Events within this time after the first are told with it.
const DEBOUNCE: Duration = Duration::from_millis(25);
/// How often to look without being told to.
const POLL: Duration = Duration::from_secs(1);

/// Watches a directory until dropped. The directory need not exist.
#[derive(Debug)]
pub struct Watcher {
    stopping: Arc<AtomicBool>,
    wake: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Calls `changed`, on a thread of its own, whenever something under `directory` may have changed. It
    /// may be called without need, but not too seldom.
    ///
    /// # Errors
    /// No thread can be started. Where inotify is not to be had, the look once a second remains.
    pub fn start(directory: &Path, changed: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let root = std::path::absolute(directory)?;
        let stopping = Arc::new(AtomicBool::new(false));
        // One waiting wake-up says as much as a thousand.
        let (wake, woken) = bounded(1);
        let watch = Watch { root, wake: wake.clone(), stopping: Arc::clone(&stopping) };
        let thread = std::thread::Builder::new()
            .name("state-watch".into())
            .spawn(move || watch.run(&woken, changed))?;
        Ok(Self { stopping, wake, thread: Some(thread) })
    }
}

impl Watcher {
    /// True once its thread is over. Before the drop that means that it panicked: changes go unseen.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Full means that a wake-up is on its way already.
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct Watch {
    root: PathBuf,
    wake: Sender<()>,
    stopping: Arc<AtomicBool>,
}

impl Watch {
    fn run(&self, woken: &Receiver<()>, mut changed: impl FnMut()) {
        let mut identity = self.identity();
        let mut inotify = self.arm();
        let mut listing = self.look();
        loop {
            let event = match woken.recv_timeout(POLL) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if event {
                let until = Instant::now() + DEBOUNCE;
                while !self.stopping.load(Ordering::Acquire) && woken.recv_deadline(until).is_ok() {}
            }
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            let now = self.identity();
            if now != identity || inotify.is_none() {
                identity = now;
                // The old watches hang on the old directory.
                drop(inotify.take());
                inotify = self.arm();
            }
            if event {
                // Before the look for comparison: what changes in between is told by inotify, or at the next look.
                listing = self.look();
                changed();
            } else {
                let seen = self.look();
                if seen != listing {
                    listing = seen;
                    changed();
                }
            }
        }
    }

    /// Which directory the path leads to.
    fn identity(&self) -> Option<(u64, u64)> {
        fs::metadata(&self.root).ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// `None` for what cannot be listed: then every difference is one to "could be listed".
    fn look(&self) -> Option<Listing> {
        list(&self.root).ok()
    }

    fn arm(&self) -> Option<RecommendedWatcher> {
        let (root, wake) = (self.root.clone(), self.wake.clone());
        let handler = move |event: notify::Result<notify::Event>| {
            let tell = match event {
                Ok(event) => is_change(event.kind) && event.paths.iter().any(|path| path.starts_with(&root)),
                // Events were lost: something happened.
                Err(_) => true,
            };
            if tell {
                // Full means that it is told already.
                let _ = wake.try_send(());
            }
        };
        let mut watcher = match notify::recommended_watcher(handler) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::debug!(%error, "no inotify: the state directory is looked at once a second");
                return None;
            }
        };
        // The parent tells of the directory itself being moved, removed or made.
        // Neither may be there; the look once a second finds out when they are.
        if let Some(parent) = self.root.parent() {
            drop(watcher.watch(parent, RecursiveMode::NonRecursive));
        }
        drop(watcher.watch(&self.root, RecursiveMode::Recursive));
        Some(watcher)
    }
}

/// Our own reading makes events too; of accesses only the end of a writing counts.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
