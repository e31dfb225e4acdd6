//! Packets that no socket makes: fragments of any size of datagram, and SCTP. Built by hand, as whole frames from a
//! pod to its gateway, and read back by hand at the other end.
//!
//! IPv4 is cut by RFC 791, IPv6 by RFC 8200 section 4.5.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::wire::checksum;
use vxlan::wire::ethernet::{self, Ethernet};
use vxlan::wire::headers::{self, IpHeaders, Network};

use crate::traffic::sctp;

/// IP protocol number of UDP.
pub const UDP: u8 = 17;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const FRAGMENT_HEADER: usize = 8;
const NEXT_IS_FRAGMENT: u8 = 44;
const TTL: u8 = 64;

/// Who sends to whom over which wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// MAC of the sender.
    pub src_mac: Mac,
    /// MAC of its next hop.
    pub dst_mac: Mac,
    /// Address of the sender.
    pub src: IpAddr,
    /// Address of the receiver, of the same family.
    pub dst: IpAddr,
}

/// Whether smoltcp has no socket for this frame: SCTP, or a fragment.
pub(super) fn is_by_hand(frame: &[u8]) -> bool {
    ip(frame).is_some_and(|ip| ip.fragment.is_some() || ip.protocol == sctp::PROTOCOL)
}

/// The headers of an IP packet.
pub fn ip(frame: &[u8]) -> Option<IpHeaders> {
    match headers::parse(frame, false).ok()?.net {
        Network::Ip(ip) => Some(ip),
        Network::Arp => None,
    }
}

/// A UDP datagram without its IP header, the checksum in place.
pub fn udp(path: Path, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len().saturating_add(8)).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(usize::from(length));
    for field in [src_port, dst_port, length, 0] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    let sum = match checksum::transport(path.src, path.dst, UDP, &bytes) {
        0 => u16::MAX,
        sum => sum,
    };
    if let Some(field) = bytes.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// The frames that carry `payload` as `protocol` in IP packets of `mtu` bytes at the most: one, or as many
/// fragments as it takes.
pub fn frames(path: Path, protocol: u8, payload: &[u8], id: u16, mtu: u16) -> Vec<Vec<u8>> {
    let (whole, cut) = match path.dst {
        IpAddr::V4(_) => (IPV4_HEADER, IPV4_HEADER),
        IpAddr::V6(_) => (IPV6_HEADER, IPV6_HEADER + FRAGMENT_HEADER),
    };
    let room = usize::from(mtu).saturating_sub(cut).max(8) & !7;
    if payload.len().saturating_add(whole) <= usize::from(mtu) {
        return vec![frame(path, protocol, payload, None)];
    }
    let last = payload.len().div_ceil(room).saturating_sub(1);
    let piece = |(number, bytes): (usize, &[u8])| {
        let offset = u16::try_from(number.saturating_mul(room)).unwrap_or(u16::MAX);
        frame(path, protocol, bytes, Some((id, offset, number < last)))
    };
    payload.chunks(room).enumerate().map(piece).collect()
}

/// One frame; `fragment` is identification, offset in bytes, and whether more follow.
fn frame(path: Path, protocol: u8, payload: &[u8], fragment: Option<(u16, u16, bool)>) -> Vec<u8> {
    let ethertype = if path.dst.is_ipv6() { ethernet::IPV6 } else { ethernet::IPV4 };
    let mut bytes = Ethernet { dst: path.dst_mac, src: path.src_mac, ethertype }.to_bytes().to_vec();
    let extra = if fragment.is_some() { FRAGMENT_HEADER } else { 0 };
    let sized = |headers: usize| u16::try_from(payload.len().saturating_add(headers)).unwrap_or(u16::MAX);
    match (path.src, path.dst) {
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let next = if fragment.is_some() { NEXT_IS_FRAGMENT } else { protocol };
            bytes.extend_from_slice(&[0x60, 0, 0, 0]);
            bytes.extend_from_slice(&sized(extra).to_be_bytes());
            bytes.extend_from_slice(&[next, TTL]);
            bytes.extend_from_slice(&src.octets());
            bytes.extend_from_slice(&dst.octets());
            if let Some((id, offset, more)) = fragment {
                bytes.extend_from_slice(&[protocol, 0]);
                bytes.extend_from_slice(&(offset & !7 | u16::from(more)).to_be_bytes());
                bytes.extend_from_slice(&u32::from(id).to_be_bytes());
            }
        }
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let (id, offset, more) = fragment.unwrap_or_default();
            let mut header = vec![0x45, 0];
            header.extend_from_slice(&sized(IPV4_HEADER).to_be_bytes());
            header.extend_from_slice(&id.to_be_bytes());
            header.extend_from_slice(&(offset >> 3 | u16::from(more) << 13).to_be_bytes());
            header.extend_from_slice(&[TTL, protocol, 0, 0]);
            header.extend_from_slice(&src.octets());
            header.extend_from_slice(&dst.octets());
            let sum = checksum::ipv4_header(&header);
            if let Some(field) = header.get_mut(10..12) {
                field.copy_from_slice(&sum.to_be_bytes());
            }
            bytes.extend_from_slice(&header);
        }
        // Two families in one packet: nothing that could be sent.
        _ => {}
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// Puts the payloads of datagrams in fragments together again. Knows one sender.
#[derive(Debug, Default)]
pub struct Reassembly {
    pieces: BTreeMap<u32, BTreeMap<u32, Vec<u8>>>,
    ends: BTreeMap<u32, u32>,
}

impl Reassembly {
    /// Takes a frame; gives the payload of the IP packet that it completes, or that it is.
    pub fn take(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let ip = ip(frame)?;
        // An atomic or first fragment's l4_offset is behind the fragment header, like a later one's.
        let payload = frame.get(usize::from(ip.l4_offset)..ip.frame_len())?;
        let Some(fragment) = ip.fragment else { return Some(payload.to_vec()) };
        let pieces = self.pieces.entry(fragment.id).or_default();
        pieces.insert(fragment.offset, payload.to_vec());
        if !fragment.more {
            self.ends.insert(fragment.id, fragment.offset.saturating_add(fragment.length));
        }
        let end = *self.ends.get(&fragment.id)?;
        let have: usize = pieces.values().map(Vec::len).sum();
        if u32::try_from(have).ok()? < end {
            return None;
        }
        self.ends.remove(&fragment.id);
        Some(self.pieces.remove(&fragment.id)?.into_values().flatten().collect())
    }
}

/// The payload of a UDP datagram, if its checksum is right.
pub fn udp_payload(path: Path, datagram: &[u8]) -> Option<&[u8]> {
    // Over a datagram with its checksum in place the sum comes out as zero.
    (checksum::transport(path.src, path.dst, UDP, datagram) == 0).then_some(datagram.get(8..)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::pattern::Pattern;

    fn path(src: &str, dst: &str) -> Path {
        Path {
            src_mac: Mac([2, 0, 0, 0, 0, 1]),
            dst_mac: Mac([2, 0, 0, 0, 0, 2]),
            src: src.parse().unwrap(),
            dst: dst.parse().unwrap(),
        }
    }

    #[test]
    fn a_datagram_comes_back_whole_from_its_fragments_in_any_order() {
        for path in [path("10.244.1.10", "10.244.2.10"), path("fd00::1", "fd00::2")] {
            let fits = if path.dst.is_ipv6() { 1430 - 48 } else { 1430 - 28 };
            for size in [1, fits - 1, fits, fits + 1, 4_321, 8_000] {
                let mut payload = vec![0; size];
                Pattern::new(9).fill(&mut payload);
                let mut frames = frames(path, UDP, &udp(path, 1, 2, &payload), 7, 1430);
                assert_eq!(frames.len() > 1, size > fits, "{size}");
                frames.reverse();
                let mut reassembly = Reassembly::default();
                let whole: Vec<Vec<u8>> = frames.iter().filter_map(|frame| reassembly.take(frame)).collect();
                assert_eq!(whole.len(), 1, "{size}");
                assert_eq!(udp_payload(path, &whole[0]), Some(&payload[..]), "{size}");
            }
        }
    }
}
