//! TCP segments as the wire sees them: which are ours, and which say again what was said before.
//!
//! smoltcp tells nobody what it sends a second time. So each end remembers, per connection, the sequence number behind the
//! last byte it has sent (RFC 9293 section 3.4): what begins before it is a retransmission. 24 bytes for each source port
//! that has been used, 50,000 of them at the most.

use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;
use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber,
};

/// A TCP segment, as far as it is of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) src: SocketAddr,
    pub(super) dst: SocketAddr,
    sequence: TcpSeqNumber,
    /// Of the sequence space: payload, SYN and FIN.
    length: usize,
    /// Payload alone.
    pub(super) payload: usize,
    begins: bool,
    resets: bool,
}

impl Segment {
    /// The segment in an Ethernet frame, if it is one.
    pub(super) fn of(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        match ethernet.ethertype() {
            EthernetProtocol::Ipv4 => {
                let ip = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
                let ends = (ip.src_addr().into(), ip.dst_addr().into());
                (ip.next_header() == IpProtocol::Tcp).then(|| Self::between(ends, ip.payload()))?
            }
            EthernetProtocol::Ipv6 => {
                let ip = Ipv6Packet::new_checked(ethernet.payload()).ok()?;
                let ends = (ip.src_addr().into(), ip.dst_addr().into());
                (ip.next_header() == IpProtocol::Tcp).then(|| Self::between(ends, ip.payload()))?
            }
            _ => None,
        }
    }

    fn between((src, dst): (IpAddr, IpAddr), bytes: &[u8]) -> Option<Self> {
        let tcp = TcpPacket::new_checked(bytes).ok()?;
        Some(Self {
            src: SocketAddr::new(src, tcp.src_port()),
            dst: SocketAddr::new(dst, tcp.dst_port()),
            sequence: tcp.seq_number(),
            length: tcp.segment_len(),
            payload: tcp.payload().len(),
            begins: tcp.syn(),
            resets: tcp.rst(),
        })
    }
}

/// What one end has sent.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// The sequence number behind what was said, by both L4 ports.
    ends: AHashMap<(u16, u16), TcpSeqNumber>,
    /// Segments with something in them that were said again.
    pub(super) retransmitted: u64,
}

impl Spoken {
    /// Notes a segment that is about to be sent.
    pub(super) fn note(&mut self, segment: &Segment) {
        let key = (segment.src.port(), segment.dst.port());
        if segment.resets {
            self.ends.remove(&key);
            return;
        }
        if segment.length == 0 {
            return;
        }
        let end = segment.sequence + segment.length;
        match self.ends.get_mut(&key) {
            // A connection begun anew, by another first number, says nothing again.
            Some(said) if !(segment.begins && *said != end) => {
                if segment.sequence < *said {
                    self.retransmitted = self.retransmitted.saturating_add(1);
                }
                if *said < end {
                    *said = end;
                }
            }
            _ => {
                self.ends.insert(key, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: i32, payload: usize, begins: bool) -> Segment {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let length = payload + usize::from(begins);
        Segment {
            src: at(10_000),
            dst: at(8000),
            sequence: TcpSeqNumber(sequence),
            length,
            payload,
            begins,
            resets: false,
        }
    }

    fn retransmitted(segments: &[Segment]) -> u64 {
        let mut spoken = Spoken::default();
        for segment in segments {
            spoken.note(segment);
        }
        spoken.retransmitted
    }

    #[test]
    fn what_is_said_again_is_counted_and_what_is_new_or_empty_is_not() {
        let said =
            [segment(99, 0, true), segment(100, 10, false), segment(110, 0, false), segment(110, 5, false)];
        assert_eq!(retransmitted(&said), 0);
        let again = [&said[..], &[segment(110, 5, false), segment(100, 15, false)]].concat();
        assert_eq!(retransmitted(&again), 2);
        assert_eq!(retransmitted(&[segment(7, 0, true), segment(7, 0, true)]), 1);
    }

    #[test]
    fn numbers_wrap_and_ports_are_used_again() {
        assert_eq!(retransmitted(&[segment(i32::MAX, 10, false), segment(i32::MIN + 9, 10, false)]), 0);
        assert_eq!(
            retransmitted(&[segment(5_000, 10, false), segment(99, 0, true), segment(100, 1, false)]),
            0
        );
    }
}
