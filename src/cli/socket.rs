//! `--socket`: which daemon a client command speaks to.

use std::path::PathBuf;

use dataplane::config::DEFAULT_SOCKET;
use dataplane::control::{Reply, Request, call};

/// Which daemon to speak to.
#[derive(Debug, clap::Args)]
pub(super) struct Socket {
    /// The daemon's control socket (control.socket in its configuration)
    #[arg(long = "socket", value_name = "PATH", default_value = DEFAULT_SOCKET)]
    path: PathBuf,
}

impl Socket {
    /// Asks the daemon.
    pub(super) fn ask(&self, request: &Request) -> anyhow::Result<Reply> {
        Ok(call(&self.path, request)?)
    }
}
