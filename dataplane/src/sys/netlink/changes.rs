//! Word of changes: links, neighbours and routes, as the kernel multicasts them.
//!
//! Only that something changed is of interest here; what holds now is asked for afterwards. So messages that were lost
//! (`ENOBUFS`, the kernel says so) do no harm: they count as a change.

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::retry;

/// `RTNLGRP_LINK`, `RTNLGRP_NEIGH`, `RTNLGRP_IPV4_ROUTE` and `RTNLGRP_IPV6_ROUTE` of `linux/rtnetlink.h`.
const GROUPS: [u32; 4] = [1, 3, 7, 11];

/// Most messages looked at in one go; what waits behind them is seen the next time.
const MOST: usize = 4096;

/// A subscription, in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Changes {
    socket: Socket,
}

impl Changes {
    /// Subscribes.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self { socket })
    }

    /// Whether there was any change since the last call. Never blocks.
    pub fn any(&self) -> bool {
        let mut changed = false;
        // What does not fit is cut off: nobody reads it.
        let mut message = Vec::with_capacity(64);
        for _ in 0..MOST {
            message.clear();
            match retry(|| self.socket.recv(&mut message, 0)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(_) | Err(_) => changed = true,
            }
        }
        changed
    }
}
