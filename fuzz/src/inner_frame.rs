//! Frames through the whole pipeline of one node, in at every kind of port.
//!
//! No panic; every frame taken in is forwarded, answered, dropped for a reason or held, and its memory comes back;
//! what leaves is whole and leaves where the policy lets it (`oracle`).
//!
//! The first byte chooses the kind of underlay and what the other ports can take. Then come steps: the place the
//! frame comes in at, how honest it is (see the bits below), its length in two bytes, its bytes.

mod node;
mod oracle;

use std::sync::Arc;
use std::time::Duration;

use dataplane::buffer::{Batch, Checksum, Frame, Outer, Pool};
use dataplane::pipeline::{Outputs, Pipeline, PortId, Role};
use dataplane::ports::Capabilities;
use dataplane::sys::vnet;
use dataplane::telemetry::PacketCounters;
use dataplane::time::Timestamp;
use vxlan::decap::parse_outer;
use vxlan::wire::vxlan::HEADER_BYTES as VXLAN;
use vxlan::wire::{checksum, ethernet};

use crate::mend;
use crate::script::Script;
use node::Node;
use oracle::{Oracle, Sent};

const HONEST_MACS: u8 = 1;
const KNOWN_SOURCE: u8 = 2;
const KNOWN_DESTINATION: u8 = 4;
const RIGHT_CHECKSUM: u8 = 8;
const IN_A_TUNNEL: u8 = 16;
const METADATA: u8 = 32;
/// The next step's frame belongs to the same batch.
const MORE: u8 = 64;
const TIME_PASSES: u8 = 128;

const STEPS: usize = 24;
const POOL: usize = 64;

/// Where frames come in and go out; the number is the place in the list of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Blue,
    Green,
    Node,
    Underlay,
}

const PLACES: [Place; 4] = [Place::Blue, Place::Green, Place::Node, Place::Underlay];

thread_local! {
    static NODE: Node = Node::new();
}

/// One input.
pub fn run(input: &[u8]) {
    NODE.with(|node| {
        World::new(node, input.first().copied().unwrap_or(0)).run(input.get(1..).unwrap_or_default())
    });
}

struct World<'n> {
    node: &'n Node,
    pipeline: Pipeline,
    ports: [PortId; 4],
    counters: Arc<PacketCounters>,
    capabilities: Capabilities,
    datagrams: bool,
    pool: Pool,
    out: Outputs,
    now: Timestamp,
    oracle: Oracle,
}

impl<'n> World<'n> {
    fn new(node: &'n Node, choice: u8) -> Self {
        let datagrams = choice & 1 != 0;
        let underlay = if datagrams { Role::UnderlayDatagram } else { Role::UnderlayFrame };
        let capabilities =
            Capabilities { checksum: choice & 2 != 0, tso: choice & 4 != 0, uso: choice & 8 != 0 };
        let counters = Arc::new(PacketCounters::default());
        let (pipeline, ports) = node::pipeline(node, underlay, capabilities, &counters);
        Self {
            node,
            pipeline,
            ports,
            counters,
            capabilities,
            datagrams,
            pool: Pool::new(POOL),
            out: Outputs::default(),
            now: Timestamp::from_nanos(1_000_000_000),
            oracle: Oracle::default(),
        }
    }

    fn run(mut self, input: &[u8]) {
        let mut script = Script::new(input);
        let mut batch = Batch::new();
        let mut place = Place::Blue;
        let mut more = false;
        for _ in 0..STEPS {
            if script.is_over() {
                break;
            }
            let next = script.pick(&PLACES);
            // A batch comes from one port.
            place = if more { place } else { next };
            let how = script.byte();
            if let Some(mut frame) = self.pool.take() {
                self.fill(&mut frame, place, how, &mut script);
                batch.push(frame);
            }
            if how & TIME_PASSES != 0 {
                self.now = self.now.plus(Duration::from_secs(u64::from(script.byte())));
            }
            more = how & MORE != 0;
            if !more {
                self.process(place, &mut batch);
            }
        }
        self.process(place, &mut batch);
        // Whatever is still held has its time and goes.
        self.now = self.now.plus(Duration::from_secs(3600));
        self.pipeline.tick(self.now, &mut self.pool, &mut self.out);
        self.settle(place);
        assert_eq!(self.counters.held.get(), 0);
        let free = std::iter::from_fn(|| self.pool.take()).count();
        assert_eq!(free, POOL, "every frame came back");
    }

    fn process(&mut self, place: Place, batch: &mut Batch) {
        self.now = self.now.plus(Duration::from_millis(1));
        for frame in &*batch {
            if let Some(bytes) = self.arriving(place, frame) {
                self.oracle.arrives(self.node, place, bytes, frame.gso.is_some());
            }
        }
        let (before, count) = (self.counters.received.get(), batch.len() as u64);
        self.pipeline.process(self.ports[place as usize], batch, self.now, &mut self.pool, &mut self.out);
        assert!(batch.is_empty());
        assert_eq!(self.counters.received.get() - before, count);
        self.settle(place);
    }

    fn settle(&mut self, from: Place) {
        let counters = &self.counters;
        let ended = counters.forwarded.get() + counters.answered.get() + counters.dropped_total();
        assert_eq!(counters.received.get(), ended + counters.held.get(), "the books balance");
        let mut frames = Vec::new();
        self.out.drain(|port, batch| frames.extend(batch.drain(..).map(|frame| (port, frame))));
        let mut sent = Vec::new();
        for (port, frame) in frames {
            let position = self.ports.iter().position(|known| *known == port).expect("a port of ours");
            let place = PLACES[position];
            self.assert_takes(place, &frame);
            let bytes = self.inner(place, &frame).to_vec();
            sent.push(Sent { place, bytes, is_super_packet: frame.gso.is_some() });
            self.pool.give(frame);
        }
        self.oracle.check(self.node, from, &sent);
    }

    /// The inner frame of what comes in.
    fn arriving<'f>(&self, place: Place, frame: &'f Frame) -> Option<&'f [u8]> {
        let bytes = frame.bytes();
        match place {
            Place::Underlay if self.datagrams => bytes.get(VXLAN..),
            Place::Underlay => bytes.get(parse_outer(bytes).ok()?.payload)?.get(VXLAN..),
            _ => Some(bytes),
        }
    }

    /// A port is given nothing it did not say it takes.
    fn assert_takes(&self, place: Place, frame: &Frame) {
        let capabilities = if place == Place::Underlay { Capabilities::default() } else { self.capabilities };
        assert!(!frame.is_hollow(), "a frame that was moved away is sent");
        assert!(frame.checksum == Checksum::Complete || capabilities.checksum, "{place:?}: {frame:?}");
        assert!(frame.gso.is_none() || capabilities.tso || capabilities.uso, "{place:?}: {frame:?}");
        assert_eq!(frame.outer.is_some(), place == Place::Underlay && self.datagrams);
    }

    /// The inner frame of what left through the tunnel.
    fn inner<'f>(&self, place: Place, frame: &'f Frame) -> &'f [u8] {
        let bytes = frame.bytes();
        if place != Place::Underlay {
            return bytes;
        }
        let at = match &frame.outer {
            Some(outer) => {
                assert_eq!(outer.peer, node::B_UNDERLAY);
                0
            }
            None => {
                let outer = parse_outer(bytes).expect("valid outer headers");
                assert_eq!((outer.dst, outer.payload.end), (node::B_UNDERLAY.into(), bytes.len()));
                outer.payload.start
            }
        };
        bytes.get(at + VXLAN..).expect("a VXLAN header")
    }

    /// The frame of one step.
    fn fill(&self, frame: &mut Frame, place: Place, how: u8, script: &mut Script<'_>) {
        let count = usize::from(script.word());
        let choice = script.byte();
        let header = (how & METADATA != 0).then(|| script.take(vnet::VNET_LEN));
        let mut bytes = script.take(count).to_vec();
        let tunnelled = place == Place::Underlay && how & IN_A_TUNNEL != 0;
        if place != Place::Underlay || tunnelled {
            mend_frame(&mut bytes, place, how, choice);
        }
        if tunnelled && !self.datagrams {
            bytes = sealed(&bytes);
        } else if tunnelled {
            bytes.splice(..0, VXLAN_HEADER);
        }
        frame.write(&bytes);
        if place == Place::Underlay && self.datagrams {
            frame.outer = Some(Outer {
                peer: node::B_UNDERLAY.into(),
                local: node::A_UNDERLAY.into(),
                source_port: 50_000,
                tos: choice,
            });
        }
        // Only the kernel's interfaces have a vnet header, and a port passes on what decodes.
        let metadata = header.filter(|_| place != Place::Underlay).and_then(|header| header.try_into().ok());
        if let Some(Ok((checksum, gso))) = metadata.map(|header| vnet::decode(header, frame.len())) {
            (frame.checksum, frame.gso) = (checksum, gso);
        }
    }
}

/// Flannel's VNI.
const VXLAN_HEADER: [u8; VXLAN] = [0x08, 0, 0, 0, 0, 0, 1, 0];

/// Makes a frame as honest as `how` says; the high and low half of `choice` are source and destination.
fn mend_frame(bytes: &mut [u8], place: Place, how: u8, choice: u8) {
    if how & HONEST_MACS != 0 {
        let (dst, src) = match place {
            Place::Blue => (node::GATEWAY_MAC, node::BLUE_MAC),
            Place::Green => (node::GATEWAY_MAC, node::GREEN_MAC),
            Place::Node => (node::OWN_VTEP, node::GATEWAY_MAC),
            Place::Underlay => (node::OWN_VTEP, node::B_VTEP),
        };
        ethernet::set_macs(bytes, dst, src);
    }
    let ethertype = ethernet::parse(bytes).map(|(header, _)| header.ethertype);
    let (src, dst) = (usize::from(choice >> 4), usize::from(choice & 15));
    for (bit, position, second) in [(KNOWN_SOURCE, src, 0), (KNOWN_DESTINATION, dst, 1)] {
        if how & bit == 0 {
            continue;
        }
        match ethertype {
            Some(ethernet::IPV4) => {
                put(bytes, 26 + second * 4, &node::V4[position % node::V4.len()].octets())
            }
            Some(ethernet::IPV6) => {
                put(bytes, 22 + second * 16, &node::V6[position % node::V6.len()].octets())
            }
            _ => {}
        }
    }
    if how & RIGHT_CHECKSUM != 0 {
        mend::ipv4_checksum(bytes);
        mend::icmpv6_checksum(bytes);
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}

/// An inner frame as node-b sends it over the wire.
fn sealed(inner: &[u8]) -> Vec<u8> {
    let udp_len = 8 + VXLAN + inner.len();
    let Ok(total) = u16::try_from(20 + udp_len) else { return inner.to_vec() };
    let mut header = vec![0x45, 0];
    header.extend_from_slice(&total.to_be_bytes());
    header.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend_from_slice(&node::B_UNDERLAY.octets());
    header.extend_from_slice(&node::A_UNDERLAY.octets());
    let sum = checksum::ipv4_header(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = [50_000_u16.to_be_bytes(), 8472_u16.to_be_bytes(), (total - 20).to_be_bytes(), [0, 0]].concat();
    [&node::A_NIC.0[..], &node::B_NIC.0, &[0x08, 0x00], &header, &udp, &VXLAN_HEADER, inner].concat()
}
