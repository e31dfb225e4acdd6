//! The daemon's end of the control socket: one thread that accepts, one per client.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::protocol::{DetachTarget, Reply, Request, Response};
use super::stages::Stages;
use super::status::Status;
use super::{DEADLINE, MAX_CLIENTS, MAX_REQUEST_BYTES};
use crate::config::Attachment;
use crate::sys::peer;

/// What the daemon does for its clients. Called from the clients' threads, several at a time.
pub trait Handler: Send + Sync {
    /// How things are.
    fn status(&self) -> Status;

    /// Attaches a pod's interface.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    fn attach(&self, attachment: Attachment) -> Result<(), String>;

    /// Detaches one.
    ///
    /// # Errors
    /// Why it cannot be, for people.
    fn detach(&self, target: DetachTarget) -> Result<(), String>;

    /// Reads the state now; the generation in force afterwards.
    ///
    /// # Errors
    /// Why the state was refused, for people.
    fn reload(&self) -> Result<u64, String>;

    /// What the stages have done so far. They are timed for so long from now.
    ///
    /// # Errors
    /// Why they are not, for people.
    fn stages(&self, lease: Duration) -> Result<Stages, String>;
}

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Somebody listens there already.
    #[error(
        "control socket {}: another process listens on it: stop that weir, or set another control.socket",
        path.display()
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// There is something else at its path.
    #[error("control socket {}: there is a file that is no socket: remove it, or set another control.socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("control socket {}: cannot {action}: {source}", path.display())]
    System {
        /// The socket or its directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The open control socket. Dropping it closes and removes the socket; requests under way still finish.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    inode: u64,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    clients: AtomicUsize,
    denied: AtomicU64,
}

impl Server {
    /// Opens the socket at `path` and serves it. A socket that nobody listens on any more is replaced.
    ///
    /// Two daemons starting at one moment are kept apart by their lock file, not here.
    ///
    /// # Errors
    /// The path is taken by a living daemon or by something else, or the system refuses.
    pub fn start(path: &Path, handler: Arc<dyn Handler>) -> Result<Self, ServerError> {
        let system = |action| move |source| ServerError::System { path: path.to_owned(), action, source };
        let listener = listen(path)?;
        let inode = fs::symlink_metadata(path).map_err(system("read back the socket"))?.ino();
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::Builder::new()
            .name("control".into())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &shared, &handler)
            })
            .map_err(system("start its thread"))?;
        Ok(Self { path: path.to_owned(), inode, shared, acceptor: Some(acceptor) })
    }

    /// Clients that were turned away because their uid is neither root's nor weir's.
    pub fn denied(&self) -> u64 {
        self.shared.denied.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        // Wakes the acceptor out of accept(); where that fails it has ended already.
        drop(UnixStream::connect(&self.path));
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|at| at.ino() == self.inode);
        if ours {
            drop(fs::remove_file(&self.path));
            if let Some(acceptor) = self.acceptor.take() {
                drop(acceptor.join());
            }
        }
        // Not ours: somebody replaced the socket, the wake-up went to them, and the thread ends with the process.
    }
}

fn listen(path: &Path) -> Result<UnixListener, ServerError> {
    let system = |action| move |source| ServerError::System { path: path.to_owned(), action, source };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(system("make its directory"))?;
    }
    match fs::symlink_metadata(path) {
        Ok(at) if !at.file_type().is_socket() => {
            return Err(ServerError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(system("remove the socket left by an earlier run"))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A full backlog (EAGAIN) or a refused permission is somebody living, too.
            _ => return Err(ServerError::InUse { path: path.to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system("look at it")(error)),
    }
    let listener = UnixListener::bind(path).map_err(system("bind it"))?;
    // Between bind and this line the umask rules; whoever comes in meets the check of their uid.
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(system("restrict it to its owner"))?;
    Ok(listener)
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>, handler: &Arc<dyn Handler>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                // Out of descriptors, most likely: they come back when clients go.
                tracing::warn!(%error, "control socket: cannot accept a client");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if let Err(reason) = authorise(&stream) {
            shared.denied.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%reason, "control socket: client denied");
            refuse(&stream, reason);
            continue;
        }
        if shared.clients.fetch_add(1, Ordering::AcqRel) >= MAX_CLIENTS {
            shared.clients.fetch_sub(1, Ordering::AcqRel);
            refuse(&stream, format!("{MAX_CLIENTS} clients are being served already: try again"));
            continue;
        }
        let seat = Seat(Arc::clone(shared));
        let handler = Arc::clone(handler);
        let spawned = std::thread::Builder::new().name("control-client".into()).spawn(move || {
            let _seat = seat;
            serve(&stream, handler.as_ref());
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "control socket: cannot start a thread for a client");
        }
    }
}

/// A client's place among the [`MAX_CLIENTS`]; given back when dropped, also by a panic.
struct Seat(Arc<Shared>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

fn authorise(stream: &UnixStream) -> Result<(), String> {
    let peer = peer::uid(stream).map_err(|error| format!("cannot learn the client's uid: {error}"))?;
    let own = peer::own_uid();
    if peer == 0 || peer == own {
        Ok(())
    } else {
        Err(format!("uid {peer} may not control this weir: expected uid {own} or root"))
    }
}

/// A refusal must not wait for the client.
fn refuse(stream: &UnixStream, reason: String) {
    if stream.set_nonblocking(true).is_ok() {
        drop(answer(stream, &Response::Error(reason)));
    }
}

fn serve(stream: &UnixStream, handler: &dyn Handler) {
    let response = match read_request(stream) {
        Ok(request) => handle(request, handler),
        Err(reason) => Response::Error(reason),
    };
    if stream.set_write_timeout(Some(DEADLINE)).is_ok() {
        // A client that went away needs no answer.
        drop(answer(stream, &response));
    }
}

fn handle(request: Request, handler: &dyn Handler) -> Response {
    let done = match request {
        Request::Status {} => Ok(Reply::Status(Box::new(handler.status()))),
        Request::Attach(attachment) => handler.attach(attachment).map(|()| Reply::Attached(true)),
        Request::Detach(target) => handler.detach(target).map(|()| Reply::Detached(true)),
        Request::Reload {} => handler.reload().map(Reply::Reloaded),
        Request::Stages { milliseconds } => {
            handler.stages(Duration::from_millis(milliseconds)).map(|stages| Reply::Stages(Box::new(stages)))
        }
    };
    done.map_or_else(Response::Error, Response::Ok)
}

fn answer(mut stream: &UnixStream, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn read_request(stream: &UnixStream) -> Result<Request, String> {
    let line = read_line(stream, MAX_REQUEST_BYTES, DEADLINE).map_err(|error| error.to_string())?;
    serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))
}

/// One line of at most `limit` bytes, whole within that time however slowly it trickles in; `TimedOut` where it is not.
pub(super) fn read_line(mut stream: &UnixStream, limit: usize, within: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + within;
    let mut line = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let late = format!("no whole line within {} seconds", within.as_secs_f32());
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        }
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut chunk) {
            Ok(read) => read,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        let bytes = chunk.get(..read).unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(bytes.get(..end.unwrap_or(read)).unwrap_or_default());
        if line.len() > limit {
            return Err(io::Error::other(format!("longer than {limit} bytes")));
        }
        if end.is_some() {
            return Ok(line);
        }
        if read == 0 {
            return Err(io::Error::other("the connection ended before the end of the line"));
        }
    }
}
