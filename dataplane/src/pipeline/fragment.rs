//! Fragments: gives later fragments the transport header of their first (RFC 791, RFC 8200 section 4.5).
//!
//! On entry a packet is guarded. On exit `l4` names its L4 ports whether or not they are in this very
//! fragment; a later fragment that overtook its first waits in the table, and comes back behind it. Fragments
//! are forwarded as they came, never put together. Packets that are no fragments do not touch the table.

use vxlan::wire::headers::L4;

use super::Pipeline;
use super::packet::{Fate, Packet};
use crate::fragments::{FragKey, Later};
use crate::time::Timestamp;

impl Pipeline {
    /// Works over all of `packets`; those set free by a first fragment are appended.
    pub(super) fn fragments(&mut self, packets: &mut Vec<Packet>, now: Timestamp) {
        for position in 0..packets.len() {
            let Some(packet) = packets.get_mut(position) else { continue };
            let Some(ip) = packet.ip.filter(|_| packet.is_live()) else { continue };
            let Some(fragment) = ip.fragment else { continue };
            if let Some(l4) = packet.first_l4 {
                // Set free by its first fragment, and known to the table.
                packet.l4 = l4;
                continue;
            }
            if packet.past_fragments {
                continue;
            }
            packet.past_fragments = true;
            let key = FragKey {
                src: ip.src,
                dst: ip.dst,
                protocol: ip.protocol,
                id: fragment.id,
                port: packet.from.0,
            };
            if fragment.is_first() {
                if let Err(reason) =
                    self.fragments.first(key, fragment.length, packet.l4, now, &mut self.released)
                {
                    packet.drop(reason);
                }
                let (from, vtep, l4) = (packet.from, packet.vtep, packet.l4);
                self.counters.held.sub(self.released.len() as u64);
                packets.extend(self.released.drain(..).map(|frame| {
                    let mut packet = Packet::new(frame, from);
                    packet.vtep = vtep;
                    packet.counted = true;
                    packet.first_l4 = Some(l4);
                    packet
                }));
                continue;
            }
            let frame = packet.take_frame(Fate::Held);
            match self.fragments.later(key, fragment.offset, fragment.length, fragment.more, frame, now) {
                Later::Known(l4, frame) => {
                    packet.frame = frame;
                    packet.fate = Fate::Live;
                    packet.l4 = l4;
                }
                Later::Held => {}
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
