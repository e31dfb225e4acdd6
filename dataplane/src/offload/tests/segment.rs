//! Segmentation against packets built one by one.

use proptest::prelude::*;

use super::build::{Spec, ip_headers, pattern, specs};
use crate::buffer::{Checksum, Frame, Gso, GsoKind, Pool};
use crate::offload::{MAX_UDP_SEGMENTS, SegmentError, segment};

fn kind(spec: &Spec) -> GsoKind {
    match (spec.tcp, spec.v6) {
        (true, false) => GsoKind::Tcp4,
        (true, true) => GsoKind::Tcp6,
        (false, _) => GsoKind::UdpL4,
    }
}

fn super_packet(spec: &Spec, size: u16) -> Frame {
    let mut frame = spec.partial();
    frame.gso = Some(Gso { kind: kind(spec), size, ecn: spec.flags & 0x80 != 0 });
    frame
}

fn cut(frame: Frame) -> Result<Vec<Frame>, SegmentError> {
    let mut out = Vec::new();
    let headers = ip_headers(&frame);
    let made = segment(frame, &headers, &mut Pool::new(2_000), &mut out)?;
    assert_eq!(made, out.len());
    Ok(out)
}

/// What the sender would have sent without offload.
fn one_by_one(spec: &Spec, size: usize) -> Vec<Vec<u8>> {
    let pieces = spec.payload.len().div_ceil(size).max(1);
    (0..pieces)
        .map(|index| {
            let from = index * size;
            let to = (from + size).min(spec.payload.len());
            let mut flags = spec.flags;
            if index + 1 < pieces {
                flags &= !0x09;
            }
            if index > 0 {
                flags &= !0x80;
            }
            Spec {
                id: spec.id.wrapping_add(index as u16),
                seq: spec.seq.wrapping_add(from as u32),
                flags,
                payload: spec.payload[from..to].to_vec(),
                ..spec.clone()
            }
            .bytes()
        })
        .collect()
}

proptest! {
    #[test]
    fn segments_are_what_the_sender_would_have_sent_one_by_one(
        spec in specs(0..6_000), size in 50_u16..1_500, padding in 0_usize..40,
    ) {
        let mut frame = super_packet(&spec, size);
        let (checksum, gso) = (frame.checksum, frame.gso);
        let mut padded = frame.bytes().to_vec();
        padded.resize(padded.len() + padding, 0xee);
        frame.write(&padded);
        (frame.checksum, frame.gso) = (checksum, gso);

        let segments = cut(frame).expect("segments");
        let expected = one_by_one(&spec, usize::from(size));
        prop_assert_eq!(segments.len(), expected.len());
        for (segment, expected) in segments.iter().zip(&expected) {
            prop_assert_eq!(segment.bytes(), expected);
            prop_assert_eq!((segment.checksum, segment.gso), (Checksum::Complete, None));
        }
    }

    #[test]
    fn segmenting_never_panics_whatever_the_metadata(
        spec in specs(0..600), kind in 0_u8..3, size: u16, start: u16, offset: u16, partial: bool,
        cut_at in 0_usize..700, wrong_headers in specs(0..600),
    ) {
        let mut frame = spec.partial();
        frame.truncate(cut_at);
        let kind = [GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::UdpL4][usize::from(kind)];
        frame.gso = Some(Gso { kind, size, ecn: false });
        if partial {
            frame.checksum = Checksum::Partial { start, offset };
        }
        // Headers of another packet are as wrong as headers can be.
        let headers = ip_headers(&wrong_headers.partial());
        let mut pool = Pool::new(20);
        let mut out = Vec::new();
        let _ = segment(frame, &headers, &mut pool, &mut out);
        prop_assert!(out.len() <= 20);
    }
}

#[test]
fn a_64_kib_super_packet_is_cut_whole_and_its_sequence_numbers_wrap() {
    let spec = Spec::tcp4(65_535 - 20 - 32);
    let segments = cut(super_packet(&spec, 1_398)).expect("segments");
    let payload: Vec<u8> = segments.iter().flat_map(|segment| segment.bytes()[66..].to_vec()).collect();
    assert_eq!(payload, spec.payload);
    assert_eq!(segments.len(), spec.payload.len().div_ceil(1_398));
}

#[test]
fn a_dry_pool_cuts_the_count_short_and_keeps_what_was_made() {
    let frame = super_packet(&Spec::tcp4(5_000), 1_000);
    let headers = ip_headers(&frame);
    let mut pool = Pool::new(3);
    let mut out = Vec::new();
    assert_eq!(segment(frame, &headers, &mut pool, &mut out), Err(SegmentError::NoBuffer { made: 3 }));
    assert_eq!(out.len(), 3);
    // The super-packet itself is back.
    assert!(pool.take().is_some());
}

#[test]
fn a_complete_but_wrong_checksum_is_not_made_good() {
    let spec = Spec::tcp4(3_000);
    let mut frame = super_packet(&spec, 1_000);
    frame.write(&spec.bytes());
    frame.gso = Some(Gso { kind: GsoKind::Tcp4, size: 1_000, ecn: false });
    let mut damaged = Frame::from_bytes(frame.bytes());
    damaged.gso = frame.gso;
    *damaged.bytes_mut().last_mut().expect("payload") ^= 1;
    assert_eq!(cut(frame).expect("segments").len(), 3);
    assert_eq!(cut(damaged).unwrap_err(), SegmentError::BadChecksum);
}

#[test]
fn udp_without_checksum_stays_without_one() {
    let spec = Spec::udp4(2_500);
    let mut frame = Frame::from_bytes(&spec.bytes());
    frame.bytes_mut()[14 + 20 + 6..][..2].fill(0);
    frame.gso = Some(Gso { kind: GsoKind::UdpL4, size: 1_000, ecn: false });
    let segments = cut(frame).expect("segments");
    assert!(segments.iter().all(|segment| segment.bytes()[40..42] == [0, 0]));
    assert_eq!(segments.iter().map(|segment| segment.len() - 42).collect::<Vec<_>>(), [1_000, 1_000, 500]);
}

#[test]
fn one_frame_becomes_no_more_datagrams_than_linux_sends() {
    let spec = Spec { payload: pattern(1_290), ..Spec::udp4(0) };
    assert_eq!(cut(super_packet(&spec, 10)).unwrap_err(), SegmentError::BadMetadata);
    let spec = Spec { payload: pattern(1_280), ..spec };
    assert_eq!(cut(super_packet(&spec, 10)).expect("segments").len(), MAX_UDP_SEGMENTS);
}

#[test]
fn metadata_of_another_kind_or_without_a_size_is_refused() {
    for (kind, size) in [(GsoKind::Tcp6, 1_000), (GsoKind::UdpL4, 1_000), (GsoKind::Tcp4, 0)] {
        let mut frame = super_packet(&Spec::tcp4(3_000), 1);
        frame.gso = Some(Gso { kind, size, ecn: false });
        assert_eq!(cut(frame).unwrap_err(), SegmentError::BadMetadata);
    }
    let mut frame = super_packet(&Spec::tcp4(3_000), 1_000);
    frame.gso = None;
    assert_eq!(cut(frame).unwrap_err(), SegmentError::BadMetadata);
}
