//! Datagrams of which each begins a flow of its own: what no table and no cache has seen.
//!
//! A raw socket in the pod takes UDP headers as they are written here, so that source and destination port change
//! from datagram to datagram without a socket for each; the kernel adds the IP header and sends on the same path as for
//! any socket. Ports follow from a counter: after [`FLOWS`] datagrams the first flow comes again.
//!
//! The checksum (RFC 768, RFC 8200 section 8.1) is a constant plus the two ports.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use dataplane::sys::mmsg::{Datagram, Outgoing};
use dataplane::sys::netns::Netns;
use dataplane::sys::raw_ip;

use super::blast::{PAYLOAD, send_only};

/// Destination ports in use, from the one given on.
pub const PORTS: u16 = 256;
/// Flows there are.
pub const FLOWS: u64 = SOURCES * PORTS as u64;

/// Source ports in use: all that need no privilege.
const SOURCES: u64 = 0x1_0000 - FIRST_SOURCE;
const FIRST_SOURCE: u64 = 1024;
/// Header and payload.
const BYTES: usize = 8 + PAYLOAD;
const UDP: u8 = 17;

/// A sender of them.
pub(super) struct Fresh {
    socket: UdpSocket,
    first_port: u16,
    /// Sum of everything in the pseudo header and the datagram that stays as it is.
    constant: u32,
    /// Number of the next flow, and how far it is from there to the one after it.
    next: u64,
    step: u64,
    datagrams: Vec<[u8; BYTES]>,
}

impl Fresh {
    /// One of `step` senders in `netns`, which begins with flow `first`; sends up to `batch` at once.
    ///
    /// # Errors
    /// There is no right to raw sockets, or no way to `to`.
    pub(super) fn open(
        netns: &Netns,
        to: SocketAddr,
        (first, step): (u64, u64),
        batch: usize,
    ) -> io::Result<Self> {
        let socket = netns.run(|| -> io::Result<_> {
            let socket = raw_ip::open(to.is_ipv6(), UDP)?;
            // A raw socket would collect all that the pod receives.
            send_only(&socket, to)?;
            socket.connect(SocketAddr::new(to.ip(), 0))?;
            Ok(socket)
        })??;
        let from = socket.local_addr()?.ip();
        let mut datagram = [0x5a; BYTES];
        let length = (BYTES as u16).to_be_bytes();
        if let Some(header) = datagram.first_chunk_mut::<8>() {
            *header = [0, 0, 0, 0, length[0], length[1], 0, 0];
        }
        let pseudo = sum(&octets(from)) + sum(&octets(to.ip())) + u32::from(UDP) + BYTES as u32;
        Ok(Self {
            socket,
            first_port: to.port(),
            constant: pseudo + sum(&datagram),
            next: first,
            step,
            datagrams: vec![datagram; batch],
        })
    }

    /// Sends up to `count`. How many the kernel took.
    ///
    /// # Errors
    /// The kernel's reason to refuse the first.
    pub(super) fn send(&mut self, outgoing: &mut Outgoing, count: usize) -> io::Result<usize> {
        for (number, datagram) in self.datagrams.iter_mut().take(count).enumerate() {
            let flow = self.next.wrapping_add((number as u64).wrapping_mul(self.step));
            let (source, destination) = ports(flow, self.first_port);
            let checksum = folded(self.constant + u32::from(source) + u32::from(destination));
            if let Some(header) = datagram.first_chunk_mut::<8>() {
                let [s0, s1] = source.to_be_bytes();
                let [d0, d1] = destination.to_be_bytes();
                let [_, _, _, _, l0, l1, _, _] = *header;
                let [c0, c1] = checksum.to_be_bytes();
                *header = [s0, s1, d0, d1, l0, l1, c0, c1];
            }
        }
        let datagrams = self.datagrams.iter().take(count);
        let datagrams = datagrams.map(|bytes| Datagram { prefix: None, bytes, to: None, class: None });
        let sent = outgoing.send(self.socket.as_fd(), datagrams);
        // What was refused was made, too: the flow after it is the next.
        let past = sent.as_ref().map_or(1, |&sent| sent as u64);
        self.next = self.next.wrapping_add(past.wrapping_mul(self.step));
        sent
    }
}

/// Source and destination port of a flow.
fn ports(flow: u64, first_port: u16) -> (u16, u16) {
    let source = FIRST_SOURCE + flow % SOURCES;
    let destination = u64::from(first_port) + flow / SOURCES % u64::from(PORTS);
    (source as u16, destination as u16)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Words of an even number of bytes; far too few to overflow.
fn sum(bytes: &[u8]) -> u32 {
    bytes.as_chunks::<2>().0.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum()
}

/// The checksum: zero says that there is none.
fn folded(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    match !(twice as u16) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::sink::Sink;
    use super::*;

    #[test]
    fn no_flow_comes_twice_before_all_have_come() {
        let some: Vec<u64> = (0..FLOWS).step_by(4_999).collect();
        let distinct: HashSet<(u16, u16)> = some.iter().map(|&flow| ports(flow, 9999)).collect();
        assert_eq!(distinct.len(), some.len());
        assert_eq!(ports(FLOWS, 9999), ports(0, 9999));
        assert!(ports(FLOWS - 1, 9999) == (u16::MAX, 9999 + PORTS - 1));
    }

    #[test]
    fn the_kernel_takes_the_datagrams_for_good_ones() {
        let made = Netns::run_in_new(|| {
            let here = Netns::current()?;
            let netlink = dataplane::sys::netlink::Netlink::open()?;
            let lo = netlink.link("lo")?.ok_or(io::ErrorKind::NotFound)?;
            netlink.set_up(lo.index, true)?;
            for address in ["127.0.0.1:9000", "[::1]:9000"] {
                let at: SocketAddr = address.parse().map_err(io::Error::other)?;
                let mut sink = Sink::open_ports(&here, at, PORTS)?;
                let before = sink.arrived()?;
                let mut fresh = Fresh::open(&here, at, (SOURCES - 32, 1), 64)?;
                let mut outgoing = Outgoing::new();
                assert_eq!(fresh.send(&mut outgoing, 64)?, 64);
                assert_eq!(sink.drained()?.wrapping_sub(before), 64, "{address}");
                assert_eq!(sink.broken()?, 0, "{address}");
            }
            Ok::<_, io::Error>(())
        });
        match made {
            Ok(done) => done.unwrap(),
            Err(error) => println!("skipped: no right to make a network namespace ({error})"),
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        assert_eq!(folded(0xffff), 0xffff);
        assert_eq!(folded(0x0001_ffff), 0xfffe);
    }
}
