//! Ethernet, IP and ICMP around what weir sends itself: one function, since all of it is ICMP.

use std::net::IpAddr;

use vxlan::mac::Mac;
use vxlan::wire::checksum::{fold, ipv4_header, sum, transport};
use vxlan::wire::ethernet::HEADER_BYTES as ETHERNET;
use vxlan::wire::headers::{PROTOCOL_ICMP, PROTOCOL_ICMPV6};
use vxlan::wire::ipv4::MIN_HEADER_BYTES as IPV4;
use vxlan::wire::ipv6::HEADER_BYTES as IPV6;

use crate::buffer::Frame;
use crate::offload::field::{assemble, write_u16};

/// Class selector 6, internetwork control (RFC 1812 section 4.3.2.5).
const TOS_CONTROL: u8 = 0xc0;

/// True for a MAC that one interface can have.
pub(super) fn is_one_interface(mac: Mac) -> bool {
    mac.is_unicast() && mac != Mac::ZERO
}

/// The ends of one packet.
#[derive(Clone, Copy)]
pub(super) struct Ends<A> {
    pub(super) src_mac: Mac,
    pub(super) dst_mac: Mac,
    pub(super) src: A,
    pub(super) dst: A,
}

/// Replaces `frame` by one ICMP message, `head` (whose checksum field is 0) and `body`, complete with all
/// checksums; `None` when the addresses are of different families or the message is too long.
pub(super) fn write_icmp(
    frame: &mut Frame,
    ends: Ends<IpAddr>,
    hop_limit: u8,
    head: [u8; 8],
    body: &[u8],
) -> Option<()> {
    frame.reset();
    let (dst_mac, src_mac) = (ends.dst_mac.0, ends.src_mac.0);
    let len = u16::try_from(head.len() + body.len()).ok()?;
    match (ends.src, ends.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let total = len.checked_add(IPV4 as u16)?.to_be_bytes();
            // Don't Fragment is set, so identification 0 is in order (RFC 6864); the checksum follows.
            let fixed = [0, 0, 0x40, 0, hop_limit, PROTOCOL_ICMP, 0, 0];
            let start = [0x08, 0x00, 0x45, TOS_CONTROL];
            assemble(
                frame,
                &[&dst_mac, &src_mac, &start, &total, &fixed, &src.octets(), &dst.octets(), &head, body],
            )?;
            let (header, message) = frame.bytes().get(ETHERNET..)?.split_at_checked(IPV4)?;
            let (header, message) = (ipv4_header(header), !fold(sum(message)));
            write_u16(frame.bytes_mut(), ETHERNET + 10, header)?;
            write_u16(frame.bytes_mut(), ETHERNET + IPV4 + 2, message)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let [len_high, len_low] = len.to_be_bytes();
            let fixed = [
                0x86,
                0xdd,
                0x60 | TOS_CONTROL >> 4,
                TOS_CONTROL << 4,
                0,
                0,
                len_high,
                len_low,
                PROTOCOL_ICMPV6,
                hop_limit,
            ];
            assemble(frame, &[&dst_mac, &src_mac, &fixed, &src.octets(), &dst.octets(), &head, body])?;
            let message = frame.bytes().get(ETHERNET + IPV6..)?;
            let checksum = transport(ends.src, ends.dst, PROTOCOL_ICMPV6, message);
            write_u16(frame.bytes_mut(), ETHERNET + IPV6 + 2, checksum)
        }
        _ => None,
    }
}
