//! Packets that are wrong in one thing, byte by byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use vxlan::Mac;
use vxlan::wire::checksum;

use super::super::node::{CLIENT_MAC, GATEWAY_MAC};
use super::super::traffic::Datagram;
use super::IP;

/// Addresses of pods of this node and of the other, if they had any.
const NEAR: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 244, 1, 0, 0, 0, 2);
const FAR: Ipv6Addr = Ipv6Addr::new(0xfd00, 10, 244, 2, 0, 0, 0, 2);

/// A frame of 64 bytes with these `bytes` at `place`.
pub(super) fn patched(datagram: &Datagram, place: usize, bytes: &[u8]) -> Vec<u8> {
    patch(datagram.frame(64), place, bytes)
}

/// `frame` with these `bytes` at `place`.
pub(super) fn patch(mut frame: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    let to = frame.get_mut(place..place.saturating_add(bytes.len()));
    if let Some(to) = to {
        to.copy_from_slice(bytes);
    }
    frame
}

/// With a right IP header checksum.
pub(super) fn summed(frame: Vec<u8>) -> Vec<u8> {
    let frame = patch(frame, IP + 10, &[0, 0]);
    let sum = frame.get(IP..IP + 20).map(checksum::ipv4_header).unwrap_or_default();
    patch(frame, IP + 10, &sum.to_be_bytes())
}

/// A later fragment that would write over the TCP header of its first.
pub(super) fn tiny(datagram: &Datagram) -> Vec<u8> {
    summed(patch(patched(datagram, IP + 6, &[0, 1]), IP + 9, &[6]))
}

/// The first 32 bytes of a datagram in fragments.
pub(super) fn first_fragment(datagram: &Datagram, number: u16) -> Vec<u8> {
    fragment(datagram, number, 0x2000)
}

/// The 32 bytes after them, which are the last.
pub(super) fn later_fragment(datagram: &Datagram, number: u16) -> Vec<u8> {
    fragment(datagram, number, 32 / 8)
}

/// `place`: flags and offset.
fn fragment(datagram: &Datagram, number: u16, place: u16) -> Vec<u8> {
    let frame = patch(datagram.frame(70), IP + 4, &number.to_be_bytes());
    summed(patch(frame, IP + 6, &place.to_be_bytes()))
}

/// A TCP segment in the middle of a connection that nobody knows.
pub(super) fn acknowledgment(datagram: &Datagram) -> Vec<u8> {
    let frame = summed(patched(datagram, IP + 9, &[6]));
    patch(frame, IP + 20 + 12, &[0x50, 0x10])
}

/// With a loose source route (RFC 791) between header and datagram.
pub(super) fn with_options(datagram: &Datagram) -> Vec<u8> {
    let mut frame = patched(datagram, IP, &[0x47]);
    frame.splice(IP + 20..IP + 20, [131, 7, 4, 10, 244, 2, 3, 0]);
    let total = (frame.len() - IP) as u16;
    let frame = patch(patch(frame, IP + 2, &total.to_be_bytes()), IP + 10, &[0, 0]);
    let sum = frame.get(IP..IP + 28).map(checksum::ipv4_header).unwrap_or_default();
    patch(frame, IP + 10, &sum.to_be_bytes())
}

/// An ICMP error (port unreachable) about a datagram that nobody has sent, from its receiver.
pub(super) fn icmp_error(datagram: &Datagram) -> Vec<u8> {
    let quoted = Datagram { src: datagram.dst, dst: datagram.src, ..*datagram }.frame(64);
    let quoted = quoted.get(IP..IP + 28).unwrap_or_default();
    let message = [&[3, 3, 0, 0, 0, 0, 0, 0], quoted].concat();
    let sum = !checksum::fold(checksum::sum(&message));
    let message = patch(message, 2, &sum.to_be_bytes());
    let length = 20 + message.len() as u16;
    let frame = patch(patch(datagram.frame(80), IP + 2, &length.to_be_bytes()), IP + 9, &[1]);
    summed(patch(frame, IP + 20, &message))
}

/// A question for the MAC of `target`.
pub(super) fn arp(sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let head = [&Mac::BROADCAST.0[..], &CLIENT_MAC.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    [&head[..], &CLIENT_MAC.0, &sender.octets(), &[0; 6], &target.octets(), &[0; 18]].concat()
}

/// A routing header of type 0 with one address (RFC 5095).
pub(super) fn routing_header() -> Vec<u8> {
    let segments = [&[17, 2, 0, 1, 0, 0, 0, 0][..], &FAR.octets()].concat();
    ipv6(CLIENT_MAC, 43, 64, NEAR, FAR, &segments)
}

/// A datagram from an IPv4 address in IPv6's clothes.
pub(super) fn ipv6_martian() -> Vec<u8> {
    let datagram = [0x1f, 0x40, 0x1f, 0x40, 0, 8, 0xab, 0xcd];
    ipv6(CLIENT_MAC, 17, 64, Ipv4Addr::LOCALHOST.to_ipv6_mapped(), FAR, &datagram)
}

/// A neighbour solicitation (RFC 4861) from a MAC that is not the pod's.
pub(super) fn solicitation(from: Mac) -> Vec<u8> {
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &FAR.octets(), &[1, 1], &from.0].concat();
    let sum = checksum::transport(NEAR.into(), FAR.into(), 58, &message);
    ipv6(from, 58, 255, NEAR, FAR, &patch(message, 2, &sum.to_be_bytes()))
}

fn ipv6(from: Mac, next_header: u8, hop_limit: u8, src: Ipv6Addr, dst: Ipv6Addr, body: &[u8]) -> Vec<u8> {
    let head = [&GATEWAY_MAC.0[..], &from.0, &[0x86, 0xdd, 0x60, 0, 0, 0, 0]].concat();
    let rest = [body.len() as u8, next_header, hop_limit];
    [&head[..], &rest, &src.octets(), &dst.octets(), body].concat()
}
