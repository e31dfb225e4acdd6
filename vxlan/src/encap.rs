//! Outer headers, for underlays where weir writes them itself (a raw port on the NIC).
//!
//! ```text
//! | Ethernet (14) | IPv4 (20) or IPv6 (40) | UDP (8) | VXLAN (8) | inner frame |
//! ```
//!
//! RFC 7348 section 5. They go into the headroom before the inner frame, which is not moved. As flannel's kernel
//! devices send them: TTL 64, DSCP 0, DF clear, UDP checksum there. The checksum is the only part that costs a
//! pass over the inner frame; [`OuterChecksum::Zero`] leaves it out (RFC 7348 section 5, RFC 6935).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::mac::Mac;
use crate::vni::Vni;
use crate::wire::headers::PROTOCOL_UDP;
use crate::wire::{checksum, ethernet, ipv4, ipv6, udp, vxlan};

/// Outer Ethernet, IPv4, UDP and VXLAN headers.
pub const OUTER_BYTES_V4: usize =
    ethernet::HEADER_BYTES + ipv4::MIN_HEADER_BYTES + udp::HEADER_BYTES + vxlan::HEADER_BYTES;

/// Outer Ethernet, IPv6, UDP and VXLAN headers.
pub const OUTER_BYTES_V6: usize =
    ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + udp::HEADER_BYTES + vxlan::HEADER_BYTES;

/// The TTL that flannel's devices send with.
pub const TTL: u8 = 64;

/// The outer UDP checksum.
#[derive(Debug, Copy, Clone, PartialEq, Eq, Default)]
pub enum OuterChecksum {
    /// Computed, as kernel flannel sends it.
    #[default]
    Compute,
    /// Zero, "none".
    Zero,
    /// The sum of the pseudo header alone: whoever cuts the packet into segments completes it in each.
    PseudoHeader,
}

/// What the outer headers say.
///
/// ```
/// use vxlan::encap::{OUTER_BYTES_V4, OuterChecksum, OuterConfig, TTL, write_outer};
/// use vxlan::{Mac, Vni, decap};
///
/// let inner = [0x0e; 60];
/// let config = OuterConfig {
///     source_mac: Mac([2, 0, 0, 0, 0, 1]),
///     dest_mac: Mac([2, 0, 0, 0, 0, 2]),
///     src: [192, 0, 2, 1].into(),
///     dst: [192, 0, 2, 2].into(),
///     source_port: 50000,
///     dest_port: 8472,
///     vni: Vni::FLANNEL,
///     tos: 0,
///     ttl: TTL,
///     checksum: OuterChecksum::Compute,
///     identification: 7,
/// };
/// let mut frame = vec![0; OUTER_BYTES_V4];
/// write_outer(&mut frame, &inner, &config)?;
/// frame.extend_from_slice(&inner);
/// assert_eq!(decap::parse_outer(&frame)?.source_port, 50000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub struct OuterConfig {
    /// Our MAC on the underlay.
    pub source_mac: Mac,
    /// The next hop's MAC.
    pub dest_mac: Mac,
    /// Our underlay address.
    pub src: IpAddr,
    /// The peer's, of the same family.
    pub dst: IpAddr,
    /// By [`crate::entropy::source_port`].
    pub source_port: u16,
    /// The VXLAN port.
    pub dest_port: u16,
    /// The network.
    pub vni: Vni,
    /// By [`crate::ecn::encapsulate`].
    pub tos: u8,
    /// TTL or hop limit, in general [`TTL`].
    pub ttl: u8,
    /// With or without the UDP checksum.
    pub checksum: OuterChecksum,
    /// IPv4 identification: DF is clear, so a router may fragment. Unused in IPv6.
    pub identification: u16,
}

/// Why the outer headers could not be written.
#[derive(Debug, Copy, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncapError {
    /// Source and destination are of different families.
    #[error("outer source and destination are of different families")]
    FamilyMismatch,
    /// The room is not exactly [`OUTER_BYTES_V4`] or [`OUTER_BYTES_V6`].
    #[error("the outer headers take {expected} bytes, found room for {found}")]
    HeaderRoom {
        /// What the headers take.
        expected: usize,
        /// What there was.
        found: usize,
    },
    /// The outer packet would be longer than its length fields can say.
    #[error("an inner frame of {0} bytes is too long for one outer packet")]
    TooLong(usize),
}

/// Writes the outer headers of `inner` into `header_room`, every byte of it.
///
/// # Errors
/// See [`EncapError`]; the room's content is then unspecified.
pub fn write_outer(header_room: &mut [u8], inner: &[u8], config: &OuterConfig) -> Result<(), EncapError> {
    match (config.src, config.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let room = exactly::<OUTER_BYTES_V4>(header_room)?;
            write_v4(room, inner, config, src, dst)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let room = exactly::<OUTER_BYTES_V6>(header_room)?;
            write_v6(room, inner, config, src, dst)
        }
        _ => Err(EncapError::FamilyMismatch),
    }
}

fn exactly<const BYTES: usize>(room: &mut [u8]) -> Result<&mut [u8; BYTES], EncapError> {
    let found = room.len();
    room.try_into().map_err(|_| EncapError::HeaderRoom { expected: BYTES, found })
}

fn write_v4(
    room: &mut [u8; OUTER_BYTES_V4],
    inner: &[u8],
    config: &OuterConfig,
    src: Ipv4Addr,
    dst: Ipv4Addr,
) -> Result<(), EncapError> {
    let udp_len = udp_length(inner, ipv4::MIN_HEADER_BYTES)?;
    let total_len =
        udp_len.checked_add(ipv4::MIN_HEADER_BYTES as u16).ok_or(EncapError::TooLong(inner.len()))?;

    let mut header = [0; ipv4::MIN_HEADER_BYTES];
    let mut to = header.iter_mut();
    put(&mut to, &[0x45, config.tos]);
    put(&mut to, &total_len.to_be_bytes());
    put(&mut to, &config.identification.to_be_bytes());
    put(&mut to, &[0, 0, config.ttl, PROTOCOL_UDP, 0, 0]);
    put(&mut to, &src.octets());
    put(&mut to, &dst.octets());
    let header_checksum = checksum::ipv4_header(&header);
    if let Some([.., high, low]) = header.first_chunk_mut::<12>() {
        [*high, *low] = header_checksum.to_be_bytes();
    }

    let mut to = room.iter_mut();
    put(&mut to, &ethernet_header(config, ethernet::IPV4));
    put(&mut to, &header);
    put(&mut to, &udp_and_vxlan(udp_len, inner, config));
    Ok(())
}

fn write_v6(
    room: &mut [u8; OUTER_BYTES_V6],
    inner: &[u8],
    config: &OuterConfig,
    src: Ipv6Addr,
    dst: Ipv6Addr,
) -> Result<(), EncapError> {
    // The payload length of IPv6 does not count the header.
    let udp_len = udp_length(inner, 0)?;

    let mut to = room.iter_mut();
    put(&mut to, &ethernet_header(config, ethernet::IPV6));
    // Flow label zero, as the kernel's vxlan device has it: the source port carries the entropy.
    put(&mut to, &[0x60 | (config.tos >> 4), config.tos << 4, 0, 0]);
    put(&mut to, &udp_len.to_be_bytes());
    put(&mut to, &[PROTOCOL_UDP, config.ttl]);
    put(&mut to, &src.octets());
    put(&mut to, &dst.octets());
    put(&mut to, &udp_and_vxlan(udp_len, inner, config));
    Ok(())
}

fn put<'a>(to: &mut impl Iterator<Item = &'a mut u8>, bytes: &[u8]) {
    // `from` leads: a zip asks its first side first, and must not take a byte of `to` that it does not fill.
    for (from, to) in bytes.iter().zip(to) {
        *to = *from;
    }
}

fn udp_length(inner: &[u8], ip_header: usize) -> Result<u16, EncapError> {
    let too_long = EncapError::TooLong(inner.len());
    let udp_len = inner.len().checked_add(udp::HEADER_BYTES + vxlan::HEADER_BYTES).ok_or(too_long)?;
    let total = udp_len.checked_add(ip_header).ok_or(too_long)?;
    if total > usize::from(u16::MAX) { Err(too_long) } else { Ok(udp_len as u16) }
}

fn ethernet_header(config: &OuterConfig, ethertype: u16) -> [u8; ethernet::HEADER_BYTES] {
    ethernet::Ethernet { dst: config.dest_mac, src: config.source_mac, ethertype }.to_bytes()
}

fn udp_and_vxlan(
    length: u16,
    inner: &[u8],
    config: &OuterConfig,
) -> [u8; udp::HEADER_BYTES + vxlan::HEADER_BYTES] {
    let header = udp::Udp { src_port: config.source_port, dst_port: config.dest_port, length, checksum: 0 };
    let vxlan = vxlan::emit(config.vni);
    let checksum = match config.checksum {
        OuterChecksum::Zero => 0,
        OuterChecksum::PseudoHeader => {
            checksum::fold(checksum::pseudo_header(config.src, config.dst, PROTOCOL_UDP, u32::from(length)))
        }
        OuterChecksum::Compute => {
            let sum = checksum::pseudo_header(config.src, config.dst, PROTOCOL_UDP, u32::from(length))
                + checksum::sum(&header.to_bytes())
                + checksum::sum(&vxlan)
                + checksum::sum(inner);
            // Zero on the wire would say "none" (RFC 768).
            match !checksum::fold(sum) {
                0 => u16::MAX,
                other => other,
            }
        }
    };
    let mut bytes = [0; udp::HEADER_BYTES + vxlan::HEADER_BYTES];
    let mut to = bytes.iter_mut();
    put(&mut to, &udp::Udp { checksum, ..header }.to_bytes());
    put(&mut to, &vxlan);
    bytes
}

#[cfg(test)]
mod tests;
