//! Frames as they are captured, field by field, with the checksums that hosts send.

use std::net::IpAddr;

use vxlan::Vni;
use vxlan::encap::{OUTER_BYTES_V4, OUTER_BYTES_V6, OuterChecksum, OuterConfig, TTL, write_outer};
use vxlan::mac::Mac;
use vxlan::mtu::Family;
use vxlan::vtep::Vtep;
use vxlan::wire::{checksum, ethernet};

use crate::replay::NodeState;

/// Who sends a frame to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) src_mac: Mac,
    pub(crate) dst_mac: Mac,
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
}

/// The tunnel from another node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tunnel {
    peer: IpAddr,
    own: IpAddr,
    peer_mac: Mac,
    own_mac: Mac,
    vni: Vni,
    port: u16,
    pub(super) inner_dst: Mac,
}

impl Tunnel {
    /// The tunnel of a VTEP to us, IPv4 where both have it, and the MAC that inner frames come from.
    pub(super) fn from(vtep: &Vtep, state: &NodeState) -> Option<(Self, Mac)> {
        let own = &state.generation.own;
        let v4 = vtep.underlay_v4.zip(own.underlay_v4).map(|(peer, own)| (peer.into(), own.address.into()));
        let v6 = vtep.underlay_v6.zip(own.underlay_v6).map(|(peer, own)| (peer.into(), own.address.into()));
        let (peer, own_address): (IpAddr, IpAddr) = v4.or(v6)?;
        let family = Family::from(peer);
        let pick = |v4: Mac, v6: Option<Mac>| if family == Family::V6 { v6.unwrap_or(v4) } else { v4 };
        let tunnel = Self {
            peer,
            own: own_address,
            peer_mac: own.underlay_neighbours.get(&peer).copied().unwrap_or(Mac::ZERO),
            own_mac: own.underlay_mac,
            vni: state.vni(),
            port: state.vxlan_port(),
            inner_dst: pick(own.vtep_mac, own.vtep_mac_v6),
        };
        Some((tunnel, pick(vtep.mac, vtep.mac_v6)))
    }

    /// Puts the outer headers in front of a frame.
    pub(super) fn wrap(&self, frame: &mut Vec<u8>, source_port: u16) {
        let room = if self.peer.is_ipv4() { OUTER_BYTES_V4 } else { OUTER_BYTES_V6 };
        frame.splice(0..0, std::iter::repeat_n(0, room));
        let config = OuterConfig {
            source_mac: self.peer_mac,
            dest_mac: self.own_mac,
            src: self.peer,
            dst: self.own,
            source_port,
            dest_port: self.port,
            vni: self.vni,
            tos: 0,
            ttl: TTL,
            checksum: OuterChecksum::Compute,
            identification: 0,
        };
        let (outer, inner) = frame.split_at_mut(room);
        // Families agree and frames are short: it cannot fail, and would leave a frame of zeros.
        let _ = write_outer(outer, inner, &config);
    }
}

/// Ethernet and IP headers in front of a transport packet whose checksum is at `sum_at`.
fn finish(ends: &Ends, protocol: u8, mut l4: Vec<u8>, sum_at: usize, to: &mut Vec<u8>) {
    let sum = match protocol {
        1 => !checksum::fold(checksum::sum(&l4)),
        _ => checksum::transport(ends.src, ends.dst, protocol, &l4),
    };
    let sum = if sum == 0 && protocol == 17 { 0xffff } else { sum };
    if let Some(place) = l4.get_mut(sum_at..sum_at + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
    let ethertype = if ends.src.is_ipv4() { ethernet::IPV4 } else { ethernet::IPV6 };
    to.clear();
    let header = ethernet::Ethernet { dst: ends.dst_mac, src: ends.src_mac, ethertype };
    to.extend_from_slice(&header.to_bytes());
    match (ends.src, ends.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let len = (ip.len() + l4.len()) as u16;
            ip[2..4].copy_from_slice(&len.to_be_bytes());
            ip[12..16].copy_from_slice(&src.octets());
            ip[16..20].copy_from_slice(&dst.octets());
            let sum = checksum::ipv4_header(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            to.extend_from_slice(&ip);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            to.extend_from_slice(&[0x60, 0, 0, 0]);
            to.extend_from_slice(&(l4.len() as u16).to_be_bytes());
            to.extend_from_slice(&[protocol, 64]);
            to.extend_from_slice(&src.octets());
            to.extend_from_slice(&dst.octets());
        }
        // Ends are drawn from one family.
        _ => {}
    }
    to.extend_from_slice(&l4);
}

pub(crate) fn tcp(
    ends: &Ends,
    src_port: u16,
    dst_port: u16,
    (seq, ack): (u32, u32),
    flags: u8,
    payload: usize,
    to: &mut Vec<u8>,
) {
    let mut l4 = Vec::with_capacity(20 + payload);
    l4.extend_from_slice(&src_port.to_be_bytes());
    l4.extend_from_slice(&dst_port.to_be_bytes());
    l4.extend_from_slice(&seq.to_be_bytes());
    l4.extend_from_slice(&ack.to_be_bytes());
    l4.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    l4.resize(20 + payload, b'w');
    finish(ends, 6, l4, 16, to);
}

pub(crate) fn udp(ends: &Ends, src_port: u16, dst_port: u16, payload: usize, to: &mut Vec<u8>) {
    let mut l4 = Vec::with_capacity(8 + payload);
    l4.extend_from_slice(&src_port.to_be_bytes());
    l4.extend_from_slice(&dst_port.to_be_bytes());
    l4.extend_from_slice(&((8 + payload) as u16).to_be_bytes());
    l4.resize(8 + payload, 0);
    finish(ends, 17, l4, 6, to);
}

pub(super) fn echo(ends: &Ends, request: bool, id: u16, seq: u16, payload: usize, to: &mut Vec<u8>) {
    let (protocol, kind) = match (ends.src.is_ipv4(), request) {
        (true, true) => (1, 8),
        (true, false) => (1, 0),
        (false, true) => (58, 128),
        (false, false) => (58, 129),
    };
    let mut l4 = vec![kind, 0, 0, 0];
    l4.extend_from_slice(&id.to_be_bytes());
    l4.extend_from_slice(&seq.to_be_bytes());
    l4.resize(8 + payload, b'w');
    finish(ends, protocol, l4, 2, to);
}
