//! First packets of connections, built with smoltcp: IP packets without Ethernet header.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4Packet, Icmpv6Packet, IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    UdpPacket, UdpRepr,
};

/// What opens a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening {
    pub(crate) protocol: u8,
    pub(crate) src_port: u16,
    /// Port, or `type << 8 | code`.
    pub(crate) dst_port: u16,
}

/// The first packet. `None`: an ICMP message that opens nothing, or that the address family does not have.
pub(crate) fn opening(src: IpAddr, dst: IpAddr, opening: Opening) -> Option<Vec<u8>> {
    let payload = match opening.protocol {
        6 => tcp(src, dst, opening),
        17 => udp(src, dst, opening),
        132 => sctp(opening),
        1 if src.is_ipv4() => icmp(opening)?,
        58 if src.is_ipv6() => icmpv6(src, dst, opening)?,
        1 | 58 => return None,
        _ => vec![0; 16],
    };
    let repr = IpRepr::new(src.into(), dst.into(), IpProtocol::from(opening.protocol), payload.len(), 64);
    let mut packet = vec![0; repr.header_len()];
    repr.emit(&mut packet, &ChecksumCapabilities::default());
    packet.extend(payload);
    Some(packet)
}

fn tcp(src: IpAddr, dst: IpAddr, opening: Opening) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: opening.src_port,
        dst_port: opening.dst_port,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1),
        ack_number: None,
        window_len: 1024,
        window_scale: None,
        max_seg_size: Some(1400),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let mut bytes = vec![0; repr.buffer_len()];
    let mut packet = TcpPacket::new_unchecked(&mut bytes);
    let (src, dst) = (IpAddress::from(src), IpAddress::from(dst));
    repr.emit(&mut packet, &src, &dst, &ChecksumCapabilities::ignored());
    // smoltcp takes no port 0, which is a port like any other to a policy.
    packet.set_dst_port(opening.dst_port);
    packet.fill_checksum(&src, &dst);
    bytes
}

fn udp(src: IpAddr, dst: IpAddr, opening: Opening) -> Vec<u8> {
    let repr = UdpRepr { src_port: opening.src_port, dst_port: opening.dst_port };
    let mut bytes = vec![0; repr.header_len() + 5];
    let mut packet = UdpPacket::new_unchecked(&mut bytes);
    let (src, dst) = (IpAddress::from(src), IpAddress::from(dst));
    repr.emit(
        &mut packet,
        &src,
        &dst,
        5,
        |data| data.copy_from_slice(b"probe"),
        &ChecksumCapabilities::default(),
    );
    bytes
}

/// RFC 9260: common header and an INIT chunk of 20 bytes. weir leaves the CRC32c to the ends.
fn sctp(opening: Opening) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(opening.src_port.to_be_bytes());
    bytes.extend(opening.dst_port.to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend([1, 0, 0, 20, 0, 0, 0, 1, 0, 0, 4, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    bytes
}

fn icmp(opening: Opening) -> Option<Vec<u8>> {
    let [kind, code] = opening.dst_port.to_be_bytes();
    // Echo, timestamp, information and address mask requests (RFC 792, RFC 950).
    if !matches!(kind, 8 | 13 | 15 | 17) {
        return None;
    }
    let mut bytes = vec![kind, code, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    Icmpv4Packet::new_unchecked(&mut bytes).fill_checksum();
    Some(bytes)
}

fn icmpv6(src: IpAddr, dst: IpAddr, opening: Opening) -> Option<Vec<u8>> {
    let [kind, code] = opening.dst_port.to_be_bytes();
    let (IpAddr::V6(src), IpAddr::V6(dst)) = (src, dst) else { return None };
    if kind != 128 {
        return None;
    }
    let mut bytes = vec![kind, code, 0, 0, 0, 7, 0, 1];
    Icmpv6Packet::new_unchecked(&mut bytes).fill_checksum(&src, &dst);
    Some(bytes)
}
