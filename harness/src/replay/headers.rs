//! As much of a frame as says where it belongs: addresses, and whether it is VXLAN.
//!
//! More forgiving than the pipeline's own parser, on purpose: a malformed packet has to enter somewhere to be
//! dropped for what is wrong with it. Nothing here judges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vxlan::mac::Mac;
use vxlan::wire::ethernet;

const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sketch {
    pub(super) eth_dst: Mac,
    pub(super) eth_src: Mac,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    /// Where the IP or ARP header begins.
    pub(super) l3: usize,
    /// Where the transport header begins, and its protocol, where there is one.
    pub(super) l4: Option<(usize, u8)>,
    pub(super) is_arp: bool,
}

impl Sketch {
    /// Of an Ethernet frame; `None` where it names no two addresses.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let (eth, _) = ethernet::parse(frame)?;
        let (mut ethertype, mut l3) = (eth.ethertype, ethernet::HEADER_BYTES);
        // Two tags at the most; the pipeline will refuse them, but at the right port.
        for _ in 0..2 {
            if ethernet::is_vlan(ethertype) {
                ethertype = u16_at(frame, l3 + 2)?;
                l3 += 4;
            }
        }
        let (src, dst, l4) = match ethertype {
            ethernet::IPV4 => ipv4(frame, l3)?,
            ethernet::IPV6 => ipv6(frame, l3)?,
            ethernet::ARP => (v4_at(frame, l3 + 14)?, v4_at(frame, l3 + 24)?, None),
            _ => return None,
        };
        let is_arp = ethertype == ethernet::ARP;
        Some(Self { eth_dst: eth.dst, eth_src: eth.src, src, dst, l3, l4, is_arp })
    }

    /// Where the UDP header begins, if it is UDP to `port`.
    pub(super) fn udp_to(&self, frame: &[u8], port: u16) -> Option<usize> {
        let (at, protocol) = self.l4?;
        (protocol == UDP && u16_at(frame, at + 2)? == port).then_some(at)
    }

    /// Where the ICMPv6 message begins, if it is neighbour discovery.
    pub(super) fn neighbour_discovery(&self, frame: &[u8]) -> Option<usize> {
        let (at, protocol) = self.l4?;
        let kind = *frame.get(at)?;
        (protocol == ICMPV6 && (133..=137).contains(&kind)).then_some(at)
    }

    /// Length of the IP packet by its own field; 0 where it has none.
    pub(super) fn ip_len(&self, frame: &[u8]) -> usize {
        let len = match self.src {
            _ if self.is_arp => None,
            IpAddr::V4(_) => u16_at(frame, self.l3 + 2).map(usize::from),
            IpAddr::V6(_) => u16_at(frame, self.l3 + 4).map(|len| usize::from(len) + 40),
        };
        len.unwrap_or(0)
    }
}

type Ends = (IpAddr, IpAddr, Option<(usize, u8)>);

fn ipv4(frame: &[u8], l3: usize) -> Option<Ends> {
    let (src, dst) = (v4_at(frame, l3 + 12)?, v4_at(frame, l3 + 16)?);
    let header = usize::from(frame.get(l3)? & 0x0f) * 4;
    let is_later = u16_at(frame, l3 + 6)? & 0x1fff != 0;
    let l4 = (!is_later && header >= 20).then_some((l3 + header, *frame.get(l3 + 9)?));
    Some((src, dst, l4))
}

fn ipv6(frame: &[u8], l3: usize) -> Option<Ends> {
    let address = |at: usize| {
        let octets: [u8; 16] = *frame.get(at..)?.first_chunk()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    Some((address(l3 + 8)?, address(l3 + 24)?, Some((l3 + 40, *frame.get(l3 + 6)?))))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    let octets: [u8; 4] = *bytes.get(at..)?.first_chunk()?;
    Some(IpAddr::V4(Ipv4Addr::from(octets)))
}
