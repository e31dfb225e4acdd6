//! Word that the kernel's next hops may be others: a thread that waits for it.
//!
//! It asks nothing and decides nothing. Changes that come together are told once, and it tells no more often than every
//! [`PAUSE`], however much there is to tell.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::sys::netlink::Changes;

const CHANGE: Token = Token(0);
const WAKE: Token = Token(1);
/// Shortest time from one word to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// Tells of changes until it is dropped.
pub(super) struct Word {
    stopping: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Word {
    /// Calls `tell`, on a thread of its own, whenever the link of that index, its neighbours or routes have changed from
    /// now on.
    ///
    /// # Errors
    /// The kernel refuses a socket, an epoll instance or a thread.
    pub(super) fn listen(index: u32, tell: impl Fn() + Send + 'static) -> io::Result<Self> {
        let changes = Changes::subscribe(index)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&changes.as_raw_fd()), CHANGE, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let stopping = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&stopping);
        let thread = std::thread::Builder::new()
            .name("next-hops".into())
            .spawn(move || wait(poll, &changes, &ended, tell))?;
        Ok(Self { stopping, waker, thread: Some(thread) })
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Fails only where its epoll instance is gone, and with it the thread.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn wait(mut poll: Poll, changes: &Changes, stopping: &AtomicBool, tell: impl Fn()) {
    let mut events = Events::with_capacity(2);
    loop {
        // A word that is missed is made good by the look that comes without one.
        if poll.poll(&mut events, None).is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            return;
        }
        // The kernel announces what comes to an empty socket: it has to be drained before the next wait.
        while changes.any() {
            tell();
            std::thread::sleep(PAUSE);
            if stopping.load(Ordering::Acquire) {
                return;
            }
        }
        if stopping.load(Ordering::Acquire) {
            return;
        }
    }
}
