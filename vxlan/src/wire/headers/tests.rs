//! What the walk accepts and refuses, by family, and that it survives anything.

mod ipv4;
mod ipv6;
mod properties;

use super::{Headers, IpHeaders, L4, Network, ParseError, parse};
use crate::wire::ethernet;
use crate::wire::samples::{self, DST_MAC, SRC_MAC};

fn ip(frame: &[u8]) -> IpHeaders {
    match parse(frame, false) {
        Ok(Headers { net: Network::Ip(ip), .. }) => ip,
        other => panic!("expected an IP packet, found {other:?} in {frame:02x?}"),
    }
}

fn refused(frame: &[u8]) -> ParseError {
    parse(frame, false).expect_err("expected a refusal")
}

/// The transport header's bytes as `l4_offset` and `l4_len` find them.
fn transport(frame: &[u8]) -> &[u8] {
    let ip = ip(frame);
    &frame[usize::from(ip.l4_offset)..][..ip.l4_len()]
}

const TCP_L4: L4 =
    L4::Tcp { src_port: 40000, dst_port: 80, flags: 2, seq: 0x0102_0304, ack: 0x0506_0708, header_len: 24 };

#[test]
fn ethernet_addresses_and_type_are_reported() {
    let headers = parse(&samples::frame(ethernet::ARP, &[0; 28]), false).unwrap();
    assert_eq!((headers.eth.dst, headers.eth.src, headers.eth.ethertype), (DST_MAC, SRC_MAC, ethernet::ARP));
    assert_eq!(headers.net, Network::Arp);
}

#[test]
fn vlan_tags_of_any_kind_are_refused_even_vlan_zero() {
    for ethertype in [0x8100, 0x88a8, 0x9100, 0x9200] {
        let inner = samples::ipv4_frame(17, &samples::udp(1, 2, b""));
        let tagged = samples::frame(ethertype, &[&[0, 0][..], &inner[12..]].concat());
        assert_eq!(refused(&tagged), ParseError::Vlan);
    }
}

#[test]
fn llc_and_snap_are_refused_up_to_the_last_length() {
    for length in [0, 3, 1500, 0x05ff] {
        let snap = [0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00];
        assert_eq!(refused(&samples::frame(length, &snap)), ParseError::LengthType);
    }
    assert_eq!(refused(&samples::frame(0x0600, &[])), ParseError::UnsupportedEthertype(0x0600));
}

#[test]
fn mpls_lldp_rarp_and_pppoe_are_refused_by_their_type() {
    for ethertype in [0x8847, 0x88cc, 0x8035, 0x8864] {
        assert_eq!(
            refused(&samples::frame(ethertype, &[0; 46])),
            ParseError::UnsupportedEthertype(ethertype)
        );
    }
}

#[test]
fn family_by_ethertype_and_version_by_header_must_agree() {
    let v4 = samples::ipv4_frame(17, &samples::udp(1, 2, &[0; 40]));
    let v6 = samples::ipv6_frame(17, &samples::udp(1, 2, b""));
    assert_eq!(refused(&samples::frame(ethernet::IPV6, &v4[14..])), ParseError::BadHeader);
    assert_eq!(refused(&samples::frame(ethernet::IPV4, &v6[14..])), ParseError::BadHeader);
}
