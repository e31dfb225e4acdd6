//! Door: what ends before it becomes a packet of the stages.
//!
//! Frames that no glance takes in (malformed ones, ARP, neighbour discovery, ICMP, DHCP) are read here and put to the
//! rules of `decap`, `parse`, `guard`, `neighbour` and `track`, by the functions that these stages use. What they would
//! drop, whatever came before it, ends here for a fraction of what the stages take: anyone can send such frames, and
//! hardly two are alike, so that there is nothing for `refusals` to remember.
//!
//! A frame of which more would come than a drop (an answer, something learnt, another counter) enters, and so does one
//! about which the stages would know more: of a pod whose MAC is not known yet, one with a sum or segments that its port
//! says are not there yet, a fragment, an ICMP error about a connection that is there. Nothing is changed here.
//!
//! An ICMP error that comes right behind the packet that opens its connection, in the same batch, may find that or not: as
//! among the stages, that depends on where the batch falls apart.

use vxlan::wire::headers::{self, IpHeaders, L4, Network};

use super::bindings::{PortId, Role};
use super::guard::{Seen, Speaker, speaker};
use super::look::Source;
use super::neighbour::neighbour_refusal;
use super::track::quoted;
use super::{Pipeline, parse};
use crate::buffer::{Checksum, Frame};
use crate::conntrack::Witness;
use crate::drop_reason::DropReason;
use crate::respond;
use crate::tables::Generation;

impl Pipeline {
    /// Why a frame is dropped here, if it is: for as long as `witness` holds, and without one whatever else is known.
    /// `stripped` is what taking off its outer headers came to.
    #[inline(never)]
    pub(super) fn rejected(
        &self,
        source: Source,
        generation: &Generation,
        from: PortId,
        frame: &Frame,
        stripped: Result<(), DropReason>,
        witness: &mut Option<Witness>,
    ) -> Option<DropReason> {
        *witness = None;
        if stripped.is_err() {
            return stripped.err();
        }
        if frame.gso.is_some() {
            return None;
        }
        self.enters(source, generation, from, frame, witness).err()
    }

    fn enters(
        &self,
        source: Source,
        generation: &Generation,
        from: PortId,
        frame: &Frame,
        witness: &mut Option<Witness>,
    ) -> Result<(), DropReason> {
        let (vtep, bytes) = match source {
            Source::Port => (None, frame.bytes()),
            Source::Datagrams | Source::Frames => match self.look_inside(generation, frame)? {
                Some((vtep, inner)) => (Some(vtep), inner),
                None => return Ok(()),
            },
        };
        // Not moved: what is copied right after it was written in pieces stalls the processor.
        let parsed = headers::parse(bytes, false);
        let headers = match &parsed {
            Ok(headers) => headers,
            Err(error) => return Err(parse::reason(*error, vtep.is_some(), bytes)),
        };
        let Some(binding) = self.bindings.get(from) else { return Ok(()) };
        let nameless = matches!(binding.role, Role::Pod(_)) && binding.mac.is_none();
        // What its port says of a sum that is not there yet is judged first.
        if nameless || frame.checksum != Checksum::Complete {
            return Ok(());
        }
        let ip = match &headers.net {
            Network::Ip(ip) if is_asked(ip) => Some(ip),
            Network::Ip(_) => return Ok(()),
            Network::Arp => None,
        };
        let seen = Seen {
            eth_dst: &headers.eth.dst,
            eth_src: &headers.eth.src,
            ip,
            l4: ip.map_or(&L4::Other, |ip| &ip.l4),
            bytes: ip.map_or(Some(bytes), |ip| bytes.get(..ip.frame_len())).unwrap_or_default(),
            vtep,
        };
        let party = match speaker(generation, binding, &seen)? {
            Speaker::Neighbour(asker) => {
                return neighbour_refusal(generation, asker, binding.mac, ip, frame).map_or(Ok(()), Err);
            }
            Speaker::Source(party) => party,
        };
        self.destination(generation, party, &seen)?;
        let Some(ip) = ip.filter(|ip| respond::is_icmp_error(ip)) else { return Ok(()) };
        let tuple = quoted(generation, party, ip, seen.bytes).ok_or(DropReason::IcmpUnrelated)?;
        *witness = self.connections.witness(&tuple);
        if witness.is_some() { Err(DropReason::IcmpUnrelated) } else { Ok(()) }
    }
}

/// Whether a packet that is well-formed is asked where it comes from and what it says: ICMP and DHCP. The others as a
/// rule pass, and would be asked twice.
fn is_asked(ip: &IpHeaders) -> bool {
    let asked = match ip.l4 {
        L4::Icmp { .. } | L4::Icmpv6 { .. } => true,
        L4::Udp { src_port, dst_port } => respond::is_dhcp(src_port) || respond::is_dhcp(dst_port),
        _ => false,
    };
    asked && ip.fragment.is_none()
}
