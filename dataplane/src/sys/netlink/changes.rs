//! Word of changes: one link, its neighbours, and routes, as the kernel multicasts them.
//!
//! Only that something changed is of interest here; what holds now is asked for afterwards. So messages that were lost
//! (`ENOBUFS`, the kernel says so) do no harm: they count as a change. Other links and their neighbours, of which a node with
//! many pods hears all the time, do not.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use super::retry;

/// `RTNLGRP_LINK`, `RTNLGRP_NEIGH`, `RTNLGRP_IPV4_ROUTE` and `RTNLGRP_IPV6_ROUTE` of `linux/rtnetlink.h`.
const GROUPS: [u32; 4] = [1, 3, 7, 11];

/// `RTM_NEWLINK`, `RTM_DELLINK`, `RTM_NEWNEIGH` and `RTM_DELNEIGH`, whose headers have the link's index in the same place.
const OF_A_LINK: [u16; 4] = [16, 17, 28, 29];

/// Most messages looked at in one go; what waits behind them is seen the next time.
const MOST: usize = 4096;

/// A subscription, in the network namespace of the thread that made it.
#[derive(Debug)]
pub struct Changes {
    socket: Socket,
    index: u32,
}

impl Changes {
    /// Subscribes to what concerns the link of that index.
    pub fn subscribe(index: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_non_blocking(true)?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self { socket, index })
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
                Ok(_) => changed |= concerns(&message, self.index),
                Err(_) => changed = true,
            }
        }
        changed
    }
}

impl AsRawFd for Changes {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Whether a message is of that link, or of none. The kernel multicasts one message at a time.
fn concerns(message: &[u8], index: u32) -> bool {
    // struct nlmsghdr: length, type; behind it family and what else, index.
    let kind = message.get(4..).and_then(<[u8]>::first_chunk).map(|kind| u16::from_ne_bytes(*kind));
    let of = message.get(20..).and_then(<[u8]>::first_chunk).map(|of| u32::from_ne_bytes(*of));
    match (kind, of) {
        (Some(kind), Some(of)) if OF_A_LINK.contains(&kind) => of == index,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, index: u32) -> Vec<u8> {
        let mut bytes = vec![0; 32];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[20..24].copy_from_slice(&index.to_ne_bytes());
        bytes
    }

    #[test]
    fn other_links_and_their_neighbours_are_no_change() {
        for kind in OF_A_LINK {
            assert!(concerns(&message(kind, 7), 7));
            assert!(!concerns(&message(kind, 8), 7));
        }
    }

    #[test]
    fn routes_and_what_is_not_understood_are_a_change() {
        const NEW_ROUTE: u16 = 24;
        assert!(concerns(&message(NEW_ROUTE, 8), 7));
        assert!(concerns(&message(16, 8)[..20], 7));
        assert!(concerns(&[], 7));
    }
}
