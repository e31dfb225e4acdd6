//! Real interfaces as load generators see them: opened to send, opened to listen, and never the one this host lives by.
//!
//! An interface that carries a default route is refused unless asked for twice: load on it may well cut the host off.
//! Listening takes a packet socket and a drop on ingress, so that the kernel does not answer or forward what arrives;
//! the drop is removed again where it was not there before. Counters come from `/proc/net/dev`, which is that of this
//! thread's namespace, whatever is mounted on `/sys`.

use std::io;

use dataplane::buffer::{Batch, Pool};
use dataplane::ports::af_packet::AfPacketPort;
use dataplane::ports::{Capabilities, Gone, Port, PortInfo, Received, Sent};
use dataplane::sys::netlink::Netlink;

/// Refuses the interface of a default route.
///
/// # Errors
/// `name` is one.
pub fn refuse_default_route(name: &str) -> io::Result<()> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = read("/proc/thread-self/net/route");
    let v6 = read("/proc/thread-self/net/ipv6_route");
    if default_routes(&v4, &v6).any(|interface| interface == name) {
        return Err(io::Error::other(format!(
            "{name} carries a default route: load on it may cut this host off; --force sends all the same"
        )));
    }
    Ok(())
}

/// Interfaces of default routes, as `/proc/net/route` and `/proc/net/ipv6_route` name them.
fn default_routes<'a>(v4: &'a str, v6: &'a str) -> impl Iterator<Item = &'a str> {
    let v4 = v4.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        fields.first().copied().filter(|_| is_default)
    });
    let v6 = v6.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let zero = fields.first().is_some_and(|target| target.bytes().all(|byte| byte == b'0'));
        // Every namespace has one that refuses (RTF_REJECT).
        let flags = fields.get(8).and_then(|flags| u32::from_str_radix(flags, 16).ok());
        let refuses = flags.is_none_or(|flags| flags & 0x200 != 0);
        let is_default = zero && fields.get(1) == Some(&"00") && !refuses;
        fields.last().copied().filter(|_| is_default)
    });
    v4.chain(v6)
}

/// Opens an interface of this namespace to send.
///
/// # Errors
/// There is none, or no right to it.
pub fn open_to_send(name: &str) -> io::Result<AfPacketPort> {
    AfPacketPort::open_to_send(name)
}

/// An interface that is listened to.
pub struct Listening {
    port: AfPacketPort,
    /// Whether the drop on ingress is ours to remove.
    dropping: bool,
}

impl Listening {
    /// Takes over what arrives at an interface of this namespace.
    ///
    /// # Errors
    /// There is none, or no right to it.
    pub fn open(name: &str) -> io::Result<Self> {
        let netlink = Netlink::open()?;
        let link = netlink.link(name)?;
        let before = link.is_some_and(|link| netlink.has_ingress_drop(link.index).unwrap_or(false));
        let port = AfPacketPort::open(name, None)?;
        Ok(Self { port, dropping: !before })
    }

    /// The interface.
    pub fn info(&self) -> PortInfo {
        self.port.info()
    }
}

impl Port for Listening {
    fn recv(&mut self, pool: &mut Pool, batch: &mut Batch, limit: usize) -> io::Result<Received> {
        self.port.recv(pool, batch, limit)
    }

    fn send(&mut self, pool: &mut Pool, batch: &mut Batch) -> Result<Sent, Gone> {
        self.port.send(pool, batch)
    }

    fn losses(&mut self) -> u64 {
        self.port.losses()
    }

    fn capabilities(&self) -> Capabilities {
        self.port.capabilities()
    }

    fn descriptors(&self) -> Vec<std::os::fd::RawFd> {
        self.port.descriptors()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.dropping
            && let Ok(netlink) = Netlink::open()
        {
            let _ = netlink.remove_ingress_drop(self.port.info().index);
        }
    }
}

/// What the kernel counted at an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames received.
    pub received: u64,
    /// Frames dropped on reception.
    pub rx_dropped: u64,
    /// Frames sent.
    pub sent: u64,
    /// Frames dropped instead of being sent.
    pub tx_dropped: u64,
}

impl Statistics {
    /// Those of an interface of this thread's namespace; none where they cannot be read.
    pub fn of(name: &str) -> Option<Self> {
        Self::find(&std::fs::read_to_string("/proc/thread-self/net/dev").ok()?, name)
    }

    fn find(text: &str, name: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let at = |place: usize| fields.get(place).copied();
        Some(Self { received: at(1)?, rx_dropped: at(3)?, sent: at(9)?, tx_dropped: at(11)? })
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            received: self.received.saturating_sub(earlier.received),
            rx_dropped: self.rx_dropped.saturating_sub(earlier.rx_dropped),
            sent: self.sent.saturating_sub(earlier.sent),
            tx_dropped: self.tx_dropped.saturating_sub(earlier.tx_dropped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found_in_both_families() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\n\
                  eth1\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth2\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200 lo\n"
        );
        assert_eq!(default_routes(v4, &v6).collect::<Vec<_>>(), ["eth0", "eth2"]);
        assert_eq!(default_routes("", "").count(), 0);
    }

    #[test]
    fn counters_are_those_of_the_interface_named() {
        let text = "Inter-|   Receive\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
                    eth01: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0: 10 20 0 40 0 0 0 0 50 60 0 80 0 0 0 0\n";
        let expected = Statistics { received: 20, rx_dropped: 40, sent: 60, tx_dropped: 80 };
        assert_eq!(Statistics::find(text, "eth0"), Some(expected));
        assert_eq!(Statistics::find(text, "eth"), None);
    }
}
