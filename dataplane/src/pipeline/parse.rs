//! Parse: from bytes to headers, once.
//!
//! On entry a packet is an Ethernet frame, from a port or out of the tunnel. On exit its IP and transport
//! headers are known and trailing padding is cut off, or it is ARP (left to `guard`), or it is dropped under the
//! reason that `vxlan::wire::headers` found. What a length field claims is believed only as far as bytes are there.

use vxlan::wire::ParseError;
use vxlan::wire::ethernet;
use vxlan::wire::headers::{self, L4, Network};

use super::Pipeline;
use super::packet::Packet;
use crate::drop_reason::DropReason;
use crate::offload;

impl Pipeline {
    pub(super) fn parse(&self, packets: &mut [Packet]) {
        for packet in packets.iter_mut().filter(|packet| packet.is_live()) {
            self.parse_one(packet);
        }
    }

    fn parse_one(&self, packet: &mut Packet) {
        let overlay = packet.vtep.is_some();
        match headers::parse(packet.frame.bytes(), packet.frame.gso.is_some()) {
            Err(error @ (ParseError::Martian | ParseError::Ipv6Martian)) => {
                packet.refuse(reason(error, overlay, packet.frame.bytes()));
            }
            Err(error) => packet.drop(reason(error, overlay, packet.frame.bytes())),
            Ok(parsed) => {
                packet.eth_dst = parsed.eth.dst;
                packet.eth_src = parsed.eth.src;
                let Network::Ip(ip) = parsed.net else { return };
                packet.frame.truncate(ip.frame_len());
                if !offload::accept_metadata(&mut packet.frame, &ip) {
                    packet.drop(DropReason::BadHeader);
                    return;
                }
                packet.ip = Some(ip);
                packet.l4 = ip.l4;
                if let Some(first) = packet.first {
                    packet.follow(first);
                }
                if overlay {
                    // Neither a UDP socket nor a vnet header tells of the packet inside: a kernel sender over veth
                    // leaves its checksum unfinished and hands whole segments over.
                    offload::detect_partial(&mut packet.frame, &ip);
                    if let Some(mtu) = self.inner_mtu(&ip) {
                        offload::detect_gso(&mut packet.frame, &ip, mtu);
                    }
                }
            }
        }
    }
}

/// Why a frame that does not parse is dropped. One that is no IP packet at all is told apart from a bad IP packet.
pub(super) fn reason(error: ParseError, overlay: bool, frame: &[u8]) -> DropReason {
    match error {
        ParseError::Truncated => DropReason::Truncated,
        ParseError::LengthMismatch => DropReason::LengthMismatch,
        ParseError::BadHeader => DropReason::BadHeader,
        ParseError::IpChecksum => DropReason::IpChecksum,
        ParseError::IpOptions => DropReason::IpOptions,
        ParseError::Ipv6ExtensionChain => DropReason::Ipv6ExtensionChain,
        ParseError::Ipv6Martian => DropReason::Ipv6Martian,
        ParseError::Martian => DropReason::Martian,
        ParseError::FragmentTiny => DropReason::FragmentTiny,
        ParseError::Vlan | ParseError::LengthType | ParseError::UnsupportedEthertype(_) if overlay => {
            DropReason::InnerL2
        }
        ParseError::Vlan | ParseError::LengthType | ParseError::UnsupportedEthertype(_) => {
            match ethernet::parse(frame) {
                Some((eth, _)) if eth.dst.is_multicast() => DropReason::BumDropped,
                _ => DropReason::UnsupportedEthertype,
            }
        }
    }
}

/// True for a transport header that names two L4 ports.
pub(super) fn udp_destination(l4: L4) -> Option<u16> {
    match l4 {
        L4::Udp { dst_port, .. } => Some(dst_port),
        _ => None,
    }
}
