//! Frames for the benches.

use std::net::Ipv4Addr;

use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::udp::MutableUdpPacket;
use vxlan::Mac;

const SRC_MAC: Mac = Mac([2, 0, 0, 0, 1, 1]);
const DST_MAC: Mac = Mac([2, 0, 0, 0, 1, 2]);
const SRC: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 2);
const DST: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 2);
const SRC_PORT: u16 = 40_000;
const DST_PORT: u16 = 8080;

/// A frame of `len` bytes (without FCS, 42 at the least) with a UDP datagram without checksum over IPv4, from a pod to
/// one of another node.
pub(crate) fn udp_frame(len: usize) -> Vec<u8> {
    let mut frame = vec![0; len.max(42)];
    let ip_len = frame.len() - 14;
    if let Some(mut eth) = MutableEthernetPacket::new(&mut frame) {
        eth.set_source(SRC_MAC.octets().into());
        eth.set_destination(DST_MAC.octets().into());
        eth.set_ethertype(EtherTypes::Ipv4);
    }
    if let Some(mut ip) = frame.get_mut(14..).and_then(MutableIpv4Packet::new) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(ip_len as u16);
        ip.set_ttl(64);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Udp);
        ip.set_source(SRC);
        ip.set_destination(DST);
        ip.set_checksum(ipv4::checksum(&ip.to_immutable()));
    }
    if let Some(mut udp) = frame.get_mut(34..).and_then(MutableUdpPacket::new) {
        udp.set_source(SRC_PORT);
        udp.set_destination(DST_PORT);
        udp.set_length((ip_len - 20) as u16);
    }
    frame
}
