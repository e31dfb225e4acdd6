//! The vnet header: what the kernel says, and is told, about checksum and segmentation of one frame.
//!
//! ```text
//!   0      1      2       4        6            8             10
//!   ├ flags ┼ type ┼ hdr_len ┼ gso_size ┼ csum_start ┼ csum_offset ┤ Ethernet frame …
//! ```
//! `struct virtio_net_hdr` of `linux/virtio_net.h` (virtio 1.3, section 5.1.6) in its 10-byte form and in
//! host byte order, as TUN/TAP (`IFF_VNET_HDR`) and packet sockets (`PACKET_VNET_HDR`) use it. It stands in
//! front of every frame, both ways.
//!
//! The frame comes from a pod, and a pod with a packet socket writes this header itself: [`decode`] lets
//! nothing pass that points outside the frame or that no segmentation could carry out. That the kind of
//! super-packet fits the headers inside is for whoever parses these. `hdr_len` is a hint, never read.
//! Constant time; no I/O, no unsafe code.

use crate::buffer::{Checksum, Frame, Gso, GsoKind};

/// Length of the header.
pub const VNET_LEN: usize = 10;

/// The header as bytes.
pub type VnetHeader = [u8; VNET_LEN];

const FLAG_NEEDS_CSUM: u8 = 1;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const ETHERNET_LEN: usize = 14;
const TCP_CHECKSUM_OFFSET: u16 = 16;
const UDP_CHECKSUM_OFFSET: u16 = 6;
const TCP_DATA_OFFSET: usize = 12;
const UDP_LEN: usize = 8;

/// The header makes no sense for its frame; the frame is not to be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("vnet header contradicts its frame")
    }
}

impl std::error::Error for Malformed {}

/// Reads what `header` says about a frame of `frame_len` bytes.
///
/// # Errors
/// The checksum lies outside the frame or in its Ethernet header; the kind of super-packet is unknown (UFO,
/// tunnels), has segments of no length, or no partial checksum where that kind has its checksum.
pub fn decode(header: VnetHeader, frame_len: usize) -> Result<(Checksum, Option<Gso>), Malformed> {
    let [flags, gso_type, _, _, size0, size1, start0, start1, offset0, offset1] = header;
    let size = u16::from_ne_bytes([size0, size1]);
    let start = u16::from_ne_bytes([start0, start1]);
    let offset = u16::from_ne_bytes([offset0, offset1]);

    let checksum = if flags & FLAG_NEEDS_CSUM == 0 {
        Checksum::Complete
    } else {
        let end = usize::from(start) + usize::from(offset) + 2;
        if usize::from(start) < ETHERNET_LEN || end > frame_len {
            return Err(Malformed);
        }
        Checksum::Partial { start, offset }
    };
    if gso_type == GSO_NONE {
        return Ok((checksum, None));
    }

    let (kind, checksum_offset) = match gso_type & !GSO_ECN {
        GSO_TCPV4 => (GsoKind::Tcp4, TCP_CHECKSUM_OFFSET),
        GSO_TCPV6 => (GsoKind::Tcp6, TCP_CHECKSUM_OFFSET),
        GSO_UDP_L4 => (GsoKind::UdpL4, UDP_CHECKSUM_OFFSET),
        _ => return Err(Malformed),
    };
    let Checksum::Partial { offset, .. } = checksum else { return Err(Malformed) };
    if size == 0 || offset != checksum_offset {
        return Err(Malformed);
    }
    Ok((checksum, Some(Gso { kind, size, ecn: gso_type & GSO_ECN != 0 })))
}

/// The header that says what `frame` carries as metadata.
///
/// The kernel refuses metadata that points outside the frame (`EINVAL`), so nothing is checked here.
pub fn encode(frame: &Frame) -> VnetHeader {
    let mut flags = 0;
    let (mut start, mut offset) = (0, 0);
    if let Checksum::Partial { start: first, offset: at } = frame.checksum {
        flags = FLAG_NEEDS_CSUM;
        (start, offset) = (first, at);
    }
    let (mut kind, mut size, mut headers) = (GSO_NONE, 0, 0);
    if let Some(gso) = frame.gso {
        kind = match gso.kind {
            GsoKind::Tcp4 => GSO_TCPV4,
            GsoKind::Tcp6 => GSO_TCPV6,
            GsoKind::UdpL4 => GSO_UDP_L4,
        };
        if gso.ecn {
            kind |= GSO_ECN;
        }
        size = gso.size;
        headers = header_len(frame, gso.kind, usize::from(start));
    }
    let [headers0, headers1] = headers.to_ne_bytes();
    let [size0, size1] = size.to_ne_bytes();
    let [start0, start1] = start.to_ne_bytes();
    let [offset0, offset1] = offset.to_ne_bytes();
    [flags, kind, headers0, headers1, size0, size1, start0, start1, offset0, offset1]
}

/// The header of a train of UDP datagrams with `size` bytes of payload each, whose UDP header begins at `udp`.
pub fn encode_train(size: u16, udp: u16) -> VnetHeader {
    let [size0, size1] = size.to_ne_bytes();
    let [start0, start1] = udp.to_ne_bytes();
    let [offset0, offset1] = UDP_CHECKSUM_OFFSET.to_ne_bytes();
    let [headers0, headers1] = udp.saturating_add(UDP_LEN as u16).to_ne_bytes();
    [FLAG_NEEDS_CSUM, GSO_UDP_L4, headers0, headers1, size0, size1, start0, start1, offset0, offset1]
}

/// Bytes of all headers of a super-packet: how much the kernel lays out in one piece. 0 where unknown.
fn header_len(frame: &Frame, kind: GsoKind, transport: usize) -> u16 {
    let len = match kind {
        GsoKind::Tcp4 | GsoKind::Tcp6 => match frame.bytes().get(transport.saturating_add(TCP_DATA_OFFSET)) {
            Some(byte) => usize::from(byte >> 4) * 4,
            None => return 0,
        },
        GsoKind::UdpL4 => UDP_LEN,
    };
    u16::try_from(transport.saturating_add(len).min(frame.len())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(flags: u8, kind: u8, size: u16, start: u16, offset: u16) -> VnetHeader {
        let mut bytes = [0; VNET_LEN];
        bytes[0] = flags;
        bytes[1] = kind;
        bytes[4..6].copy_from_slice(&size.to_ne_bytes());
        bytes[6..8].copy_from_slice(&start.to_ne_bytes());
        bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
        bytes
    }

    #[test]
    fn an_empty_header_says_nothing() {
        assert_eq!(decode([0; VNET_LEN], 60), Ok((Checksum::Complete, None)));
        assert_eq!(encode(&Frame::from_bytes(&[0; 60])), [0; VNET_LEN]);
    }

    #[test]
    fn flags_other_than_needs_csum_are_ignored() {
        assert_eq!(decode(header(2, 0, 0, 9999, 9999), 60), Ok((Checksum::Complete, None)));
        assert_eq!(decode(header(0xfe, 0, 0, 0, 0), 60), Ok((Checksum::Complete, None)));
    }

    #[test]
    fn a_checksum_outside_the_frame_is_malformed() {
        let partial = Checksum::Partial { start: 34, offset: 16 };
        assert_eq!(decode(header(1, 0, 0, 34, 16), 52), Ok((partial, None)));
        for (start, offset, len) in
            [(34, 16, 51), (0, 0, 60), (13, 4, 60), (60, 0, 60), (0xffff, 0xffff, 65_561)]
        {
            assert_eq!(decode(header(1, 0, 0, start, offset), len), Err(Malformed), "{start} {offset} {len}");
        }
    }

    #[test]
    fn a_super_packet_without_segment_size_or_checksum_is_malformed() {
        assert_eq!(decode(header(1, GSO_TCPV4, 0, 34, 16), 5000), Err(Malformed));
        assert_eq!(decode(header(0, GSO_TCPV4, 1448, 34, 16), 5000), Err(Malformed));
        assert_eq!(decode(header(1, GSO_TCPV4, 1448, 34, 6), 5000), Err(Malformed));
        assert_eq!(decode(header(1, GSO_UDP_L4, 1448, 34, 16), 5000), Err(Malformed));
    }

    #[test]
    fn kinds_weir_cannot_cut_are_malformed() {
        for kind in [2, 3, 6, 0x21, 0x41, 0x61, 0x7f, GSO_ECN] {
            assert_eq!(decode(header(1, kind, 1448, 34, 16), 5000), Err(Malformed), "{kind:#x}");
            assert_eq!(decode(header(1, kind, 1448, 34, 6), 5000), Err(Malformed), "{kind:#x}");
        }
    }

    #[test]
    fn header_length_counts_tcp_options() {
        let mut frame = Frame::from_bytes(&[0; 5000]);
        frame.bytes_mut()[34 + TCP_DATA_OFFSET] = 8 << 4;
        frame.checksum = Checksum::Partial { start: 34, offset: 16 };
        frame.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1448, ecn: false });
        let bytes = encode(&frame);
        assert_eq!(u16::from_ne_bytes([bytes[2], bytes[3]]), 34 + 32);
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_meaning(raw: VnetHeader, len in 0_usize..66_000, shape: bool) {
            let mut raw = raw;
            if shape {
                // Pure noise hardly ever decodes: steer half of the cases towards what does.
                raw[0] &= 3;
                raw[1] &= 0x85;
                raw[7] = 0;
                let offset: u16 = if raw[1] & !GSO_ECN == GSO_UDP_L4 { 6 } else { 16 };
                raw[8..10].copy_from_slice(&offset.to_ne_bytes());
            }
            if let Ok((checksum, gso)) = decode(raw, len) {
                let mut frame = Frame::from_bytes(&vec![0; len]);
                frame.checksum = checksum;
                frame.gso = gso;
                prop_assert_eq!(decode(encode(&frame), len), Ok((checksum, gso)));
                if let Checksum::Partial { start, offset } = checksum {
                    prop_assert!(usize::from(start) + usize::from(offset) + 2 <= len);
                }
            }
        }

        #[test]
        fn what_encodes_decodes_to_the_same_metadata(
            start in 14_u16..200, size in 1_u16.., kind in 0_u8..4, ecn: bool
        ) {
            let mut frame = Frame::from_bytes(&[0x50; 5000]);
            let (kind, offset) = match kind {
                0 => (None, 16),
                1 => (Some(GsoKind::Tcp4), 16),
                2 => (Some(GsoKind::Tcp6), 16),
                _ => (Some(GsoKind::UdpL4), 6),
            };
            frame.checksum = Checksum::Partial { start, offset };
            frame.gso = kind.map(|kind| Gso { kind, size, ecn });
            prop_assert_eq!(decode(encode(&frame), frame.len()), Ok((frame.checksum, frame.gso)));
        }
    }
}
