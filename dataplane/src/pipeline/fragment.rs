//! Fragments: gives later fragments the transport header of their first (RFC 791, RFC 8200 section 4.5).
//!
//! On entry a packet is guarded. On exit `l4` names its L4 ports whether or not they are in this very
//! fragment; a later fragment that overtook its first waits in the table, and comes back behind it. Fragments
//! are forwarded as they came, never put together. Packets that are no fragments do not touch the table.

use vxlan::mtu::Family;
use vxlan::wire::headers::L4;

use super::Pipeline;
use super::packet::{Fate, FirstFragment, Packet};
use crate::fragments::{FragKey, Later};
use crate::time::Timestamp;

impl Pipeline {
    /// Works over the packets from `begin` on; those set free by a first fragment are appended.
    pub(super) fn fragments(&mut self, packets: &mut Vec<Packet>, begin: usize, now: Timestamp) {
        for position in begin..packets.len() {
            let Some(packet) = packets.get_mut(position).filter(|packet| packet.is_live()) else { continue };
            let Some(ip) = packet.ip else { continue };
            // What waited has been entered when it came.
            let Some(fragment) = ip.fragment.filter(|_| packet.first.is_none()) else { continue };
            let key = FragKey {
                src: ip.src,
                dst: ip.dst,
                // RFC 8200 section 4.5 puts IPv6 datagrams together whatever their fragments say follows.
                protocol: if ip.family == Family::V4 { ip.protocol } else { 0 },
                id: fragment.id,
                port: packet.from.0,
            };
            if fragment.is_first() {
                let first = FirstFragment { protocol: ip.protocol, l4: packet.l4 };
                if let Err(reason) =
                    self.fragments.first(key, fragment.length, first, now, &mut self.released)
                {
                    packet.drop(reason);
                }
                let (from, vtep) = (packet.from, packet.vtep);
                self.counters.held.lower(self.released.len() as u64);
                packets.extend(self.released.drain(..).map(|frame| {
                    let mut packet = Packet::new(frame, from);
                    packet.vtep = vtep;
                    packet.counted = true;
                    packet.first = Some(first);
                    packet
                }));
                continue;
            }
            let frame = packet.take_frame(Fate::Held);
            match self.fragments.later(key, fragment.offset, fragment.length, fragment.more, frame, now) {
                Later::Known(first, frame) => {
                    packet.frame = frame;
                    packet.fate = Fate::Live;
                    packet.follow(first);
                }
                // Counted here and not in the sweep: its first may stand further on in this very batch.
                Later::Held => self.counters.held.add(1),
                Later::Drop(frame, reason) => {
                    packet.frame = frame;
                    packet.drop(reason);
                }
            }
        }
    }
}

/// The signal of a later fragment opens nothing.
pub(super) fn is_later(l4_in_packet: L4) -> bool {
    matches!(l4_in_packet, L4::LaterFragment)
}
