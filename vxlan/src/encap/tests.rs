//! What is written, read by others: `pnet_packet`, `smoltcp`, and `decap`.

use proptest::prelude::*;
use smoltcp::wire::{EthernetFrame, EthernetProtocol, Ipv4Packet, Ipv6Packet, UdpPacket};

use super::*;
use crate::decap::{OuterError, parse_outer};
use crate::entropy::FIRST_PORT;

fn config(v6: bool) -> OuterConfig {
    let (src, dst): (IpAddr, IpAddr) = if v6 {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(), [0x2001, 0xdb8, 0, 0, 0, 0, 0, 2].into())
    } else {
        ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
    };
    OuterConfig {
        source_mac: Mac([2, 0, 0, 0, 0, 1]),
        dest_mac: Mac([2, 0, 0, 0, 0, 2]),
        src,
        dst,
        source_port: 50000,
        dest_port: vxlan::UDP_PORT_FLANNEL,
        vni: Vni::FLANNEL,
        tos: 2,
        ttl: TTL,
        checksum: OuterChecksum::Compute,
        identification: 0xabcd,
    }
}

fn room(v6: bool) -> Vec<u8> {
    // Not zero: every byte has to be written.
    vec![0xa5; if v6 { OUTER_BYTES_V6 } else { OUTER_BYTES_V4 }]
}

fn encapsulated(v6: bool, inner: &[u8], config: &OuterConfig) -> Vec<u8> {
    let mut frame = room(v6);
    write_outer(&mut frame, inner, config).unwrap();
    frame.extend_from_slice(inner);
    frame
}

#[test]
fn rfc7348_s5_outer_headers_over_ipv4_byte_by_byte() {
    let config = OuterConfig { checksum: OuterChecksum::Zero, ..config(false) };
    let frame = encapsulated(false, &[0xee; 60], &config);
    let expected = [
        &[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00][..],
        &[0x45, 2, 0, 96, 0xab, 0xcd, 0, 0, 64, 17, 0x4a, 0xba, 192, 0, 2, 1, 192, 0, 2, 2],
        &[0xc3, 0x50, 0x21, 0x18, 0, 76, 0, 0],
        &[8, 0, 0, 0, 0, 0, 1, 0],
        &[0xee; 60],
    ]
    .concat();
    assert_eq!(frame, expected);
}

#[test]
fn outer_ipv4_packet_may_be_fragmented_as_flannel_sends_it() {
    let frame = encapsulated(false, &[0; 60], &config(false));
    let packet = Ipv4Packet::new_checked(&frame[14..]).unwrap();
    assert!(!packet.dont_frag() && !packet.more_frags());
    assert_eq!((packet.ident(), packet.hop_limit()), (0xabcd, 64));
}

#[test]
fn rfc768_checksum_that_computes_to_zero_is_sent_as_ones() {
    let frame = encapsulated(false, &[0; 60], &config(false));
    let checksum = u16::from_be_bytes([frame[40], frame[41]]);
    // One more word of this value makes the sum all ones and so the checksum zero.
    let mut inner = [0; 60];
    inner[..2].copy_from_slice(&checksum.to_be_bytes());
    let frame = encapsulated(false, &inner, &config(false));
    assert_eq!(frame[40..42], [0xff, 0xff]);
    assert!(parse_outer(&frame).is_ok());
}

#[test]
fn room_of_any_other_size_is_refused() {
    for (v6, expected) in [(false, OUTER_BYTES_V4), (true, OUTER_BYTES_V6)] {
        for found in (0..100).filter(|&found| found != expected) {
            let result = write_outer(&mut vec![0; found], &[0; 60], &config(v6));
            assert_eq!(result, Err(EncapError::HeaderRoom { expected, found }));
        }
    }
}

#[test]
fn addresses_of_two_families_are_refused() {
    let mixed = OuterConfig { dst: config(true).dst, ..config(false) };
    assert_eq!(write_outer(&mut room(false), &[], &mixed), Err(EncapError::FamilyMismatch));
}

#[test]
fn longest_inner_frame_fills_the_length_fields_and_one_more_byte_is_refused() {
    for (v6, longest) in [(false, 65535 - 20 - 16), (true, 65535 - 16)] {
        let mut inner = vec![1; longest];
        assert!(parse_outer(&encapsulated(v6, &inner, &config(v6))).is_ok());
        inner.push(1);
        let result = write_outer(&mut room(v6), &inner, &config(v6));
        assert_eq!(result, Err(EncapError::TooLong(longest + 1)));
    }
}

proptest! {
    #[test]
    fn outer_packet_is_right_in_the_eyes_of_smoltcp_and_decap(
        v6: bool,
        compute: bool,
        inner in proptest::collection::vec(any::<u8>(), 0..200),
        source_port in FIRST_PORT..,
        vni in 0..=Vni::MAX.get(),
        tos: u8,
        identification: u16,
    ) {
        let checksum = if compute { OuterChecksum::Compute } else { OuterChecksum::Zero };
        let vni = Vni::new(vni).unwrap();
        let config = OuterConfig { source_port, vni, tos, checksum, identification, ..config(v6) };
        let frame = encapsulated(v6, &inner, &config);

        let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
        let udp = if v6 {
            prop_assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv6);
            let ip = Ipv6Packet::new_checked(ethernet.payload()).unwrap();
            prop_assert_eq!((ip.traffic_class(), ip.flow_label(), ip.hop_limit()), (tos, 0, TTL));
            &ethernet.payload()[40..]
        } else {
            prop_assert_eq!(ethernet.ethertype(), EthernetProtocol::Ipv4);
            let ip = Ipv4Packet::new_checked(ethernet.payload()).unwrap();
            prop_assert!(ip.verify_checksum());
            prop_assert_eq!(usize::from(ip.total_len()), ethernet.payload().len());
            &ethernet.payload()[20..]
        };
        let udp = UdpPacket::new_checked(udp).unwrap();
        prop_assert!(udp.verify_checksum(&config.src.into(), &config.dst.into()));
        prop_assert_eq!(udp.checksum() != 0, compute);
        prop_assert_eq!((udp.src_port(), udp.dst_port()), (source_port, 8472));

        let outer = parse_outer(&frame).unwrap();
        prop_assert_eq!((outer.src, outer.dst, outer.tos, outer.ttl), (config.src, config.dst, tos, TTL));
        let (header, rest) = vxlan::parse(&frame[outer.payload]).unwrap();
        prop_assert_eq!((header.vni, header.reserved_set, rest), (vni, false, &inner[..]));
    }

    #[test]
    fn any_changed_bit_behind_the_udp_header_breaks_the_checksum(v6: bool, at in 0..68_usize, bit in 0..8_u32) {
        let mut frame = encapsulated(v6, &[0x3c; 60], &config(v6));
        let start = frame.len() - 68;
        frame[start + at] ^= 1 << bit;
        prop_assert_eq!(parse_outer(&frame), Err(OuterError::UdpChecksum));
    }
}
