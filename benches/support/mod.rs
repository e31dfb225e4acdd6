//! Frames for the benches.

use std::net::Ipv4Addr;

use pnet_packet::ethernet::{EtherTypes, MutableEthernetPacket};
use pnet_packet::ip::IpNextHeaderProtocols;
use pnet_packet::ipv4::{self, MutableIpv4Packet};
use pnet_packet::udp::MutableUdpPacket;
use vxlan::Mac;

/// Who sends a frame to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) src_mac: Mac,
    pub(crate) dst_mac: Mac,
    pub(crate) src: Ipv4Addr,
    pub(crate) dst: Ipv4Addr,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
}

/// A frame of `len` bytes (without FCS, 42 at the least) with a UDP datagram without checksum over IPv4.
pub(crate) fn udp_frame(ends: &Ends, len: usize) -> Vec<u8> {
    let mut frame = vec![0; len.max(42)];
    let ip_len = frame.len() - 14;
    if let Some(mut eth) = MutableEthernetPacket::new(&mut frame) {
        eth.set_source(ends.src_mac.octets().into());
        eth.set_destination(ends.dst_mac.octets().into());
        eth.set_ethertype(EtherTypes::Ipv4);
    }
    if let Some(mut ip) = frame.get_mut(14..).and_then(MutableIpv4Packet::new) {
        ip.set_version(4);
        ip.set_header_length(5);
        ip.set_total_length(ip_len as u16);
        ip.set_ttl(64);
        ip.set_next_level_protocol(IpNextHeaderProtocols::Udp);
        ip.set_source(ends.src);
        ip.set_destination(ends.dst);
        ip.set_checksum(ipv4::checksum(&ip.to_immutable()));
    }
    if let Some(mut udp) = frame.get_mut(34..).and_then(MutableUdpPacket::new) {
        udp.set_source(ends.src_port);
        udp.set_destination(ends.dst_port);
        udp.set_length((ip_len - 20) as u16);
    }
    frame
}
