//! Offload metadata from a pod: the vnet header against its frame, then checksums and segmentation by what it says.
//!
//! No panic; what is written never changes what was judged (addresses, protocol, ports); segments are valid packets
//! that together carry the payload. Input: the 10 bytes of the header, then the frame, whose IPv4 checksum is put right.

use dataplane::buffer::{Batch, Frame, Gso, Pool};
use dataplane::offload::{
    MAX_TCP_SEGMENTS, MAX_UDP_SEGMENTS, accept_metadata, complete_checksum, detect_gso, detect_partial,
    segment,
};
use dataplane::sys::vnet::{VNET_LEN, VnetHeader, decode, encode};
use vxlan::wire::headers::{IpHeaders, L4, Network, parse};

use crate::mend;

const POOL: usize = 256;
const MTU: u16 = 1450;

/// One input.
pub fn run(input: &[u8]) {
    let Some((header, bytes)) = input.split_first_chunk::<VNET_LEN>() else { return };
    let mut bytes = bytes.to_vec();
    mend::ipv4_checksum(&mut bytes);
    let mut frame = Frame::from_bytes(&bytes);
    if !decorate(&mut frame, *header) {
        return;
    }
    let Some(ip) = ip(&frame) else { return };
    // As the pipeline does: what is behind the packet is padding.
    frame.truncate(ip.frame_len());
    let claimed = frame.gso.is_some();
    if !accept_metadata(&mut frame, &ip) {
        return;
    }
    detect_partial(&mut frame, &ip);
    detect_gso(&mut frame, &ip, MTU);
    match frame.gso {
        Some(gso) => cut(frame, &ip, gso),
        None => {
            assert!(!claimed, "a super-packet stays one");
            assert!(complete_checksum(&mut frame), "what was accepted can be completed");
            assert_same(&ip, &frame);
        }
    }
}

/// Puts the metadata on the frame, as a port does.
fn decorate(frame: &mut Frame, header: VnetHeader) -> bool {
    let Ok((checksum, gso)) = decode(header, frame.len()) else { return false };
    (frame.checksum, frame.gso) = (checksum, gso);
    assert_eq!(decode(encode(frame), frame.len()), Ok((checksum, gso)), "written it means the same");
    true
}

fn ip(frame: &Frame) -> Option<IpHeaders> {
    match parse(frame.bytes(), frame.gso.is_some()).ok()?.net {
        Network::Ip(ip) => Some(ip),
        Network::Arp => None,
    }
}

fn cut(frame: Frame, headers: &IpHeaders, gso: Gso) {
    let header_len = match headers.l4 {
        L4::Tcp { header_len, .. } => usize::from(header_len),
        _ => 8,
    };
    let payload_at = usize::from(headers.l4_offset) + header_len;
    let payload = frame.bytes().get(payload_at..headers.frame_len()).unwrap_or_default().to_vec();
    let (mut pool, mut out) = (Pool::new(POOL), Batch::new());
    let Ok(made) = segment(frame, headers, &mut pool, &mut out) else { return };
    assert_eq!(made, out.len());
    assert!(made <= if header_len == 8 { MAX_UDP_SEGMENTS } else { MAX_TCP_SEGMENTS });
    let mut carried = Vec::new();
    for piece in &out {
        let ip = assert_same(headers, piece);
        assert!(piece.gso.is_none() && ip.frame_len() == piece.len());
        let part = piece.bytes().get(payload_at..).expect("the same headers");
        assert!(part.len() <= usize::from(gso.size));
        carried.extend_from_slice(part);
    }
    assert!(carried == payload, "the payload, once and in order");
}

/// The frame is a valid packet and in what it is judged by the one it was.
fn assert_same(before: &IpHeaders, frame: &Frame) -> IpHeaders {
    let Some(after) = ip(frame) else { panic!("no packet any more: {frame:?}") };
    let judged = |ip: &IpHeaders| (ip.src, ip.dst, ip.protocol, ip.ttl, ip.fragment.is_some());
    assert_eq!(judged(before), judged(&after));
    match (before.l4, after.l4) {
        (L4::Tcp { src_port, dst_port, .. }, L4::Tcp { src_port: src, dst_port: dst, .. })
        | (L4::Udp { src_port, dst_port }, L4::Udp { src_port: src, dst_port: dst }) => {
            assert_eq!((src_port, dst_port), (src, dst));
        }
        (before, after) => assert_eq!(before, after),
    }
    after
}
