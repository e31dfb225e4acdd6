//! ARP: who is answered, with what, and under which reason everybody else is not.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol};
use vxlan::mac::Mac;

use super::{FAR4, GATEWAY4, OTHER_MAC, OUR_MAC, POD_MAC, POD4, frame};
use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::respond::{ArpOutcome, arp, arp_request};

struct Arp {
    eth_dst: Mac,
    eth_src: Mac,
    operation: ArpOperation,
    sha: Mac,
    spa: Ipv4Addr,
    tha: Mac,
    tpa: Ipv4Addr,
}

const REQUEST: Arp = Arp {
    eth_dst: Mac::BROADCAST,
    eth_src: POD_MAC,
    operation: ArpOperation::Request,
    sha: POD_MAC,
    spa: POD4,
    tha: Mac::ZERO,
    tpa: GATEWAY4,
};

const REPLY: Arp =
    Arp { eth_dst: OUR_MAC, operation: ArpOperation::Reply, tha: OUR_MAC, tpa: GATEWAY4, ..REQUEST };

impl Arp {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 60];
        let mut ethernet = EthernetFrame::new_unchecked(&mut bytes[..]);
        ethernet.set_dst_addr(EthernetAddress(self.eth_dst.0));
        ethernet.set_src_addr(EthernetAddress(self.eth_src.0));
        ethernet.set_ethertype(EthernetProtocol::Arp);
        ArpRepr::EthernetIpv4 {
            operation: self.operation,
            source_hardware_addr: EthernetAddress(self.sha.0),
            source_protocol_addr: self.spa,
            target_hardware_addr: EthernetAddress(self.tha.0),
            target_protocol_addr: self.tpa,
        }
        .emit(&mut ArpPacket::new_unchecked(ethernet.payload_mut()));
        bytes
    }

    fn outcome(&self) -> ArpOutcome {
        handle(&mut frame(&self.bytes()), Some(POD_MAC))
    }
}

fn handle(frame: &mut Frame, bound: Option<Mac>) -> ArpOutcome {
    arp(frame, bound, |address| address == POD4, |target| (target == GATEWAY4).then_some(OUR_MAC))
}

fn read(frame: &Frame) -> (EthernetAddress, EthernetAddress, ArpRepr) {
    let ethernet = EthernetFrame::new_checked(frame.bytes()).expect("ethernet");
    assert_eq!(ethernet.ethertype(), EthernetProtocol::Arp);
    let repr = ArpRepr::parse(&ArpPacket::new_checked(ethernet.payload()).expect("arp")).expect("arp");
    (ethernet.dst_addr(), ethernet.src_addr(), repr)
}

#[test]
fn a_request_for_the_gateway_becomes_the_reply_in_place_without_padding() {
    for (bound, eth_dst) in [(Some(POD_MAC), Mac::BROADCAST), (None, Mac::BROADCAST), (None, OUR_MAC)] {
        let mut frame = frame(&Arp { eth_dst, ..REQUEST }.bytes());
        assert_eq!(handle(&mut frame, bound), ArpOutcome::Reply);
        assert_eq!(frame.len(), 42);
        let expected = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: EthernetAddress(OUR_MAC.0),
            source_protocol_addr: GATEWAY4,
            target_hardware_addr: EthernetAddress(POD_MAC.0),
            target_protocol_addr: POD4,
        };
        assert_eq!(read(&frame), (EthernetAddress(POD_MAC.0), EthernetAddress(OUR_MAC.0), expected));
    }
}

#[test]
fn a_foreign_sender_is_a_spoof_whatever_it_asks() {
    let group = Mac([3, 0, 0, 0, 0, 1]);
    for arp in [
        Arp { spa: FAR4, ..REQUEST },
        Arp { spa: GATEWAY4, ..REQUEST },
        Arp { spa: GATEWAY4, tpa: GATEWAY4, ..REQUEST },
        Arp { sha: OTHER_MAC, ..REQUEST },
        Arp { eth_src: OTHER_MAC, ..REQUEST },
        Arp { eth_src: OTHER_MAC, sha: OTHER_MAC, ..REQUEST },
        Arp { spa: FAR4, ..REPLY },
        Arp { sha: OTHER_MAC, ..REPLY },
    ] {
        assert_eq!(arp.outcome(), ArpOutcome::Drop(DropReason::ArpSpoof));
    }
    for mac in [group, Mac::BROADCAST, Mac::ZERO] {
        let mut frame = frame(&Arp { eth_src: mac, sha: mac, ..REQUEST }.bytes());
        assert_eq!(handle(&mut frame, None), ArpOutcome::Drop(DropReason::ArpSpoof));
    }
}

#[test]
fn rfc5227_probes_and_announcements_are_left_without_an_answer() {
    for arp in [
        Arp { spa: Ipv4Addr::UNSPECIFIED, tpa: POD4, ..REQUEST },
        Arp { spa: Ipv4Addr::UNSPECIFIED, tpa: GATEWAY4, ..REQUEST },
        Arp { tpa: POD4, ..REQUEST },
        Arp { tpa: POD4, eth_dst: Mac::BROADCAST, ..REPLY },
        Arp { tpa: FAR4, ..REQUEST },
        Arp { eth_dst: OTHER_MAC, ..REQUEST },
    ] {
        assert_eq!(arp.outcome(), ArpOutcome::Drop(DropReason::NeighbourIgnored));
    }
}

#[test]
fn a_reply_teaches_a_mac_only_when_it_is_addressed_to_us() {
    assert_eq!(REPLY.outcome(), ArpOutcome::Learned(POD4, POD_MAC));
    for arp in [
        Arp { eth_dst: Mac::BROADCAST, ..REPLY },
        Arp { tha: OTHER_MAC, ..REPLY },
        Arp { tpa: FAR4, ..REPLY },
    ] {
        assert_eq!(arp.outcome(), ArpOutcome::Drop(DropReason::NeighbourIgnored));
    }
}

#[test]
fn our_request_is_a_broadcast_that_a_host_answers_to_us() {
    let mut frame = frame(&[0; 900]);
    arp_request(&mut frame, OUR_MAC, GATEWAY4, POD4);
    let (dst, src, repr) = read(&frame);
    assert_eq!((dst, src), (EthernetAddress::BROADCAST, EthernetAddress(OUR_MAC.0)));
    let ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = repr
    else {
        unreachable!("smoltcp knows one kind")
    };
    assert_eq!(operation, ArpOperation::Request);
    assert_eq!(source_hardware_addr, EthernetAddress(OUR_MAC.0));
    assert_eq!((source_protocol_addr, target_protocol_addr), (GATEWAY4, POD4));
}

#[test]
fn malformed_arp_is_dropped_at_every_cut_and_for_every_fixed_field() {
    let good = REQUEST.bytes();
    for len in 0..42 {
        let outcome = handle(&mut frame(&good[..len]), None);
        assert_eq!(outcome, ArpOutcome::Drop(DropReason::Truncated), "{len}");
    }
    for at in 12..20 {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(handle(&mut frame(&bad), None), ArpOutcome::Drop(DropReason::BadHeader), "{at}");
    }
    for operation in [0, 3, 4, 8, 9] {
        let mut bad = good.clone();
        bad[21] = operation;
        assert_eq!(handle(&mut frame(&bad), None), ArpOutcome::Drop(DropReason::BadHeader), "{operation}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_are_never_answered_for_a_foreign_sender(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80), arp_like: bool,
    ) {
        if arp_like && bytes.len() >= 20 {
            bytes[12..20].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4]);
        }
        let outcome = arp(&mut frame(&bytes), Some(POD_MAC), |_| false, |_| Some(OUR_MAC));
        prop_assert!(matches!(outcome, ArpOutcome::Drop(_)));
    }
}
