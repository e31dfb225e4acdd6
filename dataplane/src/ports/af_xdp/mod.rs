//! AF_XDP: the underlay's interface as rings of whole Ethernet frames, shared with the kernel.
//!
//! Opening is not yet done here: [`AfXdpPort::open_queues`] says that it is unsupported.

use std::io;
use std::net::IpAddr;
use std::os::fd::RawFd;

use super::{Capabilities, Gone, Port, PortInfo, Received, Sent};
use crate::buffer::{Batch, Pool};

/// The underlay to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AfXdpConfig {
    /// Interface of the underlay.
    pub interface: String,
    /// Own addresses on it: datagrams to others stay with the kernel.
    pub locals: Vec<IpAddr>,
    /// UDP port of the tunnel.
    pub port: u16,
}

/// What one worker receives from the interface and sends through it.
pub struct AfXdpPort {
    info: PortInfo,
}

impl AfXdpPort {
    /// Opens the interface, in the current namespace, with `queues` queues (1 at the least).
    ///
    /// # Errors
    /// There is no such interface, a capability is missing, or another XDP program is attached; the text says which.
    /// Either all queues are open or none is.
    pub fn open_queues(config: &AfXdpConfig, queues: usize) -> io::Result<Vec<Self>> {
        let _ = (config, queues);
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// The interface.
    pub fn info(&self) -> PortInfo {
        self.info
    }
}

impl Port for AfXdpPort {
    fn recv(&mut self, _pool: &mut Pool, _batch: &mut Batch, _limit: usize) -> io::Result<Received> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        pool.give_all(batch.drain(..));
        Err(Gone { sent: Sent::default(), error: io::Error::from(io::ErrorKind::Unsupported) })
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn descriptors(&self) -> Vec<RawFd> {
        Vec::new()
    }
}
