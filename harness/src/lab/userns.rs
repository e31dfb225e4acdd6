//! Whether this process may build a lab, and how it comes to be allowed to.

use std::io;

use dataplane::sys::netns::Netns;
use dataplane::sys::{process, userns};

use super::LabError;
use super::teardown::fresh_id;

/// Where the lab's namespaces are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Footing {
    /// Directly: the process has the right.
    Direct,
    /// In a user namespace that the process has just entered for the rest of its life.
    UserNamespace,
}

/// Finds the right to make network namespaces: the own one, else that of the root of a fresh user namespace.
/// To be called before the process has a second thread.
///
/// # Errors
/// Neither is allowed; the text says what to do.
pub fn prepare() -> Result<Footing, LabError> {
    let direct = match try_namespace() {
        Ok(()) => return Ok(Footing::Direct),
        Err(error) => error,
    };
    if process::is_root() && direct.kind() != io::ErrorKind::PermissionDenied {
        return Err(LabError::unmet("network namespaces cannot be made", &direct, ADVICE));
    }
    userns::enter_as_root()
        .map_err(|error| LabError::unmet("user namespaces cannot be made either", &error, ADVICE))?;
    try_namespace().map_err(|error| {
        LabError::unmet("network namespaces cannot be made in a user namespace", &error, ADVICE)
    })?;
    Ok(Footing::UserNamespace)
}

/// Whether weir could make TAPs.
pub fn check_tun() -> Result<(), LabError> {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun").map(drop).map_err(|error| {
        LabError::unmet(
            "/dev/net/tun cannot be opened, and weir's TAPs come from it",
            &error,
            "load the driver (`modprobe tun`), in a container add `--device /dev/net/tun`, or run the lab with \
             `--backend memory`, which needs no kernel",
        )
    })
}

const ADVICE: &str = "run the lab as root (`sudo`), in a container started with `--privileged`, or with \
                      `--backend memory`, which needs no privilege";

fn try_namespace() -> io::Result<()> {
    let name = format!("{}-probe", fresh_id(false));
    Netns::create(&name)?;
    Netns::delete(&name)
}
