//! Traffic: small servers in a namespace, and clients that say what came back.
//!
//! Everything runs on the kernel's own sockets, made inside the namespace and used from ordinary threads
//! (a socket stays in the namespace it was made in). All waiting is bounded by the caller's timeout.

pub mod blast;
pub mod connections;
pub mod fresh;
pub mod latency;
pub mod pattern;
pub mod pin;
pub mod ping;
pub mod sctp;
pub mod servers;
pub mod sink;
pub mod streams;
pub mod tcp;
pub mod udp;

use std::io;

use serde::Serialize;

/// What a client saw of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// The server answered.
    Open,
    /// Nothing came back within the time given: what a drop looks like.
    Silent,
    /// The far host answered that nobody listens: its packets do pass.
    Refused,
    /// A host on the way, or the own one, knows no way there.
    Unreachable,
}

impl Reach {
    /// Whether the server answered.
    pub fn is_open(&self) -> bool {
        *self == Self::Open
    }

    /// What an error of a socket call says about the way; other errors are the lab's own trouble.
    fn of(error: io::Error) -> io::Result<Self> {
        match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Ok(Self::Silent),
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Ok(Self::Refused),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Ok(Self::Unreachable),
            _ => Err(error),
        }
    }
}
