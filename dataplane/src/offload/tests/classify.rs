//! What metadata is believed, and what is recognised without any.

use proptest::prelude::*;

use super::build::{Spec, ip_headers, pattern, specs};
use crate::buffer::{Checksum, Frame, Gso, GsoKind};
use crate::offload::{accept_metadata, complete_checksum, detect_gso, detect_partial};

proptest! {
    #[test]
    fn a_partial_checksum_is_recognised_by_its_bytes_and_completed(spec in specs(0..3_000)) {
        let expected = spec.partial().checksum;
        let mut frame = Frame::from_bytes(spec.partial().bytes());
        let headers = ip_headers(&frame);
        detect_partial(&mut frame, &headers);
        prop_assert_eq!(frame.checksum, expected);
        prop_assert!(accept_metadata(&mut frame, &headers));
        prop_assert!(complete_checksum(&mut frame));
        prop_assert_eq!(frame.bytes(), spec.bytes());
    }

    #[test]
    fn a_complete_checksum_survives_detection_and_completion(spec in specs(0..300)) {
        let mut frame = Frame::from_bytes(&spec.bytes());
        let headers = ip_headers(&frame);
        detect_partial(&mut frame, &headers);
        prop_assert!(complete_checksum(&mut frame));
        prop_assert_eq!(frame.bytes(), spec.bytes());
    }

    #[test]
    fn accepted_metadata_never_writes_into_what_policy_has_judged(
        spec in specs(0..200), start in 0_u16..400, offset in 0_u16..400,
    ) {
        let mut frame = Frame::from_bytes(&spec.bytes());
        let headers = ip_headers(&frame);
        frame.checksum = Checksum::Partial { start, offset };
        if accept_metadata(&mut frame, &headers) {
            prop_assert!(complete_checksum(&mut frame));
            prop_assert_eq!(ip_headers(&frame), headers);
        }
    }

    #[test]
    fn metadata_never_panics(spec in specs(0..200), start: u16, offset: u16, size: u16, cut in 0_usize..300) {
        let mut frame = spec.partial();
        let headers = ip_headers(&frame);
        frame.truncate(cut);
        frame.checksum = Checksum::Partial { start, offset };
        frame.gso = Some(Gso { kind: GsoKind::Tcp4, size, ecn: false });
        let _ = accept_metadata(&mut frame, &headers);
        let _ = complete_checksum(&mut frame);
        frame.checksum = Checksum::Complete;
        frame.gso = None;
        detect_partial(&mut frame, &headers);
        detect_gso(&mut frame, &headers, size);
    }
}

#[test]
fn a_checksum_that_would_overwrite_the_destination_port_is_refused() {
    let mut frame = Frame::from_bytes(&Spec::tcp4(100).bytes());
    let headers = ip_headers(&frame);
    for (start, offset) in [(34, 2), (14, 22), (0, 36), (14, 16), (34, 12), (34, 15), (34, 17)] {
        frame.checksum = Checksum::Partial { start, offset };
        assert!(!accept_metadata(&mut frame, &headers), "{start}+{offset}");
    }
}

#[test]
fn the_checksum_of_a_tunnelled_packet_inside_the_payload_is_accepted() {
    let mut frame = Frame::from_bytes(&Spec::udp4(200).bytes());
    let headers = ip_headers(&frame);
    frame.checksum = Checksum::Partial { start: 42 + 50, offset: 16 };
    assert!(accept_metadata(&mut frame, &headers));
    // But not behind the packet.
    frame.checksum = Checksum::Partial { start: 42 + 50, offset: 149 };
    assert!(!accept_metadata(&mut frame, &headers));
}

#[test]
fn a_partial_sctp_checksum_becomes_a_crc32c() {
    let mut spec = Spec::udp4(8);
    spec.payload = pattern(24);
    let mut bytes = spec.bytes();
    bytes[23] = 132;
    bytes[24..26].fill(0);
    let checksum = !super::build::plain_sum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    bytes[34..42].copy_from_slice(&[0x9c, 0x40, 0x0b, 0x59, 0, 0, 0, 0]);
    bytes[42..46].fill(0);
    bytes[46..50].copy_from_slice(&[1, 0, 0, 20]);
    let mut frame = Frame::from_bytes(&bytes);
    let headers = ip_headers(&frame);
    frame.checksum = Checksum::Partial { start: 34, offset: 8 };
    assert!(accept_metadata(&mut frame, &headers));
    assert_eq!(frame.checksum, Checksum::Complete);
    let crc = crate::offload::crc32c::crc32c(&[&bytes[34..]]);
    assert_eq!(frame.bytes()[42..46], crc.to_le_bytes());
}

#[test]
fn a_tcp_packet_above_the_tunnel_mtu_is_a_super_packet_that_fills_it() {
    let mut frame = Frame::from_bytes(&Spec { flags: 0x90, ..Spec::tcp4(10_000) }.bytes());
    let headers = ip_headers(&frame);
    detect_gso(&mut frame, &headers, 1_450);
    assert_eq!(frame.gso, Some(Gso { kind: GsoKind::Tcp4, size: 1_450 - 20 - 32, ecn: true }));

    let v6 = Spec { v6: true, ip_options: 1, ..Spec::tcp4(10_000) };
    let mut frame = Frame::from_bytes(&v6.bytes());
    let headers = ip_headers(&frame);
    detect_gso(&mut frame, &headers, 1_430);
    assert_eq!(frame.gso, Some(Gso { kind: GsoKind::Tcp6, size: 1_430 - 48 - 32, ecn: false }));
}

#[test]
fn packets_that_fit_and_udp_are_no_super_packets() {
    for spec in [Spec::tcp4(1_398), Spec::udp4(9_000)] {
        let mut frame = Frame::from_bytes(&spec.bytes());
        let headers = ip_headers(&frame);
        detect_gso(&mut frame, &headers, 1_450);
        assert_eq!(frame.gso, None);
    }
}

#[test]
fn udp_without_checksum_is_not_taken_for_partial() {
    let mut bytes = Spec::udp4(10).bytes();
    bytes[40..42].fill(0);
    let mut frame = Frame::from_bytes(&bytes);
    let headers = ip_headers(&frame);
    detect_partial(&mut frame, &headers);
    assert_eq!(frame.checksum, Checksum::Complete);
}
