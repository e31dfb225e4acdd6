//! The frames that are measured: UDP over IPv4 with right checksums, one template for each size.
//!
//! Flow `n` is the template with its L4 ports; the checksum follows by RFC 1624. So a million flows of any size take
//! no memory, and what the pipeline reads is what a sender would have written.

use std::net::Ipv4Addr;

use dataplane::buffer::Frame;
use vxlan::encap::{OUTER_BYTES_V4, OuterChecksum, OuterConfig, TTL, write_outer};
use vxlan::wire::{checksum, vxlan as header};
use vxlan::{Mac, Vni};

use super::node::{
    CLIENT, CLIENT_MAC, GATEWAY_MAC, MTU, Node, PEER, PEER_MAC, PEER_UNDERLAY_MAC, REMOTE, SERVER, UNDERLAY,
    UNDERLAY_MAC, Underlay, VTEP_MAC,
};

/// Destination ports of flows.
pub(super) const FIRST_DST_PORT: u16 = 8000;
pub(super) const LAST_DST_PORT: u16 = 8099;
/// Source ports of flows.
pub(super) const FIRST_SRC_PORT: u16 = 10_000;
const SRC_PORTS: u32 = 50_000;
/// Most flows there are.
pub const MOST_FLOWS: usize = 5_000_000;

const ETHERNET: usize = 14;
const IP: usize = ETHERNET + 20;
const UDP: usize = IP + 8;
/// Frame check sequence, which frame sizes count and buffers do not hold.
const FCS: usize = 4;

/// A way through the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a pod into the tunnel.
    Encap,
    /// Out of the tunnel to a pod.
    Decap,
    /// From a pod to a pod of the same node.
    Local,
}

impl Direction {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Decap, Self::Encap, Self::Local];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Decap => "decap",
            Self::Local => "local",
        }
    }

    /// Whose frames go this way: source and destination MAC, source and destination address.
    pub fn ends(self) -> (Mac, Mac, Ipv4Addr, Ipv4Addr) {
        let Datagram { src_mac, dst_mac, src, dst, .. } = Datagram::of(self);
        (src_mac, dst_mac, src, dst)
    }

    /// The headers that an underlay of frames brings them in; none where they come from a pod.
    pub fn tunnel(self) -> Option<OuterConfig> {
        (self == Self::Decap).then(outer_config)
    }
}

/// Frame sizes, of the inner frame and with its FCS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// All of one size, 64 to the largest a pod may send (1468; clamped).
    Fixed(usize),
    /// 7 : 4 : 1 of 64, 594 and 1468 bytes; the largest is what fits the tunnel.
    Imix,
}

const LARGEST: usize = MTU as usize + ETHERNET + FCS;
const IMIX: [usize; 12] = [64, 594, 64, 64, 594, 64, LARGEST, 64, 594, 64, 594, 64];

impl Size {
    /// The sizes in their order, to be repeated.
    pub fn sizes(self) -> Vec<usize> {
        match self {
            Self::Fixed(size) => vec![size.clamp(64, LARGEST)],
            Self::Imix => IMIX.to_vec(),
        }
    }

    /// Mean bytes of a frame.
    #[allow(clippy::cast_precision_loss, reason = "a few thousand at the most")]
    pub fn mean(self) -> f64 {
        let sizes = self.sizes();
        sizes.iter().sum::<usize>() as f64 / sizes.len() as f64
    }
}

/// An Ethernet frame with a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Datagram {
    pub(super) dst_mac: Mac,
    pub(super) src_mac: Mac,
    pub(super) src: Ipv4Addr,
    pub(super) dst: Ipv4Addr,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) ttl: u8,
    pub(super) tos: u8,
}

impl Datagram {
    /// That of flow 0 in `direction`.
    pub(super) fn of(direction: Direction) -> Self {
        let (src_mac, dst_mac, src, dst) = match direction {
            Direction::Local => (CLIENT_MAC, GATEWAY_MAC, CLIENT, SERVER),
            Direction::Encap => (CLIENT_MAC, GATEWAY_MAC, CLIENT, REMOTE),
            Direction::Decap => (PEER_MAC, VTEP_MAC, REMOTE, SERVER),
        };
        Self { dst_mac, src_mac, src, dst, src_port: 0, dst_port: 0, ttl: 64, tos: 0 }
    }

    /// `size` counts the FCS, which is not written.
    pub(super) fn frame(&self, size: usize) -> Vec<u8> {
        let len = size.saturating_sub(FCS).max(UDP);
        let ip_len = (len - ETHERNET) as u16;
        let udp_len = (len - IP) as u16;
        let mut ip = Vec::with_capacity(20);
        ip.extend_from_slice(&[0x45, self.tos]);
        ip.extend_from_slice(&ip_len.to_be_bytes());
        ip.extend_from_slice(&[0, 0, 0, 0, self.ttl, 17, 0, 0]);
        ip.extend_from_slice(&self.src.octets());
        ip.extend_from_slice(&self.dst.octets());
        let sum = checksum::ipv4_header(&ip).to_be_bytes();
        ip.get_mut(10..12).into_iter().for_each(|field| field.copy_from_slice(&sum));
        let mut udp = Vec::with_capacity(usize::from(udp_len));
        udp.extend_from_slice(&self.src_port.to_be_bytes());
        udp.extend_from_slice(&self.dst_port.to_be_bytes());
        udp.extend_from_slice(&udp_len.to_be_bytes());
        udp.resize(usize::from(udp_len), 0);
        let sum = checksum::transport(self.src.into(), self.dst.into(), 17, &udp);
        let sum = if sum == 0 { 0xffff } else { sum };
        udp.get_mut(6..8).into_iter().for_each(|field| field.copy_from_slice(&sum.to_be_bytes()));
        [&self.dst_mac.0[..], &self.src_mac.0, &[0x08, 0x00], &ip, &udp].concat()
    }
}

/// What the port hands over for `inner`, in `direction`.
pub(super) fn envelope(direction: Direction, underlay: Underlay, inner: Vec<u8>) -> Vec<u8> {
    match (direction, underlay) {
        (Direction::Encap | Direction::Local, _) => inner,
        (Direction::Decap, Underlay::Datagram) => [&header::emit(Vni::FLANNEL)[..], &inner].concat(),
        (Direction::Decap, Underlay::Frame) => {
            let mut outer = vec![0; OUTER_BYTES_V4];
            // Both addresses are IPv4 and the room is theirs.
            let _ = write_outer(&mut outer, &inner, &outer_config());
            [outer, inner].concat()
        }
    }
}

fn outer_config() -> OuterConfig {
    OuterConfig {
        source_mac: PEER_UNDERLAY_MAC,
        dest_mac: UNDERLAY_MAC,
        src: PEER.into(),
        dst: UNDERLAY.into(),
        source_port: 50_000,
        dest_port: header::UDP_PORT_FLANNEL,
        vni: Vni::FLANNEL,
        tos: 0,
        ttl: TTL,
        checksum: OuterChecksum::Compute,
        identification: 0,
    }
}

/// Frames of any flow in one direction.
pub struct Frames {
    templates: Vec<Vec<u8>>,
    /// Where the inner IP header's transport header begins.
    transport: usize,
    outer: bool,
    next: usize,
}

impl Frames {
    /// Frames of these sizes, as the port hands them over.
    pub fn new(direction: Direction, underlay: Underlay, size: Size) -> Self {
        let templates = size
            .sizes()
            .into_iter()
            .map(|size| envelope(direction, underlay, Datagram::of(direction).frame(size)))
            .collect();
        let in_front = match (direction, underlay) {
            (Direction::Encap | Direction::Local, _) => 0,
            (Direction::Decap, Underlay::Datagram) => header::HEADER_BYTES,
            (Direction::Decap, Underlay::Frame) => OUTER_BYTES_V4,
        };
        let outer = direction == Direction::Decap && underlay == Underlay::Datagram;
        Self { templates, transport: in_front + IP, outer, next: 0 }
    }

    /// Writes the next frame of flow number `flow` into `frame`.
    pub fn write(&mut self, frame: &mut Frame, flow: u32) {
        self.next = if self.next + 1 < self.templates.len() { self.next + 1 } else { 0 };
        let Some(template) = self.templates.get(self.next) else { return };
        frame.write(template);
        frame.outer = self.outer.then(Node::outer);
        let src_port = FIRST_SRC_PORT + (flow % SRC_PORTS) as u16;
        let dst_port = FIRST_DST_PORT + (flow / SRC_PORTS) as u16;
        let transport = frame.bytes_mut().get_mut(self.transport..).unwrap_or_default();
        let Some([s0, s1, d0, d1, _, _, c0, c1]) = transport.first_chunk_mut::<8>() else { return };
        // The outer checksum of a whole frame stays right: what is added to the ports is taken off the inner one.
        let sum = checksum::update16(u16::from_be_bytes([*c0, *c1]), 0, src_port);
        let sum = checksum::update16(sum, 0, dst_port);
        [*s0, *s1] = src_port.to_be_bytes();
        [*d0, *d1] = dst_port.to_be_bytes();
        [*c0, *c1] = sum.to_be_bytes();
    }
}
