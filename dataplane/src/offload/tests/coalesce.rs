//! Coalescing against its reverse: whatever has been joined is cut again and must be what came in.

use proptest::prelude::*;
use vxlan::mtu::Family;
use vxlan::wire::checksum::{ipv4_header, transport};
use vxlan::wire::headers::{self, Headers, L4, Network};

use super::build::{Spec, ip_headers, pattern};
use crate::buffer::{Checksum, Frame, Gso, GsoKind, Pool};
use crate::offload::{Open, segment};

/// Joins what can be joined, as the pipeline's outputs do.
fn coalesce(frames: Vec<Frame>) -> Vec<Frame> {
    let (mut out, mut open, mut pool) = (Vec::new(), Open::default(), Pool::new(0));
    for frame in frames {
        let headers = ip_headers(&frame);
        open.add(&mut out, frame, &headers, &mut pool);
    }
    open.close(&mut out);
    out
}

/// By flow, of which there are two: flows keep no order among one another.
fn by_flow(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.sort_by_key(|packet| {
        let headers = ip_headers(&Frame::from_bytes(packet));
        (headers.family == Family::V6, headers.protocol)
    });
    packets
}

/// Cuts every super-packet again.
fn cut(frames: Vec<Frame>) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for frame in frames {
        if frame.gso.is_none() {
            bytes.push(plain(&frame));
            continue;
        }
        let (headers, mut pieces) = (ip_headers(&frame), Vec::new());
        segment(frame, &headers, &mut Pool::new(2_000), &mut pieces).expect("a sound super-packet");
        bytes.extend(pieces.iter().map(plain));
    }
    bytes
}

/// The same, with the two forms of a checksum of zero taken for one: completing a checksum writes the
/// second.
fn plain(frame: &Frame) -> Vec<u8> {
    let (headers, mut bytes) = (ip_headers(frame), frame.bytes().to_vec());
    let at = usize::from(headers.l4_offset) + 16;
    if matches!(headers.l4, L4::Tcp { .. }) && bytes[at..at + 2] == [0, 0] {
        bytes[at..at + 2].fill(0xff);
    }
    bytes
}

/// A stream of packets, most of which follow their predecessor; others differ from it in one respect.
fn streams() -> impl Strategy<Value = Vec<Spec>> {
    let step = (0_u8..24, prop_oneof![6 => Just(100_usize), 1 => 0_usize..140], any::<u8>());
    (any::<[bool; 2]>(), 0_usize..4, proptest::collection::vec(step, 1..40)).prop_map(
        |([v6, tcp], tcp_options, steps)| {
            let mut next = Spec { v6, tcp, tcp_options, flags: 0x10, ..Spec::tcp4(0) };
            let mut stream = Vec::new();
            for (change, len, value) in steps {
                match change {
                    0 => next.seq = next.seq.wrapping_add(u32::from(value)),
                    1 => next.tos = value,
                    2 => next.id = next.id.wrapping_add(u16::from(value)),
                    3 => next.flags = value,
                    4 => next.tcp_options = usize::from(value % 5),
                    5 => next.ip_options = usize::from(value % 2),
                    6 => next.flags |= 0x08,
                    7 => next.tcp = tcp == (value % 4 != 0),
                    _ => {}
                }
                next.payload = pattern(len);
                stream.push(next.clone());
                next.seq = next.seq.wrapping_add(len as u32);
                next.id = next.id.wrapping_add(1);
                if change != 3 || value % 2 == 0 {
                    next.flags = 0x10;
                    next.tcp = tcp;
                }
            }
            stream
        },
    )
}

/// Changes one byte of a packet's headers and has its checksums agree again, or not; `None` where it is no packet then.
fn changed(spec: &Spec, (at, xor, summed): (usize, u8, bool)) -> Option<Frame> {
    let mut bytes = spec.bytes();
    let payload = bytes.len() - spec.payload.len();
    bytes[at % payload] ^= xor;
    if let [_, _, _, _, _, _, _, _, _, _, _, _, 0x08, 0x00, first, ..] = bytes[..]
        && let Some(header) = bytes.get_mut(14..14 + usize::from(first & 15) * 4).filter(|it| it.len() >= 20)
    {
        header[10..12].fill(0);
        let sum = ipv4_header(header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    let Network::Ip(headers) = headers::parse(&bytes, false).ok()?.net else { return None };
    bytes.truncate(headers.frame_len());
    let (l4, field) = (usize::from(headers.l4_offset), if headers.protocol == 6 { 16 } else { 6 });
    if summed && matches!(headers.l4, L4::Tcp { .. } | L4::Udp { .. }) && headers.fragment.is_none() {
        bytes[l4 + field..l4 + field + 2].fill(0);
        let sum = transport(headers.src, headers.dst, headers.protocol, &bytes[l4..]);
        let sum = if sum == 0 { 0xffff } else { sum };
        bytes[l4 + field..l4 + field + 2].copy_from_slice(&sum.to_be_bytes());
    }
    Some(Frame::from_bytes(&bytes))
}

/// Flow by flow, in which packets keep their order. Of IPv4 packets that nobody may fragment the identification says
/// nothing (RFC 6864).
fn by_every_flow(mut packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    packets.sort_by_key(|packet| {
        let Ok(Headers { net: Network::Ip(headers), .. }) = headers::parse(packet, false) else {
            return None;
        };
        let ports = match headers.l4 {
            L4::Tcp { src_port, dst_port, .. } | L4::Udp { src_port, dst_port } => (src_port, dst_port),
            _ => (0, 0),
        };
        Some((headers.src, headers.dst, headers.protocol, ports))
    });
    for packet in &mut packets {
        if packet[12..14] == [0x08, 0x00] && packet[20] & 0x40 != 0 {
            packet[18..20].fill(0);
            packet[24..26].fill(0);
        }
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn no_bit_of_a_header_is_lost_in_joining(
        stream in streams(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..80, any::<u8>(), any::<bool>()), 0..8),
        dont_fragment: bool,
    ) {
        let mut frames: Vec<Option<Frame>> = stream
            .iter()
            .map(|spec| {
                let bit = if dont_fragment && !spec.v6 { (20, 0x40, true) } else { (0, 0, true) };
                changed(spec, bit)
            })
            .collect();
        for (which, at, xor, summed) in changes {
            let place = which.index(frames.len());
            frames[place] = changed(&stream[place], (at, xor, summed));
        }
        let frames: Vec<Frame> = frames.into_iter().flatten().collect();
        let before: Vec<Vec<u8>> = frames.iter().map(plain).collect();
        prop_assert_eq!(by_every_flow(cut(coalesce(frames))), by_every_flow(before));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_is_joined_and_cut_again_is_what_it_was(stream in streams(), damaged in any::<[u8; 2]>()) {
        let mut frames: Vec<Frame> = stream.iter().map(|spec| Frame::from_bytes(&spec.bytes())).collect();
        // One of them arrives damaged, others with a checksum left to the receiver.
        if damaged[0] < 128 {
            let count = frames.len();
            if let Some(byte) = frames[usize::from(damaged[0]) % count].bytes_mut().last_mut() {
                *byte ^= damaged[1];
            }
        }
        let before: Vec<Vec<u8>> = frames.iter().map(plain).collect();
        prop_assert_eq!(by_flow(cut(coalesce(frames))), by_flow(before));
    }

    #[test]
    fn partial_checksums_are_joined_without_being_summed(stream in streams()) {
        let before: Vec<Vec<u8>> = stream.iter().map(|spec| plain(&Frame::from_bytes(&spec.bytes()))).collect();
        let frames: Vec<Frame> = stream.iter().map(Spec::partial).collect();
        let joined = coalesce(frames);
        let single: Vec<Frame> = joined
            .into_iter()
            .map(|mut frame| {
                if frame.gso.is_none() {
                    assert!(crate::offload::complete_checksum(&mut frame));
                }
                frame
            })
            .collect();
        prop_assert_eq!(by_flow(cut(single)), by_flow(before));
    }
}

fn stream_of(lens: &[usize], spec: &Spec) -> Vec<Frame> {
    let mut next = spec.clone();
    let frames = lens.iter().map(|&len| {
        next.payload = pattern(len);
        let frame = Frame::from_bytes(&next.bytes());
        next.seq = next.seq.wrapping_add(len as u32);
        next.id = next.id.wrapping_add(1);
        frame
    });
    frames.collect()
}

#[test]
fn a_stream_becomes_one_super_packet_until_a_shorter_segment_ends_it() {
    for v6 in [false, true] {
        let spec = Spec { v6, flags: 0x10, ..Spec::tcp4(0) };
        let joined = coalesce(stream_of(&[1000, 1000, 1000, 300, 300], &spec));
        assert_eq!(joined.len(), 2);
        let whole = &joined[0];
        assert_eq!(whole.gso.map(|gso| gso.size), Some(1000));
        assert!(matches!(whole.checksum, Checksum::Partial { .. }));
        assert_eq!(ip_headers(whole).l4_len(), 20 + 12 + 3300);
        assert_eq!((joined[1].gso, joined[1].checksum), (None, Checksum::Complete));
    }
}

#[test]
fn a_super_packet_is_never_larger_than_an_ip_packet_can_be() {
    let spec = Spec { flags: 0x10, ..Spec::tcp4(0) };
    let joined = coalesce(stream_of(&[1400; 100], &spec));
    assert!(joined.len() == 3 && joined.iter().all(|frame| frame.len() <= 65_535), "{}", joined.len());
}

#[test]
fn pushed_and_final_segments_end_what_is_joined() {
    let mut frames = stream_of(&[500; 4], &Spec { flags: 0x10, ..Spec::tcp4(0) });
    frames[1] = Frame::from_bytes(
        &Spec {
            flags: 0x18,
            seq: Spec::tcp4(0).seq.wrapping_add(500),
            id: 8,
            payload: pattern(500),
            ..Spec::tcp4(0)
        }
        .bytes(),
    );
    let joined = coalesce(frames);
    let lens: Vec<usize> = joined.iter().map(|frame| ip_headers(frame).l4_len() - 32).collect();
    assert_eq!(lens, [1000, 1000]);
}

#[test]
fn datagrams_become_one_super_packet_of_at_most_64() {
    for v6 in [false, true] {
        let spec = Spec { v6, ..Spec::udp4(0) };
        let joined = coalesce(stream_of(&[[18; 70].as_slice(), &[7, 7]].concat(), &spec));
        let lens: Vec<usize> = joined.iter().map(|frame| ip_headers(frame).l4_len() - 8).collect();
        // The shorter one ends its row.
        assert_eq!(lens, [64 * 18, 6 * 18 + 7, 7]);
        assert_eq!(joined[0].gso, Some(Gso { kind: GsoKind::UdpL4, size: 18, ecn: false }));
        assert!(matches!(joined[0].checksum, Checksum::Partial { offset: 6, .. }));
        assert_eq!((joined[2].gso, joined[2].checksum), (None, Checksum::Complete));
    }
}

#[test]
fn flows_that_alternate_are_joined_each_by_itself() {
    let tcp = stream_of(&[100; 5], &Spec { flags: 0x10, ..Spec::tcp4(0) });
    let udp = stream_of(&[100; 5], &Spec::udp4(0));
    let joined = coalesce(tcp.into_iter().zip(udp).flat_map(|(one, other)| [one, other]).collect());
    let lens: Vec<usize> = joined.iter().map(|frame| ip_headers(frame).l4_len()).collect();
    assert_eq!(lens, [20 + 12 + 500, 8 + 500]);
}

#[test]
fn datagrams_without_a_checksum_or_without_payload_stay_alone() {
    let mut frames = stream_of(&[50; 3], &Spec::udp4(0));
    for frame in &mut frames {
        frame.bytes_mut()[14 + 20 + 6..14 + 20 + 8].fill(0);
    }
    assert_eq!(coalesce(frames).len(), 3);
    assert_eq!(coalesce(stream_of(&[0; 3], &Spec::udp4(0))).len(), 3);
}
