//! Outer headers, written by hand with every field at hand, and read back.

use std::net::IpAddr;

use vxlan::decap::{OuterMeta, UdpChecksum, parse_outer_with};
use vxlan::mac::Mac;
use vxlan::wire::checksum;

use super::packets::{Ip, udp};
use super::world::{A_NIC, A_V4, A_V6, B_NIC, B_V4, C_NIC, C_V6, Sent};
use crate::buffer::{Checksum, Outer};

/// The outside of a packet from the underlay.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) dst_mac: Mac,
    pub(super) src_mac: Mac,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) tos: u8,
    pub(super) vxlan: [u8; 8],
}

impl Envelope {
    /// From node-b, over IPv4.
    pub(super) fn from_b() -> Self {
        Self {
            dst_mac: A_NIC,
            src_mac: B_NIC,
            src: B_V4.into(),
            dst: A_V4.into(),
            src_port: 50_000,
            dst_port: 8472,
            tos: 0,
            vxlan: [0x08, 0, 0, 0, 0, 0, 1, 0],
        }
    }

    /// From node-c, over IPv6.
    pub(super) fn from_c() -> Self {
        Self { src_mac: C_NIC, src: C_V6.into(), dst: A_V6.into(), ..Self::from_b() }
    }

    /// The IP packet around an inner frame, to be changed further.
    pub(super) fn packet(&self, inner: &[u8]) -> Ip {
        let datagram = udp(self.src_port, self.dst_port, &self.datagram(inner));
        let ip = Ip::new(self.src, self.dst, 17, datagram).between(self.src_mac, self.dst_mac);
        Ip { tos: self.tos, ..ip }
    }

    /// The whole frame.
    pub(super) fn frame(&self, inner: &[u8]) -> Vec<u8> {
        self.packet(inner).frame()
    }

    /// The UDP payload.
    pub(super) fn datagram(&self, inner: &[u8]) -> Vec<u8> {
        [&self.vxlan, inner].concat()
    }

    /// What a UDP socket tells of the rest.
    pub(super) fn metadata(&self) -> Outer {
        Outer { peer: self.src, local: self.dst, source_port: self.src_port, tos: self.tos }
    }
}

/// The outer headers and the inner frame of a packet sent to another node: all valid, with a UDP checksum, or with the sum
/// of the pseudo header where the port completes it.
#[track_caller]
pub(super) fn opened(sent: &Sent) -> (OuterMeta, &[u8]) {
    if let Some(outer) = sent.outer {
        let (vxlan, inner) = sent.bytes.split_first_chunk::<8>().expect("a VXLAN header");
        assert_eq!(*vxlan, [0x08, 0, 0, 0, 0, 0, 1, 0]);
        let meta = OuterMeta {
            src: outer.local,
            dst: outer.peer,
            source_port: outer.source_port,
            dest_port: 8472,
            tos: outer.tos,
            ttl: 64,
            payload: 0..sent.bytes.len(),
        };
        return (meta, inner);
    }
    let meta = parse_outer_with(&sent.bytes, UdpChecksum::VerifyUnlessPartial).expect("valid outer headers");
    let at = meta.payload.start;
    assert_ne!(&sent.bytes[at - 2..at], [0, 0], "the outer checksum is there");
    let segment = &sent.bytes[at - 8..meta.payload.end];
    match sent.checksum {
        Checksum::Complete => {
            assert_eq!(checksum::transport(meta.src, meta.dst, 17, segment), 0, "and right");
        }
        Checksum::Partial { start, offset } => {
            assert_eq!((usize::from(start), offset), (at - 8, 6), "left to the port");
            let sum = checksum::pseudo_header(meta.src, meta.dst, 17, segment.len() as u32);
            assert_eq!(sent.bytes[at - 2..at], checksum::fold(sum).to_be_bytes());
        }
    }
    assert_eq!(meta.payload.end, sent.bytes.len(), "no bytes after the packet");
    assert_eq!(sent.bytes[at..at + 8], [0x08, 0, 0, 0, 0, 0, 1, 0], "flags and VNI");
    (meta.clone(), &sent.bytes[at + 8..])
}
