//! ARP and neighbour discovery on a pod's wire: no panic, and an answer goes to the MAC that asked and fits a frame.
//!
//! The first byte chooses whether the wire's MAC is known and whether an ICMPv6 checksum is put right.

use dataplane::buffer::Frame;
use dataplane::respond::{ArpOutcome, NdpOutcome, arp, is_ndp, ndp};
use vxlan::mac::Mac;
use vxlan::wire::checksum;
use vxlan::wire::ethernet;
use vxlan::wire::headers::{IpHeaders, L4, Network, parse};

use crate::mend;

const KNOWN_MAC: u8 = 1;
const RIGHT_CHECKSUM: u8 = 2;

const POD: Mac = Mac([0x0a, 0x58, 0, 0, 1, 0x0a]);
const GATEWAY: Mac = Mac([0x0a, 0x58, 0, 0, 1, 1]);

/// One input.
pub fn run(input: &[u8]) {
    let Some((&mode, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if mode & RIGHT_CHECKSUM != 0 {
        mend::icmpv6_checksum(&mut bytes);
    }
    let Ok(headers) = parse(&bytes, false) else { return };
    let known = (mode & KNOWN_MAC != 0).then_some(POD);
    let mut frame = Frame::from_bytes(&bytes);
    let answered = match headers.net {
        Network::Arp => answer_arp(&mut frame, known),
        Network::Ip(ip) if is_ndp(&ip) => answer_ndp(&mut frame, &ip, known),
        Network::Ip(_) => return,
    };
    if !answered {
        return;
    }
    let answer = parse(frame.bytes(), false).expect("an answer is a valid frame");
    assert_eq!((answer.eth.src, answer.eth.dst), (GATEWAY, headers.eth.src));
    assert!(answer.eth.dst.is_unicast() && known.is_none_or(|mac| mac == answer.eth.dst));
    assert_eq!(
        answer.eth.ethertype,
        if headers.net == Network::Arp { ethernet::ARP } else { ethernet::IPV6 }
    );
}

/// The pod is 10.244.1.10, and everything from .1 to .9 is answered for.
fn answer_arp(frame: &mut Frame, known: Option<Mac>) -> bool {
    let before = frame.len();
    let owns = |address: std::net::Ipv4Addr| address.octets() == [10, 244, 1, 10];
    let answers =
        |address: std::net::Ipv4Addr| matches!(address.octets(), [10, 244, 1, 1..=9]).then_some(GATEWAY);
    match arp(frame, known, owns, answers) {
        ArpOutcome::Reply => {
            assert!(frame.len() == 42 && before >= 42, "no larger than the question");
            true
        }
        ArpOutcome::Learned(address, mac) => {
            assert!(owns(address) && mac.is_unicast() && known.is_none_or(|bound| bound == mac));
            false
        }
        ArpOutcome::Drop(_) => false,
    }
}

/// The pod is fd00::a, and everything from ::1 to ::9 is answered for.
fn answer_ndp(frame: &mut Frame, headers: &IpHeaders, known: Option<Mac>) -> bool {
    let owns = |address: std::net::Ipv6Addr| address.segments() == [0xfd00, 0, 0, 0, 0, 0, 0, 10];
    let answers = |address: std::net::Ipv6Addr| {
        matches!(address.segments(), [0xfd00, 0, 0, 0, 0, 0, 0, 1..=9]).then_some(GATEWAY)
    };
    match ndp(frame, headers, known, owns, answers, |address| address.segments()[7] == 1) {
        NdpOutcome::Reply => {
            let Ok(answer) = parse(frame.bytes(), false) else { panic!("an answer is a valid frame") };
            let Network::Ip(ip) = answer.net else { panic!("of IPv6") };
            assert!(matches!(ip.l4, L4::Icmpv6 { icmp_type: 136, code: 0, .. }) && ip.ttl == 255);
            assert_eq!(ip.dst, headers.src);
            let message = &frame.bytes()[usize::from(ip.l4_offset)..ip.frame_len()];
            assert_eq!(checksum::transport(ip.src, ip.dst, ip.protocol, message), 0);
            true
        }
        NdpOutcome::Learned(address, mac) => {
            let local = address.is_unicast_link_local();
            assert!((owns(address) || local) && mac.is_unicast() && known.is_none_or(|bound| bound == mac));
            false
        }
        NdpOutcome::Drop(_) => false,
    }
}
