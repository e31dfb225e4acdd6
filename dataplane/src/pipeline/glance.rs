//! A glance at a frame: as much of the walk over its headers as a packet of a known flow needs, in one go.
//!
//! What it takes in: Ethernet, IPv4 without options or IPv6 without extension headers, no fragment, whole TCP or UDP
//! header, from a port no DHCP, on the underlay behind a VXLAN header of our network and an outer mark that changes
//! nothing inside. It holds them to the same rules as `decap` and `parse` (RFC 791, 8200, 9293, 768; RFC 7348
//! section 5; RFC 6040): a frame it takes in would pass both. Whatever else comes is not judged here but at the `door`:
//! [`Glance::at`] says nothing about it. Addresses and MACs are not judged either; they are the flow's key, and what is
//! known of the flow holds for them. Nothing is changed.
//!
//! Cost: one pass over the headers, no branch that depends on more than the protocol; `None` at the first surprise.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vxlan::ecn::{self, Decapsulated};
use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::vni::Vni;
use vxlan::wire::headers::{IpHeaders, L4, PROTOCOL_TCP, PROTOCOL_UDP};
use vxlan::wire::{checksum, ethernet, ipv4, ipv6, tcp, udp, vxlan as header};

use crate::buffer::{Checksum, Frame, Outer};
use crate::conntrack::Signal;
use crate::respond::is_dhcp;

const ETHERNET: usize = ethernet::HEADER_BYTES;
/// Where the checksum stands in a transport header.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;
/// Anything but "may not be fragmented" and the reserved flag.
const FRAGMENT: u16 = 0x3fff;

/// Addresses, protocol and L4 ports of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKey([u64; 5]);

/// What a glance has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glance {
    pub(super) key: FlowKey,
    pub(super) macs: Macs,
    pub(super) family: Family,
    /// Bytes of the IP packet.
    pub(super) ip_len: u16,
    pub(super) ttl: u8,
    pub(super) tos: u8,
    pub(super) protocol: u8,
    /// Flags of a TCP segment.
    flags: u8,
    /// Bytes of its header.
    header_len: u8,
    dont_fragment: bool,
    /// The transport checksum as it stands; 0 where it says nothing.
    stored: u16,
}

/// Destination and source MAC, to be compared at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Macs(u64, u64);

impl Macs {
    pub(super) fn new(dst: Mac, src: Mac) -> Self {
        let word = |Mac([a, b, c, d, e, f]): Mac| u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Self(word(dst), word(src))
    }
}

#[allow(
    clippy::inline_always,
    reason = "one caller in a loop; a call copies the glance twice: 60 of 300 instructions"
)]
impl Glance {
    /// Of nothing.
    pub(super) const EMPTY: Self = Self {
        key: FlowKey([0; 5]),
        macs: Macs(0, 0),
        family: Family::V4,
        ip_len: 0,
        ttl: 0,
        tos: 0,
        protocol: 0,
        flags: 0,
        header_len: 0,
        dont_fragment: false,
        stored: 0,
    };

    /// Looks at a frame from a pod or the node. False where it is not one to be taken in; what stands here then means
    /// nothing. Written in place, field by field: to copy what was written in other pieces stalls the processor.
    #[inline(always)]
    pub(super) fn at(&mut self, frame: &Frame) -> bool {
        if frame.gso.is_some() || self.inner(frame.bytes()).is_none() || self.speaks_dhcp() {
            return false;
        }
        match frame.checksum {
            Checksum::Complete => true,
            Checksum::Partial { start, offset } => self.is_own_checksum(start, offset),
        }
    }

    /// [`Glance::at`] for a datagram of the underlay.
    #[inline(always)]
    pub(super) fn at_datagram(&mut self, frame: &Frame, vni: Vni) -> bool {
        let Some(Outer { tos, .. }) = frame.outer else { return false };
        if frame.gso.is_some() || frame.checksum != Checksum::Complete {
            return false;
        }
        let bytes = frame.bytes().split_first_chunk::<{ header::HEADER_BYTES }>();
        // Reserved bits are counted, or refused, elsewhere.
        let inner =
            bytes.filter(|(vxlan, _)| u64::from_ne_bytes(**vxlan) == u64::from_ne_bytes(header::emit(vni)));
        inner.and_then(|(_, inner)| self.inner(inner)).is_some()
            && ecn::decapsulate(tos, self.tos) == Decapsulated::Keep
    }

    #[inline(always)]
    fn inner(&mut self, bytes: &[u8]) -> Option<()> {
        let (eth, packet) = ethernet::parse(bytes)?;
        self.macs = Macs::new(eth.dst, eth.src);
        match eth.ethertype {
            ethernet::IPV4 => self.v4(packet),
            ethernet::IPV6 => self.v6(packet),
            _ => None,
        }
    }

    #[inline(always)]
    fn v4(&mut self, packet: &[u8]) -> Option<()> {
        let head = packet.first_chunk::<{ ipv4::MIN_HEADER_BYTES }>()?;
        let &[first, tos, l0, l1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] = head;
        let flags = u16::from_be_bytes([f0, f1]);
        if first != 0x45 || flags & FRAGMENT != 0 || !is_summed(head) {
            return None;
        }
        let ip_len = u16::from_be_bytes([l0, l1]);
        let l4 = packet.get(ipv4::MIN_HEADER_BYTES..usize::from(ip_len))?;
        let addresses = u64::from_be_bytes([s0, s1, s2, s3, d0, d1, d2, d3]);
        let transport = Transport::at(protocol, l4)?;
        self.key = FlowKey([addresses, 0, 0, 0, transport.word(4, protocol)]);
        self.family = Family::V4;
        self.ip_len = ip_len;
        self.ttl = ttl;
        self.tos = tos;
        self.protocol = protocol;
        self.dont_fragment = flags & 0x4000 != 0;
        self.take(&transport);
        Some(())
    }

    #[inline(never)]
    fn v6(&mut self, packet: &[u8]) -> Option<()> {
        let (&[v0, v1, _, _, l0, l1, protocol, ttl], rest) = packet.split_first_chunk::<8>()?;
        let (src, rest) = rest.split_first_chunk::<16>()?;
        let (dst, rest) = rest.split_first_chunk::<16>()?;
        let payload_len = u16::from_be_bytes([l0, l1]);
        let ip_len = payload_len.checked_add(ipv6::HEADER_BYTES as u16)?;
        let l4 = rest.get(..usize::from(payload_len)).filter(|_| v0 >> 4 == 6)?;
        let transport = Transport::at(protocol, l4)?;
        let [s0, s1] = halves(*src);
        let [d0, d1] = halves(*dst);
        self.key = FlowKey([s0, s1, d0, d1, transport.word(6, protocol)]);
        self.family = Family::V6;
        self.ip_len = ip_len;
        self.ttl = ttl;
        self.tos = (v0 << 4) | (v1 >> 4);
        self.protocol = protocol;
        self.dont_fragment = true;
        self.take(&transport);
        Some(())
    }

    #[inline(always)]
    fn take(&mut self, transport: &Transport) {
        self.flags = transport.flags;
        self.header_len = transport.header_len;
        self.stored = transport.stored;
    }

    /// True when the metadata names the checksum field of the packet's own transport header.
    fn is_own_checksum(&self, start: u16, offset: u16) -> bool {
        let field = if self.protocol == PROTOCOL_TCP { TCP_CHECKSUM } else { UDP_CHECKSUM };
        start == self.l4_offset() && offset == field
    }

    /// True where a pod's packet is judged by more than its flow. Out of the tunnel its ports alone decide.
    fn speaks_dhcp(&self) -> bool {
        let (src_port, dst_port) = self.ports();
        self.protocol == PROTOCOL_UDP && (is_dhcp(src_port) || is_dhcp(dst_port))
    }

    /// True for a TCP segment that may open a connection.
    pub(super) fn is_syn(&self) -> bool {
        self.is_tcp() && self.flags & tcp::SYN != 0
    }

    /// What `offload::detect_partial` would make of the checksum of a packet from the underlay.
    pub(super) fn detected_checksum(&self) -> Checksum {
        let FlowKey([addresses @ .., _]) = self.key;
        let header_len = self.l4_offset() - ETHERNET as u16;
        // Words of 16 bits may be added in any grouping: nothing here comes near 64 bits.
        let addresses: u64 = addresses.iter().map(|word| (word >> 32) + (word & 0xffff_ffff)).sum();
        let length = u64::from(self.ip_len - header_len);
        let sum = addresses + length + u64::from(self.protocol);
        let sum = (sum >> 32) + (sum >> 16 & 0xffff) + (sum & 0xffff);
        if self.stored != 0 && self.stored == checksum::fold(sum as u32) {
            let offset = if self.is_tcp() { TCP_CHECKSUM } else { UDP_CHECKSUM };
            return Checksum::Partial { start: self.l4_offset(), offset };
        }
        Checksum::Complete
    }

    /// True where no router may cut the packet into fragments.
    pub(super) fn must_stay_whole(&self) -> bool {
        self.dont_fragment
    }

    /// Source and destination address.
    pub(super) fn addresses(&self) -> (IpAddr, IpAddr) {
        let FlowKey([first, src_low, dst_high, dst_low, _]) = self.key;
        match self.family {
            Family::V4 => (Ipv4Addr::from((first >> 32) as u32).into(), Ipv4Addr::from(first as u32).into()),
            Family::V6 => (address(first, src_low), address(dst_high, dst_low)),
        }
    }

    /// Source and destination port.
    pub(super) fn ports(&self) -> (u16, u16) {
        let FlowKey([.., ports]) = self.key;
        ((ports >> 16) as u16, ports as u16)
    }

    /// From the Ethernet header on.
    fn l4_offset(&self) -> u16 {
        match self.family {
            Family::V4 => (ETHERNET + ipv4::MIN_HEADER_BYTES) as u16,
            Family::V6 => (ETHERNET + ipv6::HEADER_BYTES) as u16,
        }
    }

    /// Bytes of the frame without padding.
    pub(super) fn frame_len(&self) -> usize {
        ETHERNET + usize::from(self.ip_len)
    }

    /// What the packet says to its connection.
    pub(super) fn signal(&self) -> Signal {
        if self.protocol == PROTOCOL_TCP { Signal::Tcp { flags: self.flags } } else { Signal::Udp }
    }

    /// True for TCP, whose segments a port may take joined.
    pub(super) fn is_tcp(&self) -> bool {
        self.protocol == PROTOCOL_TCP
    }

    /// The headers as `parse` would have them, of the frame that was looked at, from its Ethernet header on.
    pub(super) fn headers(&self, frame: &[u8]) -> IpHeaders {
        let (src, dst) = self.addresses();
        let (src_port, dst_port) = self.ports();
        let word = |at: usize| {
            let bytes = frame.get(usize::from(self.l4_offset()) + at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
        };
        let l4 = if self.is_tcp() {
            let (seq, ack) = (word(4), word(8));
            L4::Tcp { src_port, dst_port, flags: self.flags, seq, ack, header_len: self.header_len }
        } else {
            L4::Udp { src_port, dst_port }
        };
        IpHeaders {
            src,
            dst,
            family: self.family,
            protocol: self.protocol,
            ttl: self.ttl,
            tos: self.tos,
            dont_fragment: self.dont_fragment,
            l3_offset: ETHERNET as u16,
            l4_offset: self.l4_offset(),
            ip_len: u32::from(self.ip_len),
            fragment: None,
            l4,
        }
    }
}

impl FlowKey {
    /// That of a packet the long way has parsed; `None` where no glance takes such packets in, and for DHCP.
    pub(super) fn of(ip: &IpHeaders) -> Option<Self> {
        let plain = match ip.family {
            Family::V4 => ipv4::MIN_HEADER_BYTES as u16,
            Family::V6 => ipv6::HEADER_BYTES as u16,
        };
        if ip.fragment.is_some() || ip.l4_offset.checked_sub(ip.l3_offset)? != plain {
            return None;
        }
        let (L4::Tcp { src_port, dst_port, .. } | L4::Udp { src_port, dst_port }) = ip.l4 else {
            return None;
        };
        if matches!(ip.l4, L4::Udp { .. }) && (is_dhcp(src_port) || is_dhcp(dst_port)) {
            return None;
        }
        let transport = Transport { src_port, dst_port, flags: 0, header_len: 0, stored: 0 };
        Some(Self(match (ip.src, ip.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let addresses = u64::from(u32::from(src)) << 32 | u64::from(u32::from(dst));
                [addresses, 0, 0, 0, transport.word(4, ip.protocol)]
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let ([a, b], [c, d]) = (halves(src.octets()), halves(dst.octets()));
                [a, b, c, d, transport.word(6, ip.protocol)]
            }
            _ => return None,
        }))
    }

    /// True for the same flow; without a branch for each word.
    #[inline]
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
    }

    /// Of IPv4 two words say all there is.
    pub(super) fn hash(&self, seed: &ahash::RandomState) -> u64 {
        let Self([first, rest @ .., ports]) = *self;
        let mut hasher = seed.build_hasher();
        hasher.write_u64(first);
        if rest != [0; 3] {
            for word in rest {
                hasher.write_u64(word);
            }
        }
        hasher.write_u64(ports);
        hasher.finish()
    }
}

/// A transport header.
struct Transport {
    src_port: u16,
    dst_port: u16,
    flags: u8,
    header_len: u8,
    stored: u16,
}

#[allow(clippy::inline_always, reason = "as for the glance")]
impl Transport {
    #[inline(always)]
    fn at(protocol: u8, l4: &[u8]) -> Option<Self> {
        match protocol {
            PROTOCOL_UDP => {
                let &[s0, s1, d0, d1, l0, l1, c0, c1] = l4.first_chunk::<{ udp::HEADER_BYTES }>()?;
                let length = usize::from(u16::from_be_bytes([l0, l1]));
                (length >= udp::HEADER_BYTES && length <= l4.len()).then_some(Self {
                    src_port: u16::from_be_bytes([s0, s1]),
                    dst_port: u16::from_be_bytes([d0, d1]),
                    flags: 0,
                    header_len: 0,
                    // A datagram shorter than its packet (RFC 9868) is summed shorter too.
                    stored: if length == l4.len() { u16::from_be_bytes([c0, c1]) } else { 0 },
                })
            }
            PROTOCOL_TCP => {
                let tcp::Tcp { src_port, dst_port, flags, header_len, .. } = tcp::parse(l4).ok()?;
                let stored = l4.get(usize::from(TCP_CHECKSUM)..).and_then(<[u8]>::first_chunk)?;
                let stored = u16::from_be_bytes(*stored);
                Some(Self { src_port, dst_port, flags, header_len, stored })
            }
            _ => None,
        }
    }

    fn word(&self, version: u64, protocol: u8) -> u64 {
        version << 40 | u64::from(protocol) << 32 | u64::from(self.src_port) << 16 | u64::from(self.dst_port)
    }
}

/// True for an IPv4 header whose checksum is right (RFC 1071: the sum of all words is all ones, in any byte order).
#[inline]
fn is_summed(head: &[u8; ipv4::MIN_HEADER_BYTES]) -> bool {
    let (words, _) = head.as_chunks::<4>();
    // Five numbers of 32 bits, then of 16: nothing here comes near 64.
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let sum = (sum >> 32) + (sum >> 16 & 0xffff) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    (sum >> 16) + (sum & 0xffff) == 0xffff
}

fn halves(octets: [u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(octets);
    [(whole >> 64) as u64, whole as u64]
}

fn address(high: u64, low: u64) -> IpAddr {
    Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)).into()
}
