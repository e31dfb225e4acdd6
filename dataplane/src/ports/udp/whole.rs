//! Whole: an encapsulated super-packet in one piece.
//!
//! ```text
//!  super-packet of up to 64 KiB ─► + outer headers ─► tunnel TAP ─► tc redirect ─► the underlay's interface
//!                                                                    (route and neighbour are the kernel's)
//! ```
//! Cutting a super-packet into segments, summing each and sending them as a train costs weir a pass over every byte.
//! A kernel that can segment inside a tunnel takes it whole instead, and a device that can, or a receiver on the same
//! host, need never cut it. What stays with the sockets is everything else: receiving, and packets that are one segment.
//! A flow's outer source port is that of its sender socket, so both kinds take one way through the underlay and keep
//! their order.
//!
//! The TAP lives in weir's namespace and goes with weir; nothing is read from it, so what the node might send into
//! it ends there. Packets leave past netfilter's output hooks, as those of a kernel vxlan device do not: whoever
//! filters outgoing UDP 8472 on the node turns this off (`underlay.segmentation: software`).
//!
//! Needs Linux 6.17, `CAP_NET_ADMIN` and `CAP_BPF`. Measured by `weir lab bench`, TCP between nodes.

use std::cell::Cell;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use vxlan::encap::{OUTER_BYTES_V4, OUTER_BYTES_V6, OuterChecksum, OuterConfig, TTL, write_outer};
use vxlan::mac::Mac;
use vxlan::wire::vxlan as header;

use super::sums;
use crate::buffer::Frame;
use crate::sys::bpf;
use crate::sys::netlink::Netlink;
use crate::sys::netns::sysctl_set;
use crate::sys::tunnel_tap;

/// Name of the TAP.
const INTERFACE: &str = "weir-tunnel";

/// Ethernet, and IP without options.
const UDP_OVER_V4: usize = 14 + 20;
const UDP_OVER_V6: usize = 14 + 40;

/// One queue of the tunnel TAP.
#[derive(Debug)]
pub(super) struct Whole {
    tap: File,
    port: u16,
    checksum: bool,
    /// Of the next outer IPv4 packet.
    identification: Cell<u16>,
}

impl Whole {
    /// Makes the TAP, with so many queues, and ties it to the interface that has the node's underlay addresses.
    ///
    /// # Errors
    /// The kernel or a capability lacks something, or the addresses are on several interfaces; the underlay works
    /// without this all the same.
    pub(super) fn open_queues(
        local: &[IpAddr],
        port: u16,
        checksum: bool,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        let netlink = Netlink::open()?;
        let underlay = interface_of(&netlink, local)?;
        let queues = tunnel_tap::open_queues(INTERFACE, count)?;
        if queues.len() < count {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a TAP of this name has fewer queues"));
        }
        let link = netlink.link(INTERFACE)?.ok_or(io::ErrorKind::NotFound)?;
        // Without addresses of its own the node has nothing to say there; where IPv6 is off, this file is not there.
        let _ = sysctl_set(&format!("net/ipv6/conf/{INTERFACE}/disable_ipv6"), "1");
        let program = bpf::redirect_neigh(underlay)?;
        netlink.add_ingress_program(link.index, program.as_fd())?;
        netlink.set_up(link.index, true)?;
        let apart = || Cell::new(RandomState::new().hash_one(port) as u16);
        Ok(queues.into_iter().map(|tap| Self { tap, port, checksum, identification: apart() }).collect())
    }

    /// Sends a super-packet, whose bytes begin at the VXLAN header, as if from the socket bound to `from`.
    ///
    /// # Errors
    /// The kernel's reason; `InvalidInput` for a frame that is no super-packet to a peer of that family.
    pub(super) fn send(&self, frame: &Frame, from: SocketAddr) -> io::Result<()> {
        let refused = || io::Error::from(io::ErrorKind::InvalidInput);
        let to = frame.outer.ok_or_else(refused)?;
        let (room, udp) = match to.peer {
            IpAddr::V4(_) => (OUTER_BYTES_V4, UDP_OVER_V4),
            IpAddr::V6(_) => (OUTER_BYTES_V6, UDP_OVER_V6),
        };
        let checksum = sums(self.checksum, to.peer);
        let (vxlan, inner) = header::parse(frame.bytes()).map_err(|_| refused())?;
        let outer = OuterConfig {
            // Neighbours are found behind the TAP: only the type of this Ethernet header is looked at.
            source_mac: Mac::ZERO,
            dest_mac: Mac::ZERO,
            src: from.ip(),
            dst: to.peer,
            source_port: from.port(),
            dest_port: self.port,
            vni: vxlan.vni,
            tos: to.tos,
            ttl: TTL,
            checksum: if checksum { OuterChecksum::PseudoHeader } else { OuterChecksum::Zero },
            identification: self.identifications(frame),
        };
        let mut headers = [0; OUTER_BYTES_V6];
        let headers = headers.get_mut(..room).ok_or_else(refused)?;
        write_outer(headers, inner, &outer).map_err(|_| refused())?;
        let about = tunnel_tap::Outer { udp, ipv6: to.peer.is_ipv6(), checksum };
        let vnet = tunnel_tap::encode(frame, about).ok_or_else(refused)?;
        let parts = [IoSlice::new(&vnet), IoSlice::new(headers), IoSlice::new(inner)];
        (&self.tap).write_vectored(&parts).map(drop)
    }

    /// The first of as many identifications as the super-packet has segments: whoever cuts it counts on from there. A router
    /// may fragment these packets, so none may be like another (RFC 6864 section 4).
    fn identifications(&self, frame: &Frame) -> u16 {
        let segments = frame.gso.map_or(1, |gso| frame.len().div_ceil(usize::from(gso.size).max(1)));
        self.identification.replace(self.identification.get().wrapping_add(segments as u16))
    }
}

/// The one interface that has all these addresses.
fn interface_of(netlink: &Netlink, local: &[IpAddr]) -> io::Result<u32> {
    let mut found = None;
    for link in netlink.links()? {
        let own = netlink.addresses(link.index)?;
        if local.iter().any(|address| own.iter().any(|net| net.addr() == *address)) {
            let all = local.iter().all(|address| own.iter().any(|net| net.addr() == *address));
            if !all || found.is_some() {
                let text = "the underlay's addresses are on several interfaces";
                return Err(io::Error::new(io::ErrorKind::Unsupported, text));
            }
            found = Some(link.index);
        }
    }
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no interface has the underlay's address"))
}
