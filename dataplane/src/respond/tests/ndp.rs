//! Neighbour discovery: who is answered, with what, and under which reason everybody else is not.

use std::net::Ipv6Addr;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetFrame, Icmpv6Packet, Icmpv6Repr, Ipv6Packet, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress,
};
use vxlan::mac::Mac;

use super::{FAR6, GATEWAY6, OTHER_MAC, OUR_MAC, POD_MAC, POD6, frame, ip_frame, ip_headers};
use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::respond::{NdpOutcome, is_ndp, ndp, ns_request};

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x1234);
const OUR_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GATEWAY_NODE: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

fn option(kind: u8, mac: Mac) -> Vec<u8> {
    [&[kind, 1][..], &mac.0].concat()
}

fn message(kind: u8, flags: u8, target: Ipv6Addr, options: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, 0, flags, 0, 0, 0][..], &target.octets(), options].concat()
}

fn packet(src: Ipv6Addr, dst: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
    let mut bytes = ip_frame(src.into(), dst.into(), 58, 255, message, Some(2));
    if dst.is_multicast() {
        bytes[..2].copy_from_slice(&[0x33, 0x33]);
        bytes[2..6].copy_from_slice(&dst.octets()[12..]);
    }
    bytes
}

fn solicitation(src: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    packet(src, GATEWAY_NODE, message(135, 0, target, &option(1, POD_MAC)))
}

fn handle_frame(frame: &mut Frame, bound: Option<Mac>) -> NdpOutcome {
    let headers = ip_headers(frame.bytes());
    assert!(is_ndp(&headers));
    let answers = |target| [GATEWAY6, OUR_LINK_LOCAL].contains(&target).then_some(OUR_MAC);
    ndp(frame, &headers, bound, |address| address == POD6, answers, |target| target == GATEWAY6)
}

fn handle(bytes: &[u8]) -> NdpOutcome {
    handle_frame(&mut frame(bytes), Some(POD_MAC))
}

fn read(frame: &Frame) -> (Ipv6Addr, Ipv6Addr, Vec<u8>) {
    let ethernet = EthernetFrame::new_checked(frame.bytes()).expect("ethernet");
    let ip = Ipv6Packet::new_checked(ethernet.payload()).expect("ip");
    assert_eq!(ip.hop_limit(), 255);
    assert_eq!(ip.total_len(), ethernet.payload().len());
    (ip.src_addr(), ip.dst_addr(), ip.payload().to_vec())
}

#[test]
fn a_solicitation_for_the_gateway_becomes_a_solicited_advertisement() {
    for src in [POD6, LINK_LOCAL] {
        for bound in [Some(POD_MAC), None] {
            let mut frame = frame(&solicitation(src, GATEWAY6));
            assert_eq!(handle_frame(&mut frame, bound), NdpOutcome::Reply);
            assert_eq!(frame.bytes()[..12], [POD_MAC.0, OUR_MAC.0].concat());
            let (from, to, payload) = read(&frame);
            assert_eq!((from, to), (GATEWAY6, src));
            let icmp = Icmpv6Packet::new_checked(&payload[..]).expect("icmp");
            let repr =
                Icmpv6Repr::parse(&from, &to, &icmp, &ChecksumCapabilities::default()).expect("checksum");
            let flags =
                NdiscNeighborFlags::ROUTER | NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE;
            let lladdr = Some(RawHardwareAddress::from_bytes(&OUR_MAC.0));
            let advert = NdiscRepr::NeighborAdvert { flags, target_addr: GATEWAY6, lladdr };
            assert_eq!(repr, Icmpv6Repr::Ndisc(advert));
        }
    }
}

#[test]
fn only_a_router_says_that_it_is_one() {
    let dst = "ff02::1:ff00:1".parse().expect("address");
    let bytes = packet(POD6, dst, message(135, 0, OUR_LINK_LOCAL, &option(1, POD_MAC)));
    let mut frame = frame(&bytes);
    assert_eq!(handle_frame(&mut frame, None), NdpOutcome::Reply);
    assert_eq!(frame.bytes()[14 + 40 + 4], 0x60);
}

#[test]
fn a_unicast_solicitation_without_options_is_answered_to_its_ethernet_source() {
    let mut frame = frame(&packet(POD6, GATEWAY6, message(135, 0, GATEWAY6, &[])));
    assert_eq!(handle_frame(&mut frame, Some(POD_MAC)), NdpOutcome::Reply);
    assert_eq!(frame.bytes()[..6], POD_MAC.0);
}

#[test]
fn a_foreign_sender_is_a_spoof() {
    let good = solicitation(POD6, GATEWAY6);
    let mut other_source = good.clone();
    other_source[11] = 9;
    for bytes in [
        solicitation(FAR6, GATEWAY6),
        solicitation(GATEWAY6, GATEWAY6),
        // Link-local, but ours.
        solicitation(OUR_LINK_LOCAL, GATEWAY6),
        packet(POD6, GATEWAY_NODE, message(135, 0, GATEWAY6, &option(1, OTHER_MAC))),
        other_source,
        // An advertisement for the gateway, or for nobody here.
        packet(POD6, GATEWAY6, message(136, 0x60, GATEWAY6, &option(2, POD_MAC))),
        packet(POD6, GATEWAY6, message(136, 0x60, FAR6, &option(2, POD_MAC))),
        packet(POD6, GATEWAY6, message(136, 0x60, POD6, &option(2, OTHER_MAC))),
    ] {
        assert_eq!(handle(&bytes), NdpOutcome::Drop(DropReason::NdSpoof));
    }
}

#[test]
fn rfc4861_s7_1_1_an_invalid_solicitation_is_dropped() {
    let all_nodes: Ipv6Addr = "ff02::1".parse().expect("address");
    let good = solicitation(POD6, GATEWAY6);
    let mut hop_limit = good.clone();
    hop_limit[14 + 7] = 254;
    let mut checksum = good.clone();
    checksum[14 + 40 + 2] ^= 1;
    let mut code = message(135, 0, GATEWAY6, &[]);
    code[1] = 1;
    let with_options = |options: &[u8]| packet(POD6, GATEWAY_NODE, message(135, 0, GATEWAY6, options));
    let probe = Ipv6Addr::UNSPECIFIED;
    for (name, bytes) in [
        ("hop limit", hop_limit),
        ("checksum", checksum),
        ("code", packet(POD6, GATEWAY_NODE, code)),
        ("target is a group", packet(POD6, GATEWAY_NODE, message(135, 0, all_nodes, &[]))),
        ("option of length 0", with_options(&[14, 0, 0, 0, 0, 0, 0, 0])),
        ("option beyond the end", with_options(&[1, 2, 0, 0, 0, 0, 0, 0])),
        ("half an option", with_options(&[1])),
        (
            "link-layer option of another size",
            with_options(&[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        ("two that differ", with_options(&[option(1, POD_MAC), option(1, OTHER_MAC)].concat())),
        ("probe with an option", packet(probe, GATEWAY_NODE, message(135, 0, GATEWAY6, &option(1, POD_MAC)))),
        ("probe to a host", packet(probe, GATEWAY6, message(135, 0, GATEWAY6, &[]))),
    ] {
        assert_eq!(handle(&bytes), NdpOutcome::Drop(DropReason::BadHeader), "{name}");
    }
    let short = message(135, 0, GATEWAY6, &[])[..20].to_vec();
    assert_eq!(handle(&packet(POD6, GATEWAY_NODE, short)), NdpOutcome::Drop(DropReason::Truncated));
}

#[test]
fn rfc6980_behind_an_extension_header_nothing_is_answered() {
    let upper = [vec![58, 0, 1, 4, 0, 0, 0, 0], message(135, 0, GATEWAY6, &[])].concat();
    let bytes = ip_frame(POD6.into(), GATEWAY6.into(), 60, 255, upper, None);
    assert_eq!(handle(&bytes), NdpOutcome::Drop(DropReason::BadHeader));
    // A rogue advertisement is one behind extension headers too.
    let upper = [vec![58, 0, 1, 4, 0, 0, 0, 0], message(134, 0, GATEWAY6, &[])].concat();
    let bytes = ip_frame(POD6.into(), GATEWAY6.into(), 60, 255, upper, None);
    assert_eq!(handle(&bytes), NdpOutcome::Drop(DropReason::RogueControl));
}

#[test]
fn what_needs_no_answer_is_ignored_and_what_a_pod_may_not_say_is_rogue() {
    let probe = packet(Ipv6Addr::UNSPECIFIED, GATEWAY_NODE, message(135, 0, GATEWAY6, &[]));
    let all_nodes: Ipv6Addr = "ff02::1".parse().expect("address");
    let not_ours = message(135, 0, FAR6, &option(1, POD_MAC));
    let other_group: Ipv6Addr = "ff02::1:ff00:3".parse().expect("address");
    let mut to_another = packet(POD6, GATEWAY6, message(135, 0, GATEWAY6, &[]));
    to_another[5] = 0x77;
    for (bytes, reason) in [
        (probe, DropReason::NeighbourIgnored),
        (packet(POD6, all_nodes, message(133, 0, GATEWAY6, &[])), DropReason::NeighbourIgnored),
        (packet(POD6, other_group, not_ours), DropReason::NeighbourIgnored),
        (packet(POD6, all_nodes, message(135, 0, GATEWAY6, &[])), DropReason::NeighbourIgnored),
        (to_another, DropReason::NeighbourIgnored),
        // Unsolicited, for its own address.
        (
            packet(POD6, all_nodes, message(136, 0x20, POD6, &option(2, POD_MAC))),
            DropReason::NeighbourIgnored,
        ),
        (packet(LINK_LOCAL, all_nodes, message(134, 0, GATEWAY6, &[])), DropReason::RogueControl),
        (packet(LINK_LOCAL, all_nodes, message(137, 0, GATEWAY6, &[])), DropReason::RogueControl),
    ] {
        assert_eq!(handle(&bytes), NdpOutcome::Drop(reason));
    }
}

#[test]
fn a_solicited_advertisement_to_us_teaches_a_mac() {
    for (options, src) in [(option(2, POD_MAC), POD6), (Vec::new(), POD6), (option(2, POD_MAC), LINK_LOCAL)] {
        let bytes = packet(src, GATEWAY6, message(136, 0x60, POD6, &options));
        assert_eq!(handle(&bytes), NdpOutcome::Learned(POD6, POD_MAC));
    }
}

#[test]
fn our_solicitation_is_one_that_smoltcp_accepts() {
    let mut frame = frame(&[0; 900]);
    ns_request(&mut frame, OUR_MAC, OUR_LINK_LOCAL, POD6);
    assert_eq!(frame.bytes()[..6], [0x33, 0x33, 0xff, 0, 0, 2]);
    let (src, dst, payload) = read(&frame);
    assert_eq!((src, dst), (OUR_LINK_LOCAL, "ff02::1:ff00:2".parse().expect("address")));
    let icmp = Icmpv6Packet::new_checked(&payload[..]).expect("icmp");
    let repr = Icmpv6Repr::parse(&src, &dst, &icmp, &ChecksumCapabilities::default()).expect("checksum");
    let lladdr = Some(RawHardwareAddress::from_bytes(&OUR_MAC.0));
    assert_eq!(repr, Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr: POD6, lladdr }));
}

proptest! {
    #[test]
    fn hostile_messages_never_panic_and_never_teach_a_foreign_address(
        kind in 133_u8..138, flags: u8, options in prop::collection::vec(any::<u8>(), 0..60), to_us: bool,
        cut in 0_usize..160,
    ) {
        let dst = if to_us { GATEWAY6 } else { GATEWAY_NODE };
        let bytes = packet(FAR6, dst, message(kind, flags, GATEWAY6, &options));
        prop_assert!(matches!(handle(&bytes), NdpOutcome::Drop(_)));
        let headers = ip_headers(&bytes);
        let mut cut_frame = frame(&bytes);
        cut_frame.truncate(cut);
        let _ = ndp(&mut cut_frame, &headers, None, |_| true, |_| Some(OUR_MAC), |_| true);
    }
}
