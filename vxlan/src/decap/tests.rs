//! Which frames of the underlay are outer packets.

use proptest::prelude::*;

use super::*;
use crate::mac::Mac;
use crate::wire::samples::{self, DST_4, DST_6, SRC_4, SRC_6, V4, udp};

fn vxlan_datagram() -> Vec<u8> {
    udp(50000, 8472, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &[0xee; 40]].concat())
}

fn with_checksum(mut datagram: Vec<u8>, checksum: u16) -> Vec<u8> {
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    datagram
}

fn right_checksum(v6: bool) -> u16 {
    let (src, dst): (IpAddr, IpAddr) =
        if v6 { (SRC_6.into(), DST_6.into()) } else { (SRC_4.into(), DST_4.into()) };
    checksum::transport(src, dst, PROTOCOL_UDP, &vxlan_datagram())
}

fn frame(v6: bool, datagram: &[u8]) -> Vec<u8> {
    if v6 { samples::ipv6_frame(17, datagram) } else { samples::ipv4_frame(17, datagram) }
}

#[test]
fn outer_headers_are_reported_and_the_payload_is_the_datagram_without_padding() {
    for v6 in [false, true] {
        let mut bytes = frame(v6, &vxlan_datagram());
        bytes.extend([0xaa; 7]);
        let outer = parse_outer(&bytes).unwrap();
        assert_eq!((outer.source_port, outer.dest_port, outer.tos, outer.ttl), (50000, 8472, 0xb9, 63));
        assert_eq!(bytes[outer.payload], vxlan_datagram()[8..]);
    }
}

#[test]
fn rfc7348_s5_zero_udp_checksum_is_accepted_in_both_families() {
    for v6 in [false, true] {
        assert!(parse_outer(&frame(v6, &with_checksum(vxlan_datagram(), 0))).is_ok());
    }
}

#[test]
fn rfc7348_s5_udp_checksum_that_is_there_is_verified() {
    for v6 in [false, true] {
        let right = right_checksum(v6);
        assert!(parse_outer(&frame(v6, &with_checksum(vxlan_datagram(), right))).is_ok());
        let wrong = frame(v6, &with_checksum(vxlan_datagram(), right ^ 0x0100));
        assert_eq!(parse_outer(&wrong), Err(OuterError::UdpChecksum));
        assert!(parse_outer_with(&wrong, UdpChecksum::Trust).is_ok());
    }
}

#[test]
fn rfc7348_s4_3_outer_fragments_are_refused() {
    let datagram = vxlan_datagram();
    for (flags, offset, payload) in
        [(1, 0, &datagram[..48]), (0, 6, &datagram[48..]), (1, 0, &[][..]), (0, 1, &[0; 8])]
    {
        let result = parse_outer(&V4 { flags, offset, payload, ..V4::default() }.frame());
        assert!(matches!(result, Err(OuterError::Fragment | OuterError::LengthMismatch)), "{result:?}");
    }
    let v6 = [&[17, 0, 0, 1, 0, 0, 0, 1][..], &datagram[..48]].concat();
    assert_eq!(parse_outer(&samples::ipv6_frame(44, &v6)), Err(OuterError::Fragment));
}

#[test]
fn tcp_udp_lite_arp_and_vlan_are_not_udp() {
    for protocol in [6, 132] {
        assert_eq!(
            parse_outer(&samples::ipv4_frame(protocol, &samples::tcp(1, 8472, 2))),
            Err(OuterError::NotUdp)
        );
    }
    assert_eq!(parse_outer(&samples::ipv4_frame(136, &vxlan_datagram())), Err(OuterError::NotUdp));
    assert_eq!(parse_outer(&samples::frame(0x0806, &[0; 28])), Err(OuterError::NotUdp));
    assert_eq!(parse_outer(&samples::frame(0x8100, &[0; 60])), Err(OuterError::NotUdp));
}

#[test]
fn destinations_that_are_not_one_host_are_refused() {
    let datagram = vxlan_datagram();
    for dst in [[224, 0, 0, 1], [239, 1, 1, 1], [255; 4], [127, 0, 0, 1], [0; 4]] {
        let bytes = V4 { dst, payload: &datagram, ..V4::default() }.frame();
        assert_eq!(parse_outer(&bytes), Err(OuterError::Martian));
    }
    let group = samples::ipv6_frame_between(SRC_6, [0xff05, 0, 0, 0, 0, 0, 0, 1], 17, &datagram);
    assert_eq!(parse_outer(&group), Err(OuterError::Martian));
    for mac in [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])] {
        let mut bytes = frame(false, &datagram);
        assert!(crate::wire::ethernet::set_macs(&mut bytes, mac, Mac([2; 6])));
        assert_eq!(parse_outer(&bytes), Err(OuterError::Martian));
    }
}

#[test]
fn udp_length_beyond_the_packet_or_below_its_header_is_refused() {
    for length in [0_u16, 7, 57, u16::MAX] {
        let mut datagram = vxlan_datagram();
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
        for v6 in [false, true] {
            assert_eq!(parse_outer(&frame(v6, &datagram)), Err(OuterError::LengthMismatch));
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    for v6 in [false, true] {
        let bytes = frame(v6, &with_checksum(vxlan_datagram(), right_checksum(v6)));
        for length in 0..bytes.len() {
            let result = parse_outer(&bytes[..length]);
            assert!(
                matches!(result, Err(OuterError::Truncated | OuterError::LengthMismatch)),
                "{length} {result:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_outer(&bytes);
    }

    #[test]
    fn payload_of_a_mutated_packet_lies_within_the_frame(v6: bool, changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..5)) {
        let mut bytes = frame(v6, &vxlan_datagram());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(outer) = parse_outer_with(&bytes, UdpChecksum::Trust) {
            prop_assert!(outer.payload.start <= outer.payload.end && bytes.get(outer.payload).is_some());
        }
    }
}
