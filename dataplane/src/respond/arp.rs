//! ARP (RFC 826) on a pod's wire and on the node's: weir answers, and forwards nothing.
//!
//! ```text
//!  0 Ethernet 14 │ htype=1 │ ptype=0x0800 │ 6 │ 4 │ op │ sha 22 │ spa 28 │ tha 32 │ tpa 38 │ 42
//! ```
//! A request is answered when its sender is the one bound to the wire and its target is an address that
//! weir speaks for. Probes (RFC 5227, sender 0.0.0.0) and announcements are left without an answer: whose
//! address it is stands in the cluster state, not in ARP. Drops: `truncated`, `bad_header`, `arp_spoof`,
//! `neighbour_ignored`.

use std::net::Ipv4Addr;

use vxlan::mac::Mac;

use super::packet::is_one_interface;
use crate::buffer::Frame;
use crate::drop_reason::DropReason;
use crate::offload::field::assemble;

const FRAME: usize = 42;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
/// Ethertype ARP, hardware type Ethernet, protocol IPv4, address lengths 6 and 4.
const FIXED: [u8; 8] = [0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4];

/// What became of an ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOutcome {
    /// The frame now is the reply, to be sent back where it came from. Its Ethernet destination is the MAC
    /// of the requester, whose address was checked.
    Reply,
    /// A reply to us: this address is at this MAC. The frame is done with.
    Learned(Ipv4Addr, Mac),
    /// Not answered, for this reason.
    Drop(DropReason),
}

/// What a packet that is not dropped comes to.
enum Judged {
    /// Whom to tell what.
    Reply {
        to: (Mac, Ipv4Addr),
        answer: (Mac, Ipv4Addr),
    },
    Learned(Ipv4Addr, Mac),
}

/// Handles a frame of ethertype ARP.
///
/// - `sender_mac`: the MAC bound to the wire, where one is known.
/// - `sender_owns`: whether an address is bound to the wire.
/// - `answers`: the MAC to answer with for a target; `None` for addresses that are not ours to answer for.
pub fn arp(
    frame: &mut Frame,
    sender_mac: Option<Mac>,
    sender_owns: impl Fn(Ipv4Addr) -> bool,
    answers: impl Fn(Ipv4Addr) -> Option<Mac>,
) -> ArpOutcome {
    match judge(frame.bytes(), sender_mac, sender_owns, answers) {
        Ok(Judged::Reply { to, answer }) => {
            write(frame, to.0, REPLY, answer, to);
            ArpOutcome::Reply
        }
        Ok(Judged::Learned(address, mac)) => ArpOutcome::Learned(address, mac),
        Err(reason) => ArpOutcome::Drop(reason),
    }
}

/// Why [`arp`] would drop the frame of these `bytes`, if it would.
pub fn arp_refusal(
    bytes: &[u8],
    sender_mac: Option<Mac>,
    sender_owns: impl Fn(Ipv4Addr) -> bool,
    answers: impl Fn(Ipv4Addr) -> Option<Mac>,
) -> Option<DropReason> {
    judge(bytes, sender_mac, sender_owns, answers).err()
}

fn judge(
    bytes: &[u8],
    sender_mac: Option<Mac>,
    sender_owns: impl Fn(Ipv4Addr) -> bool,
    answers: impl Fn(Ipv4Addr) -> Option<Mac>,
) -> Result<Judged, DropReason> {
    let packet = Packet::parse(bytes)?;
    let honest_mac = packet.sha == packet.eth_src
        && is_one_interface(packet.sha)
        && sender_mac.is_none_or(|bound| bound == packet.sha);
    let is_probe = packet.spa.is_unspecified();
    if !honest_mac || !is_probe && !sender_owns(packet.spa) {
        return Err(DropReason::ArpSpoof);
    }
    if is_probe || packet.spa == packet.tpa {
        return Err(DropReason::NeighbourIgnored);
    }
    let mac = answers(packet.tpa).ok_or(DropReason::NeighbourIgnored)?;
    match packet.operation {
        // To us alone a request may come when a cache entry is confirmed (RFC 1122 section 2.3.2.1).
        REQUEST if packet.eth_dst.is_broadcast() || packet.eth_dst == mac => {
            Ok(Judged::Reply { to: (packet.sha, packet.spa), answer: (mac, packet.tpa) })
        }
        REPLY if packet.eth_dst == mac && packet.tha == mac => Ok(Judged::Learned(packet.spa, packet.sha)),
        REQUEST | REPLY => Err(DropReason::NeighbourIgnored),
        _ => Err(DropReason::BadHeader),
    }
}

/// Makes `frame` a broadcast request for the MAC of `target`. The reply comes back as
/// [`ArpOutcome::Learned`] where `answers` knows `our_ip`.
pub fn arp_request(frame: &mut Frame, our_mac: Mac, our_ip: Ipv4Addr, target: Ipv4Addr) {
    write(frame, Mac::BROADCAST, REQUEST, (our_mac, our_ip), (Mac::ZERO, target));
}

fn write(frame: &mut Frame, eth_dst: Mac, operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) {
    frame.reset();
    // 42 bytes fit every frame, so there is no failure to report.
    let _ = assemble(
        frame,
        &[
            &eth_dst.0,
            &sender.0.0,
            &FIXED,
            &operation.to_be_bytes(),
            &sender.0.0,
            &sender.1.octets(),
            &target.0.0,
            &target.1.octets(),
        ],
    );
}

struct Packet {
    eth_dst: Mac,
    eth_src: Mac,
    operation: u16,
    sha: Mac,
    spa: Ipv4Addr,
    tha: Mac,
    tpa: Ipv4Addr,
}

impl Packet {
    fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let bytes: &[u8; FRAME] = bytes.first_chunk().ok_or(DropReason::Truncated)?;
        let mut rest: &[u8] = bytes;
        // In braces order matters: each takes its bytes off the front.
        let packet = (|| {
            let eth_dst = Mac(take(&mut rest)?);
            let eth_src = Mac(take(&mut rest)?);
            let fixed: [u8; 8] = take(&mut rest)?;
            let packet = Self {
                eth_dst,
                eth_src,
                operation: u16::from_be_bytes(take(&mut rest)?),
                sha: Mac(take(&mut rest)?),
                spa: take::<4>(&mut rest)?.into(),
                tha: Mac(take(&mut rest)?),
                tpa: take::<4>(&mut rest)?.into(),
            };
            (fixed == FIXED).then_some(packet)
        })();
        packet.ok_or(DropReason::BadHeader)
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*field)
}
