//! From what was captured to what the port would have seen.
//!
//! Captures come from other wires: without Ethernet headers (raw IP, Linux cooked), with the MACs of a bridge, cut by a
//! snap length, with segments that the host's offloads had joined, with checksums it had yet to fill in. Each of
//! these is made good, and counted ([`Fitted`]); nothing that policy looks at is touched.
//!
//! - Cut frames are filled up with zeros to the length they had; an outer UDP checksum that can no longer hold is
//!   cleared (RFC 6935), as are those inside segments to be cut anew.
//! - MACs become those of the port: the pod's and the gateway's, in ARP and neighbour discovery too; outside VXLAN
//!   the underlay's, inside it those of the two VTEPs. `--strict-mac` leaves all but the outer ones as they are.
//! - TCP larger than the MTU is marked as the super-packet it was.

use dataplane::buffer::{Checksum, Frame, MAX_FRAME, Outer};
use dataplane::offload;
use dataplane::tables::Generation;
use vxlan::encap::OuterChecksum;
use vxlan::fdb::VtepId;
use vxlan::mac::Mac;
use vxlan::wire::headers::{self as parsed, Network};
use vxlan::wire::{checksum, ethernet, vxlan as tunnel};

use super::headers::{Sketch, u16_at};
use super::place::LeftOut;
use crate::capture::LinkType;

/// Bytes between the outer UDP header and the inner frame.
const TO_INNER: usize = 8 + tunnel::HEADER_BYTES;

/// What was done to frames so that they fit, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Fitted {
    /// Filled up after a snap length had cut them.
    pub filled_up: u64,
    /// MACs replaced.
    pub macs: u64,
    /// VXLAN of this node, unwrapped: captured after it had been sent.
    pub unwrapped: u64,
    /// Wrapped as another node would have: captured after the tunnel.
    pub wrapped: u64,
    /// Marked as segments joined by an offload.
    pub joined: u64,
}

/// Writes a captured packet into `frame` as an Ethernet frame; how many bytes of it the capture does not have.
pub(super) fn to_ethernet(
    link: LinkType,
    bytes: &[u8],
    original_len: u32,
    frame: &mut Frame,
    fitted: &mut Fitted,
) -> Result<usize, LeftOut> {
    let (header, payload) = match link {
        LinkType::Ethernet => (None, bytes),
        LinkType::RawIp => {
            let ethertype = match bytes.first().map(|byte| byte >> 4) {
                Some(4) => ethernet::IPV4,
                Some(6) => ethernet::IPV6,
                _ => return Err(LeftOut::NoAddress),
            };
            (Some((Mac::ZERO, ethertype)), bytes)
        }
        LinkType::LinuxCooked => {
            let (header, payload) = bytes.split_at_checked(16).ok_or(LeftOut::NoAddress)?;
            (Some((cooked_mac(header, 6), u16_at(header, 14).unwrap_or(0))), payload)
        }
        LinkType::LinuxCooked2 => {
            let (header, payload) = bytes.split_at_checked(20).ok_or(LeftOut::NoAddress)?;
            (Some((cooked_mac(header, 12), u16_at(header, 0).unwrap_or(0))), payload)
        }
        LinkType::Other(_) => return Err(LeftOut::LinkType),
    };
    let head = if header.is_some() { ethernet::HEADER_BYTES } else { 0 };
    let captured = head + payload.len();
    if captured > MAX_FRAME {
        return Err(LeftOut::TooLong);
    }
    frame.reset();
    let room = frame.writable();
    if let (Some((src, ethertype)), Some(to)) = (header, room.get_mut(..head)) {
        to.copy_from_slice(&ethernet::Ethernet { dst: Mac::ZERO, src, ethertype }.to_bytes());
    }
    if let Some(to) = room.get_mut(head..captured) {
        to.copy_from_slice(payload);
    }
    let cut = (original_len as usize).saturating_sub(bytes.len());
    // A length that no frame can have is the capture's mistake.
    let missing = if captured + cut > MAX_FRAME { 0 } else { cut };
    if missing > 0 {
        // The memory holds what was there before.
        room.get_mut(captured..captured + missing).unwrap_or_default().fill(0);
        fitted.filled_up += 1;
    }
    frame.set_len(captured + missing);
    Ok(missing)
}

fn cooked_mac(header: &[u8], at: usize) -> Mac {
    header.get(at..).and_then(|rest| rest.first_chunk()).map_or(Mac::ZERO, |octets| Mac(*octets))
}

/// Fits frames to one state's node.
pub(super) struct Fitter {
    pub(super) strict_mac: bool,
    pub(super) pod_mtu: u16,
}

impl Fitter {
    /// For a port that has `own` at its other end and knows weir as `weir`.
    pub(super) fn for_host(
        &self,
        frame: &mut Frame,
        sketch: &Sketch,
        own: Mac,
        weir: Mac,
        fitted: &mut Fitted,
    ) {
        let no_macs = sketch.eth_dst == Mac::ZERO;
        if !self.strict_mac || no_macs {
            let dst = if sketch.eth_dst.is_multicast() { sketch.eth_dst } else { weir };
            if (sketch.eth_dst, sketch.eth_src) != (dst, own) {
                ethernet::set_macs(frame.bytes_mut(), dst, own);
                if sketch.is_arp {
                    // Sender hardware address.
                    replace_mac(frame.bytes_mut(), sketch.l3 + 8, sketch.eth_src, own);
                } else if let Some(at) = sketch.neighbour_discovery(frame.bytes()) {
                    refit_discovery(frame.bytes_mut(), at, sketch.eth_src, own);
                }
                fitted.macs += 1;
            }
        }
        self.mark_joined(frame, fitted);
    }

    /// Marks what is larger than a pod's wire takes as what an offload had joined.
    fn mark_joined(&self, frame: &mut Frame, fitted: &mut Fitted) {
        if frame.len() <= usize::from(self.pod_mtu) + ethernet::HEADER_BYTES {
            return;
        }
        let Ok(headers) = parsed::parse(frame.bytes(), false) else { return };
        let Network::Ip(ip) = headers.net else { return };
        offload::detect_partial(frame, &ip);
        offload::detect_gso(frame, &ip, self.pod_mtu);
        if frame.gso.is_some() {
            // A capture shows sums that hosts had not filled in in more ways than one; segments get new ones.
            frame.checksum = Checksum::Partial { start: ip.l4_offset, offset: 16 };
            fitted.joined += 1;
        }
    }

    /// VXLAN for the raw underlay port. True when it has to enter as a datagram instead: what is inside is larger
    /// than a tunnel takes, because the receiving host had joined it.
    pub(super) fn for_underlay(
        &self,
        generation: &Generation,
        frame: &mut Frame,
        sketch: &Sketch,
        udp: usize,
        missing: usize,
        fitted: &mut Fitted,
    ) -> bool {
        let own = &generation.own;
        if !sketch.eth_dst.is_multicast() && sketch.eth_dst != own.underlay_mac {
            // The state does not say what the underlay's MACs are: this one is never judged.
            ethernet::set_macs(frame.bytes_mut(), own.underlay_mac, sketch.eth_src);
        }
        let stored = u16_at(frame.bytes(), udp + 6).unwrap_or(0);
        let length = u16_at(frame.bytes(), udp + 4).unwrap_or(0);
        let unfinished = checksum::fold(checksum::pseudo_header(sketch.src, sketch.dst, 17, length.into()));
        if missing > 0 {
            write_u16(frame.bytes_mut(), udp + 6, 0);
        } else if stored != 0 && stored == unfinished {
            // A veth on this very host: the kernel had yet to fill it in, and vouches for the packet.
            frame.checksum = Checksum::Partial { start: udp as u16, offset: 6 };
        }
        if !self.strict_mac {
            Self::refit_inner(generation, frame, sketch, udp, fitted);
        }
        let inner = frame.len().saturating_sub(udp + TO_INNER + ethernet::HEADER_BYTES);
        if inner <= usize::from(self.pod_mtu) || sketch.ip_len(frame.bytes()) > frame.len() {
            return false;
        }
        let tos = match sketch.src {
            std::net::IpAddr::V4(_) => frame.bytes().get(sketch.l3 + 1).copied().unwrap_or(0),
            std::net::IpAddr::V6(_) => u16_at(frame.bytes(), sketch.l3).map_or(0, |word| (word >> 4) as u8),
        };
        let source_port = u16_at(frame.bytes(), udp).unwrap_or(0);
        frame.checksum = Checksum::Complete;
        frame.pull_front(udp + 8);
        leave_sum_open(frame);
        frame.outer = Some(Outer { peer: sketch.src, local: sketch.dst, source_port, tos });
        fitted.joined += 1;
        true
    }

    fn refit_inner(
        generation: &Generation,
        frame: &mut Frame,
        sketch: &Sketch,
        udp: usize,
        fitted: &mut Fitted,
    ) {
        let own = &generation.own;
        let Some((_, vtep)) = generation.fdb.by_underlay(sketch.src) else { return };
        let at = udp + TO_INNER;
        let Some((inner, _)) = frame.bytes().get(at..).and_then(ethernet::parse) else { return };
        let over_v6 = sketch.src.is_ipv6();
        let pick = |v4: Mac, v6: Option<Mac>| if over_v6 { v6.unwrap_or(v4) } else { v4 };
        let ours = inner.dst == own.vtep_mac || Some(inner.dst) == own.vtep_mac_v6;
        let dst =
            if ours || inner.dst.is_multicast() { inner.dst } else { pick(own.vtep_mac, own.vtep_mac_v6) };
        let src = if vtep.accepts_inner_mac(inner.src) { inner.src } else { pick(vtep.mac, vtep.mac_v6) };
        if (dst, src) == (inner.dst, inner.src) {
            return;
        }
        let old = frame.bytes().get(at..at + 12).and_then(|macs| macs.first_chunk::<12>()).copied();
        ethernet::set_macs(frame.bytes_mut().get_mut(at..).unwrap_or_default(), dst, src);
        fitted.macs += 1;
        let stored = u16_at(frame.bytes(), udp + 6).unwrap_or(0);
        if let (Some(old), true, Checksum::Complete) = (old, stored != 0, frame.checksum) {
            let new = [dst.0, src.0].concat();
            let sum = update(stored, &old, &new);
            write_u16(frame.bytes_mut(), udp + 6, if sum == 0 { 0xffff } else { sum });
        }
    }

    /// A packet captured behind the tunnel, as the datagram underlay would have handed it over.
    pub(super) fn wrap(
        &self,
        generation: &Generation,
        frame: &mut Frame,
        sketch: &Sketch,
        id: VtepId,
        vni: vxlan::Vni,
        fitted: &mut Fitted,
    ) {
        let own = &generation.own;
        let Some(vtep) = generation.fdb.get(id) else { return };
        let v4 = vtep.underlay_v4.zip(own.underlay_v4).map(|(peer, own)| (peer.into(), own.address.into()));
        let v6 = vtep.underlay_v6.zip(own.underlay_v6).map(|(peer, own)| (peer.into(), own.address.into()));
        let Some((peer, local)) = v4.or(v6) else { return };
        let (src, dst) = (vtep.mac, own.vtep_mac);
        if !sketch.eth_dst.is_multicast() {
            ethernet::set_macs(frame.bytes_mut(), dst, src);
        }
        if let Some(room) = frame.push_front(tunnel::HEADER_BYTES) {
            room.copy_from_slice(&tunnel::emit(vni));
        }
        if frame.len() > usize::from(self.pod_mtu) + tunnel::HEADER_BYTES + ethernet::HEADER_BYTES {
            leave_sum_open(frame);
            fitted.joined += 1;
        }
        frame.outer = Some(Outer { peer, local, source_port: 49_152, tos: 0 });
        fitted.wrapped += 1;
    }
}

/// Says that the TCP checksum inside a VXLAN datagram has yet to be filled in: its segments get sums of their own, and
/// what stands in a joined one is whatever the capturing host left there.
fn leave_sum_open(frame: &mut Frame) {
    let inner = frame.bytes().get(tunnel::HEADER_BYTES..).unwrap_or_default();
    if let Ok(Network::Ip(ip)) = parsed::parse(inner, false).map(|headers| headers.net)
        && matches!(ip.l4, parsed::L4::Tcp { .. })
        && ip.fragment.is_none()
    {
        let start = ip.l4_offset.saturating_add(tunnel::HEADER_BYTES as u16);
        frame.checksum = Checksum::Partial { start, offset: 16 };
    }
}

/// Takes our own outer headers off.
pub(super) fn unwrap(frame: &mut Frame, udp: usize, fitted: &mut Fitted) -> bool {
    fitted.unwrapped += 1;
    frame.pull_front(udp + TO_INNER)
}

/// The outer checksum a replay writes into frames it forwards: whoever reads the file need not sum them again.
pub(super) const OUTER_CHECKSUM: OuterChecksum = OuterChecksum::Zero;

/// Puts `new` where `old` stands, and nowhere else.
fn replace_mac(bytes: &mut [u8], at: usize, old: Mac, new: Mac) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<6>())
        && *place == old.0
    {
        *place = new.0;
    }
}

/// The link-layer address options of a neighbour discovery message (RFC 4861 section 4.6.1), and its checksum.
fn refit_discovery(bytes: &mut [u8], at: usize, old: Mac, new: Mac) {
    let fixed = match bytes.get(at) {
        Some(133) => 8,
        Some(134) => 16,
        Some(135 | 136) => 24,
        _ => 40,
    };
    let mut option = at + fixed;
    // An option of length 0 would never end.
    while let Some(&[kind, units]) = bytes.get(option..).and_then(|rest| rest.first_chunk::<2>())
        && units > 0
    {
        let mac = bytes.get(option + 2..).and_then(|rest| rest.first_chunk::<6>()).copied();
        if matches!(kind, 1 | 2) && units == 1 && mac == Some(old.0) {
            replace_mac(bytes, option + 2, old, new);
            let sum = update(u16_at(bytes, at + 2).unwrap_or(0), &old.0, &new.0);
            write_u16(bytes, at + 2, sum);
        }
        option += usize::from(units) * 8;
    }
}

/// A checksum after an even number of bytes at an even place changed.
fn update(sum: u16, old: &[u8], new: &[u8]) -> u16 {
    let (old, _) = old.as_chunks::<2>();
    let (new, _) = new.as_chunks::<2>();
    old.iter().zip(new).fold(sum, |sum, (old, new)| {
        checksum::update16(sum, u16::from_be_bytes(*old), u16::from_be_bytes(*new))
    })
}

fn write_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<2>()) {
        *place = value.to_be_bytes();
    }
}
