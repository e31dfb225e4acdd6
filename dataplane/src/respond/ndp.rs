//! Neighbour discovery (RFC 4861) on a pod's wire and on the node's: weir answers, and forwards nothing.
//!
//! ```text
//!  0 Ethernet 14 │ IPv6, hop limit 255 │ 54 type 135 or 136 │ code 0 │ checksum │ flags │ target 62 │ options 78
//! ```
//! Of the five messages only a neighbour solicitation is answered, and only to a sender that is bound to
//! the wire, for a target that weir speaks for. Router solicitations stay without an answer (pods get their
//! routes with their interface), advertisements of routers and redirects are an attack. Duplicate address
//! detection (source `::`) stays without an answer: whose address it is stands in the cluster state.
//! Fragmented messages and such with extension headers are refused (RFC 6980). Drops: `bad_header`,
//! `truncated`, `nd_spoof`, `rogue_control`, `neighbour_ignored`.

use std::net::{IpAddr, Ipv6Addr};

use vxlan::mac::Mac;
use vxlan::wire::checksum::transport;
use vxlan::wire::ethernet::HEADER_BYTES as ETHERNET;
use vxlan::wire::headers::{IpHeaders, L4};
use vxlan::wire::ipv6::HEADER_BYTES as IPV6;

use super::packet::{Ends, is_one_interface, write_icmp};
use crate::buffer::{Checksum, Frame};
use crate::drop_reason::DropReason;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

const FLAG_ROUTER: u8 = 0x80;
const FLAG_SOLICITED: u8 = 0x40;
const FLAG_OVERRIDE: u8 = 0x20;

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// What became of a neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NdpOutcome {
    /// The frame now is the advertisement, to be sent back where it came from. Its Ethernet destination is
    /// the MAC of the requester, whose address was checked.
    Reply,
    /// A solicited advertisement to us: this address is at this MAC. The frame is done with.
    Learned(Ipv6Addr, Mac),
    /// Not answered, for this reason.
    Drop(DropReason),
}

/// True for the messages of neighbour discovery, which [`ndp`] handles and nothing forwards.
pub fn is_ndp(headers: &IpHeaders) -> bool {
    matches!(headers.l4, L4::Icmpv6 { icmp_type: ROUTER_SOLICITATION..=REDIRECT, .. })
}

/// What a message that is not dropped comes to.
enum Judged {
    /// An advertisement of the target.
    Reply {
        ends: Ends<Ipv6Addr>,
        flags: u8,
        target: Ipv6Addr,
    },
    Learned(Ipv6Addr, Mac),
}

/// Handles a message of which [`is_ndp`] is true.
///
/// - `sender_mac`: the MAC bound to the wire, where one is known.
/// - `sender_owns`: whether an address is bound to the wire. Link-local addresses need not be known to it:
///   each is allowed that `answers` does not claim for us.
/// - `answers`: the MAC to answer with for a target; `None` for addresses that are not ours to answer for.
/// - `is_router`: whether the target forwards packets for others (the gateway does, another pod does not).
pub fn ndp(
    frame: &mut Frame,
    headers: &IpHeaders,
    sender_mac: Option<Mac>,
    sender_owns: impl Fn(Ipv6Addr) -> bool,
    answers: impl Fn(Ipv6Addr) -> Option<Mac>,
    is_router: impl Fn(Ipv6Addr) -> bool,
) -> NdpOutcome {
    match judge(frame, headers, sender_mac, sender_owns, answers) {
        Ok(Judged::Reply { ends, flags, target }) => {
            let flags = flags | if is_router(target) { FLAG_ROUTER } else { 0 };
            write(frame, ends, [NEIGHBOUR_ADVERTISEMENT, flags], target, TARGET_LINK_LAYER);
            NdpOutcome::Reply
        }
        Ok(Judged::Learned(address, mac)) => NdpOutcome::Learned(address, mac),
        Err(reason) => NdpOutcome::Drop(reason),
    }
}

/// Why [`ndp`] would drop `frame`, if it would.
pub fn ndp_refusal(
    frame: &Frame,
    headers: &IpHeaders,
    sender_mac: Option<Mac>,
    sender_owns: impl Fn(Ipv6Addr) -> bool,
    answers: impl Fn(Ipv6Addr) -> Option<Mac>,
) -> Option<DropReason> {
    judge(frame, headers, sender_mac, sender_owns, answers).err()
}

fn judge(
    frame: &Frame,
    headers: &IpHeaders,
    sender_mac: Option<Mac>,
    sender_owns: impl Fn(Ipv6Addr) -> bool,
    answers: impl Fn(Ipv6Addr) -> Option<Mac>,
) -> Result<Judged, DropReason> {
    let L4::Icmpv6 { icmp_type, .. } = headers.l4 else { return Err(DropReason::BadHeader) };
    match icmp_type {
        // Before anything else is looked at: no malformation makes these harmless.
        ROUTER_ADVERTISEMENT | REDIRECT => return Err(DropReason::RogueControl),
        ROUTER_SOLICITATION => return Err(DropReason::NeighbourIgnored),
        _ => {}
    }
    let message = Message::parse(frame, headers)?;
    let mac = message.eth_src;
    let honest_mac = is_one_interface(mac)
        && sender_mac.is_none_or(|bound| bound == mac)
        && message.link_layer.is_none_or(|claimed| claimed == mac);
    let may_speak_for = |address: Ipv6Addr| {
        sender_owns(address) || address.is_unicast_link_local() && answers(address).is_none()
    };
    let is_probe = message.src.is_unspecified();
    if !honest_mac || !is_probe && !may_speak_for(message.src) {
        return Err(DropReason::NdSpoof);
    }
    match icmp_type {
        NEIGHBOUR_SOLICITATION if !is_probe => answer(&message, answers),
        NEIGHBOUR_ADVERTISEMENT => {
            if !may_speak_for(message.target) {
                return Err(DropReason::NdSpoof);
            }
            let is_ours = answers(message.dst).is_some_and(|ours| message.eth_dst == ours);
            if is_probe || message.flags & FLAG_SOLICITED == 0 || !is_ours {
                return Err(DropReason::NeighbourIgnored);
            }
            Ok(Judged::Learned(message.target, mac))
        }
        _ => Err(DropReason::NeighbourIgnored),
    }
}

/// Makes `frame` a multicast solicitation for the MAC of `target`. The advertisement comes back as
/// [`NdpOutcome::Learned`] where `answers` knows `our_ip`.
pub fn ns_request(frame: &mut Frame, our_mac: Mac, our_ip: Ipv6Addr, target: Ipv6Addr) {
    let group = solicited_node(target);
    let [.., g0, g1, g2, g3] = group.octets();
    let dst_mac = Mac([0x33, 0x33, g0, g1, g2, g3]);
    let ends = Ends { src_mac: our_mac, dst_mac, src: our_ip, dst: group };
    write(frame, ends, [NEIGHBOUR_SOLICITATION, 0], target, SOURCE_LINK_LAYER);
}

fn answer(message: &Message, answers: impl Fn(Ipv6Addr) -> Option<Mac>) -> Result<Judged, DropReason> {
    let Message { target, src, eth_src, .. } = *message;
    let to_target = message.dst == target || message.dst == solicited_node(target);
    let our_mac = answers(target)
        .filter(|mac| to_target && (message.eth_dst == *mac || message.eth_dst.is_multicast()))
        .ok_or(DropReason::NeighbourIgnored)?;
    let ends = Ends { src_mac: our_mac, dst_mac: eth_src, src: target, dst: src };
    Ok(Judged::Reply { ends, flags: FLAG_SOLICITED | FLAG_OVERRIDE, target })
}

fn write(frame: &mut Frame, ends: Ends<Ipv6Addr>, [kind, flags]: [u8; 2], target: Ipv6Addr, option: u8) {
    let Ends { src_mac, dst_mac, src, dst } = ends;
    let addresses = Ends { src_mac, dst_mac, src: IpAddr::V6(src), dst: IpAddr::V6(dst) };
    let mut body = [0; 24];
    let mut to = body.iter_mut();
    let from = target.octets().into_iter().chain([option, 1]).chain(src_mac.0);
    to.by_ref().zip(from).for_each(|(to, from)| *to = from);
    // One family and 86 bytes, so there is no failure to report.
    let _ = write_icmp(frame, addresses, 255, [kind, 0, 0, 0, flags, 0, 0, 0], &body);
}

/// The group in which the owner of `address` listens for solicitations (RFC 4291 section 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// A valid solicitation or advertisement.
struct Message {
    eth_dst: Mac,
    eth_src: Mac,
    src: Ipv6Addr,
    dst: Ipv6Addr,
    flags: u8,
    target: Ipv6Addr,
    /// Of the sender: source link-layer option of a solicitation, target link-layer option of an
    /// advertisement.
    link_layer: Option<Mac>,
}

impl Message {
    /// The validation of RFC 4861 sections 7.1.1 and 7.1.2.
    fn parse(frame: &Frame, headers: &IpHeaders) -> Result<Self, DropReason> {
        let (IpAddr::V6(src), IpAddr::V6(dst), L4::Icmpv6 { icmp_type, code, .. }) =
            (headers.src, headers.dst, headers.l4)
        else {
            return Err(DropReason::BadHeader);
        };
        let plain = usize::from(headers.l3_offset) == ETHERNET
            && usize::from(headers.l4_offset) == ETHERNET + IPV6
            && headers.fragment.is_none();
        if !plain || headers.ttl != 255 || code != 0 {
            return Err(DropReason::BadHeader);
        }
        let bytes = frame.bytes().get(..headers.frame_len()).ok_or(DropReason::Truncated)?;
        let (eth, packet) = bytes.split_first_chunk::<ETHERNET>().ok_or(DropReason::Truncated)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, _, _] = *eth;
        let message = packet.get(IPV6..).ok_or(DropReason::Truncated)?;
        let (fixed, options) = message.split_first_chunk::<24>().ok_or(DropReason::Truncated)?;
        let [_, _, _, _, flags, _, _, _, target @ ..] = *fixed;
        let target = Ipv6Addr::from(target);

        let own = if icmp_type == NEIGHBOUR_SOLICITATION { SOURCE_LINK_LAYER } else { TARGET_LINK_LAYER };
        let link_layer = link_layer(options, own)?;
        let is_probe = src.is_unspecified();
        let contradicts = match icmp_type {
            NEIGHBOUR_SOLICITATION => is_probe && (link_layer.is_some() || dst != solicited_node(target)),
            _ => dst.is_multicast() && flags & FLAG_SOLICITED != 0,
        };
        if target.is_multicast() || contradicts || !checksum_holds(frame, headers, message) {
            return Err(DropReason::BadHeader);
        }
        Ok(Self {
            eth_dst: Mac([d0, d1, d2, d3, d4, d5]),
            eth_src: Mac([s0, s1, s2, s3, s4, s5]),
            src,
            dst,
            flags,
            target,
            link_layer,
        })
    }
}

/// The MAC in the options of type `wanted`. All options are walked: each has a length, in units of 8 bytes,
/// that is not 0 and stays within the packet. Two that contradict one another are refused.
fn link_layer(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, DropReason> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8).ok_or(DropReason::BadHeader)?;
        if units == 0 {
            return Err(DropReason::BadHeader);
        }
        if kind == wanted {
            let address = option.get(2..).and_then(|address| <[u8; 6]>::try_from(address).ok());
            let mac = Mac(address.ok_or(DropReason::BadHeader)?);
            if found.is_some_and(|other| other != mac) {
                return Err(DropReason::BadHeader);
            }
            found = Some(mac);
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(DropReason::BadHeader) }
}

/// A partial checksum is the kernel's word that it has not left the machine, and so is not damaged.
fn checksum_holds(frame: &Frame, headers: &IpHeaders, message: &[u8]) -> bool {
    frame.checksum != Checksum::Complete
        || transport(headers.src, headers.dst, headers.protocol, message) == 0
}
