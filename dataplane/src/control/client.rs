//! The other end of the control socket: ask a running daemon.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Reply, Request, Response};
use super::server::read_line;
use super::{DEADLINE, PATIENCE};

/// Answers may be larger than requests: a node's status lists its pods and peers.
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody is there.
    #[error(
        "no weir listens on {}: start one with `weir run`, or name its socket with --socket", path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// One must be root, or the user weir runs as.
    #[error("no permission for {}: become root, or the user weir runs as", path.display())]
    Permission {
        /// The socket.
        path: PathBuf,
    },
    /// The conversation broke off.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// The daemon has the request and has not answered.
    #[error(
        "{}: no answer within {} seconds; what was asked for may still be done: `weir status` shows it once weir answers",
        path.display(),
        patience.as_secs_f32()
    )]
    Late {
        /// The socket.
        path: PathBuf,
        /// How long the answer was waited for.
        patience: Duration,
    },
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the daemon that listens on `socket`, and waits for its answer for up to [`PATIENCE`].
///
/// # Errors
/// Nobody listens, the daemon says no, or the conversation breaks off.
pub fn call(socket: &Path, request: &Request) -> Result<Reply, ClientError> {
    call_within(socket, request, PATIENCE)
}

/// The same, with another patience.
pub(super) fn call_within(
    socket: &Path,
    request: &Request,
    patience: Duration,
) -> Result<Reply, ClientError> {
    let path = || socket.to_owned();
    let broken = |reason: String| ClientError::Broken { path: path(), reason };
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { path: path() }
        }
        io::ErrorKind::PermissionDenied => ClientError::Permission { path: path() },
        _ => broken(error.to_string()),
    })?;
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.to_string()))?;
    line.push(b'\n');
    stream.set_write_timeout(Some(DEADLINE)).map_err(|error| broken(error.to_string()))?;
    // A daemon that refuses at once may have closed its end before it read the request: its answer counts.
    let written = stream.write_all(&line);
    let answer = match (read_line(&stream, MAX_RESPONSE_BYTES, patience), written) {
        (Ok(answer), _) => answer,
        (Err(late), Ok(())) if late.kind() == io::ErrorKind::TimedOut => {
            return Err(ClientError::Late { path: path(), patience });
        }
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(broken(error.to_string())),
    };
    match serde_json::from_slice(&answer) {
        Ok(Response::Ok(reply)) => Ok(reply),
        Ok(Response::Error(reason)) => Err(ClientError::Refused(reason)),
        Err(error) => Err(broken(format!("not an answer that this weir understands: {error}"))),
    }
}
