//! The network card of an end: where smoltcp's frames go, and where those for it come from.
//!
//! ```text
//!  smoltcp ─► leave ─┬─ who has …? ─► answered here: the next hop is known   link ─► arrive ─► smoltcp
//!                    ├─ segment of ours ─► noted, `segments` ─► link
//!                    └─ anything else ────► `others` ─────────► link
//! ```
//! The next hop's MAC is configured at the client and read from what comes at the server; nobody is asked for it. Who
//! asks for this end's is answered, by smoltcp. Segments are apart from everything else so that they can be counted
//! to the packet. One vector for each frame: what this costs is the generator's, not the device's.

use std::collections::VecDeque;
use std::net::SocketAddr;

use dataplane::buffer::Frame;
use dataplane::respond::{self, ArpOutcome, NdpOutcome};
use smoltcp::phy::{Device, DeviceCapabilities};
use smoltcp::time::Instant;
use vxlan::mac::Mac;
use vxlan::wire::ethernet;
use vxlan::wire::headers::{self, Network};

use super::segments::{Segment, Spoken};
use crate::card::{self, Incoming, Leave, Outgoing};

/// Frames that wait to leave before smoltcp is held back.
const WAITING: usize = 256;

/// A network card.
pub(super) struct Nic {
    own: SocketAddr,
    peer: SocketAddr,
    mtu: usize,
    next_hop: Option<Mac>,
    /// Segments to be sent.
    pub(super) segments: VecDeque<Vec<u8>>,
    /// Frames to be sent that are no segments between the two ends.
    pub(super) others: VecDeque<Vec<u8>>,
    into: VecDeque<Vec<u8>>,
    pub(super) spoken: Spoken,
    /// Segments that arrived.
    pub(super) arrived: u64,
}

impl Nic {
    /// That of `own`, which talks to `peer`. A port of 0 stands for any.
    pub(super) fn new(own: SocketAddr, peer: SocketAddr, mtu: usize, next_hop: Option<Mac>) -> Self {
        Self {
            own,
            peer,
            mtu,
            next_hop,
            segments: VecDeque::new(),
            others: VecDeque::new(),
            into: VecDeque::new(),
            spoken: Spoken::default(),
            arrived: 0,
        }
    }

    /// Takes a frame that stands for segments of `size` bytes, where it is more than one.
    pub(super) fn arrive(&mut self, frame: &[u8], size: Option<u16>) {
        if let Some(segment) =
            Segment::of(frame).filter(|one| is(self.peer, one.src) && is(self.own, one.dst))
        {
            let size = usize::from(size.unwrap_or(u16::MAX)).max(1);
            self.arrived = self.arrived.saturating_add(segment.payload.div_ceil(size).max(1) as u64);
            if self.next_hop.is_none() {
                self.next_hop = ethernet::parse(frame).map(|(ethernet, _)| ethernet.src);
            }
        }
        self.into.push_back(frame.to_vec());
    }
}

impl Leave for Nic {
    fn leave(&mut self, frame: Vec<u8>) {
        if let Some(segment) = Segment::of(&frame)
            && is(self.own, segment.src)
            && is(self.peer, segment.dst)
        {
            self.spoken.note(&segment);
            self.segments.push_back(frame);
            return;
        }
        match self.next_hop.and_then(|mac| answered(&frame, mac)) {
            // In front: smoltcp goes on with what it asked for.
            Some(answer) => self.into.push_front(answer),
            None => self.others.push_back(frame),
        }
    }
}

/// Whether `found` is that end; its port 0 stands for any.
fn is(end: SocketAddr, found: SocketAddr) -> bool {
    end.ip() == found.ip() && (end.port() == 0 || end.port() == found.port())
}

/// The answer to the question for a MAC, where this is one: it is `mac`, for whomever.
fn answered(question: &[u8], mac: Mac) -> Option<Vec<u8>> {
    let mut frame = Frame::from_bytes(question);
    let is_answer = match headers::parse(question, false).ok()?.net {
        Network::Arp => respond::arp(&mut frame, None, |_| true, |_| Some(mac)) == ArpOutcome::Reply,
        Network::Ip(ip) if respond::is_ndp(&ip) => {
            respond::ndp(&mut frame, &ip, None, |_| true, |_| Some(mac), |_| true) == NdpOutcome::Reply
        }
        Network::Ip(_) => false,
    };
    is_answer.then(|| frame.bytes().to_vec())
}

impl Device for Nic {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a, Self>;

    fn receive(&mut self, _: Instant) -> Option<(Incoming, Outgoing<'_, Self>)> {
        let frame = self.into.pop_front()?;
        Some((Incoming(frame), Outgoing(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Outgoing<'_, Self>> {
        (self.segments.len() < WAITING && self.others.len() < WAITING).then_some(Outgoing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        card::capabilities(self.mtu)
    }
}
