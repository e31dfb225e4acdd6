//! One pipeline of a replay: the node of one state, fed batch by batch.
//!
//! A batch holds packets of one port and one step of the clock, in the order of the capture: a packet that comes in
//! elsewhere ends the batch before it. So connections are opened before their replies come, at any speed.

mod enter;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use dataplane::buffer::{BATCH_FRAMES, Batch, Frame, Pool};
use dataplane::pipeline::{Binding, Ending, Outputs, Pipeline, PortId, Role};
use dataplane::ports::Capabilities;
use dataplane::telemetry::{DenialLog, PacketCounters};
use dataplane::time::Timestamp;
use vxlan::mac::Mac;

use super::ReplayError;
use super::books::Books;
use super::clock::pipeline_time;
use super::fit::{Fitted, Fitter, OUTER_CHECKSUM};
use super::flows::{FlowKey, Outcome};
use super::headers::Sketch;
use super::map::MapRule;
use super::node::{NodeState, pod_mac};
use super::place::{Placer, PortNames};
use crate::capture::Interface;

/// Frames of a node: batches, what waits in the fragment table, segments.
const FRAMES: usize = 4096;

/// What is known of a packet that was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Its number in the replay, from 1; its frame's tag.
    pub(super) number: u64,
    /// Its time, in nanoseconds since the beginning.
    pub(super) time: u64,
    /// When it was due.
    pub(super) due: Option<Instant>,
    pub(super) flow: Option<FlowKey>,
    /// Bytes it had on the wire.
    pub(super) wire_len: u32,
    /// Bytes of its frame that the capture does not have.
    pub(super) missing: usize,
}

/// A packet that has entered and has not ended.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    pub(super) known: Known,
    /// Where it entered.
    pub(super) port: PortId,
    /// The captured frame, in the keep of its batch.
    kept: Range<usize>,
}

/// A packet to be entered, and where it was captured.
pub(super) struct Arrival<'a> {
    pub(super) known: Known,
    pub(super) interface: (usize, &'a Interface),
}

/// A pipeline and the way into it.
pub(super) struct Replica {
    /// 0: the state asked about; 1: the one it is compared with.
    pub(super) side: usize,
    pub(super) state: NodeState,
    pub(super) names: PortNames,
    pub(super) counters: Arc<PacketCounters>,
    pub(super) fitted: Fitted,
    pipeline: Pipeline,
    placer: Placer,
    fitter: Fitter,
    pods: Vec<(PortId, Mac)>,
    node: PortId,
    datagrams: PortId,
    underlay: PortId,
    pool: Pool,
    batch: Batch,
    batch_port: PortId,
    batch_time: Timestamp,
    current: Vec<InFlight>,
    /// The captured frames of the batch, where a file of dropped ones is written.
    keep: Option<Vec<u8>>,
    held: HashMap<u64, (InFlight, Vec<u8>)>,
    out: Outputs,
}

impl Replica {
    pub(super) fn new(
        side: usize,
        state: NodeState,
        rules: &[MapRule],
        strict_mac: bool,
        keep_originals: bool,
    ) -> Result<Self, ReplayError> {
        let generation = Arc::clone(&state.generation);
        let placer = Placer::new(&generation, rules, state.settings.vxlan_port).map_err(|pod| {
            let known: Vec<String> =
                generation.endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            ReplayError::NoSuchPod { pod, node: generation.own.name.clone(), known }
        })?;
        let counters = Arc::new(PacketCounters::default());
        let mut settings = state.settings.clone();
        settings.outer_checksum = OUTER_CHECKSUM;
        let mut pipeline = Pipeline::new(settings, Arc::clone(&counters), Arc::new(DenialLog::default()));
        pipeline.note_endings();
        let mut names = Vec::new();
        let mut attach = |role: Role, mac: Option<Mac>, mtu: u16, name: String| {
            let (id, capabilities) = (PortId(0), Capabilities::default());
            let id = pipeline.attach(Binding { id, role, mac, mtu, capabilities, endpoint: None });
            names.push((id, name));
            id
        };
        let mtu = state.pod_mtu;
        let pods = (0..)
            .zip(&generation.endpoints)
            .map(|(number, endpoint)| {
                let mac = pod_mac(&endpoint.addresses, number);
                let name = format!("pod {}", endpoint.name);
                (attach(Role::Pod(endpoint.name.clone()), Some(mac), mtu, name), mac)
            })
            .collect();
        let node = attach(Role::Node, Some(generation.own.gateway_mac), mtu, "node".to_owned());
        // The port attached last is the one that the tunnel leaves by.
        let datagrams = attach(Role::UnderlayDatagram, None, u16::MAX, "underlay (unwrapped)".to_owned());
        let underlay = attach(Role::UnderlayFrame, None, u16::MAX, "underlay".to_owned());
        pipeline.take_up(generation);
        let fitter = Fitter { strict_mac, pod_mtu: mtu };
        Ok(Self {
            side,
            names: PortNames::new(names),
            counters,
            fitted: Fitted::default(),
            pipeline,
            placer,
            fitter,
            pods,
            node,
            datagrams,
            underlay,
            pool: Pool::new(FRAMES),
            batch: Batch::with_capacity(BATCH_FRAMES),
            batch_port: node,
            batch_time: pipeline_time(0),
            current: Vec::with_capacity(BATCH_FRAMES),
            keep: keep_originals.then(Vec::new),
            held: HashMap::new(),
            out: Outputs::default(),
            state,
        })
    }

    /// The port that VXLAN is spoken on.
    pub(super) fn vxlan_port(&self) -> u16 {
        self.state.vxlan_port()
    }

    /// A frame to be filled.
    pub(super) fn frame(&mut self) -> Frame {
        self.pool.take().unwrap_or_default()
    }

    /// A frame that is not wanted after all.
    pub(super) fn give_back(&mut self, frame: Frame) {
        self.pool.give(frame);
    }

    /// Takes a packet in. Packets before it may end by that.
    pub(super) fn take(
        &mut self,
        arrival: &Arrival<'_>,
        mut frame: Frame,
        sketch: Option<Sketch>,
        books: &mut Books,
    ) {
        let known = arrival.known;
        let kept = self.keep_original(frame.bytes(), known.missing);
        let (port, missing) = match self.enter(arrival, &mut frame, sketch) {
            Ok(entered) => entered,
            Err(reason) => {
                if let Some(keep) = &mut self.keep {
                    keep.truncate(kept.start);
                }
                self.pool.give(frame);
                books.left_out(self.side, known.number, known.flow, known.wire_len, reason);
                return;
            }
        };
        let mut in_flight = InFlight { known: Known { missing, ..known }, port, kept };
        let time = pipeline_time(known.time);
        if port != self.batch_port || time != self.batch_time || self.batch.len() >= BATCH_FRAMES {
            let original = self.keep.as_ref().and_then(|keep| keep.get(in_flight.kept.clone()));
            let original = original.map(<[u8]>::to_vec);
            self.flush(books);
            self.batch_port = port;
            self.batch_time = time;
            if let Some(original) = original {
                in_flight.kept = self.keep_original(&original, 0);
            }
        }
        frame.tag = known.number;
        self.batch.push(frame);
        self.current.push(in_flight);
    }

    fn keep_original(&mut self, bytes: &[u8], missing: usize) -> Range<usize> {
        let Some(keep) = &mut self.keep else { return 0..0 };
        let start = keep.len();
        keep.extend_from_slice(bytes.get(..bytes.len().saturating_sub(missing)).unwrap_or_default());
        start..keep.len()
    }

    /// Passes the batch through the pipeline and settles what came of it.
    pub(super) fn flush(&mut self, books: &mut Books) {
        if self.batch.is_empty() {
            return;
        }
        let count = self.batch.len() as u64;
        let begin = Instant::now();
        let Self { pipeline, batch, pool, out, .. } = self;
        pipeline.process(self.batch_port, batch, self.batch_time, pool, out);
        let took = begin.elapsed();
        books.processed(self.side, &self.current, count, begin, took);
        self.settle(books);
        self.current.clear();
        if let Some(keep) = &mut self.keep {
            keep.clear();
        }
    }

    /// Housekeeping at a time of the replay.
    pub(super) fn tick(&mut self, time: u64, books: &mut Books) {
        self.flush(books);
        let Self { pipeline, pool, out, .. } = self;
        pipeline.tick(pipeline_time(time), pool, out);
        self.settle(books);
    }

    fn settle(&mut self, books: &mut Books) {
        let Self { pipeline, pool, out, current, held, keep, side, names, .. } = self;
        let at = self.batch_time;
        out.drain(|port, batch| {
            for frame in batch.drain(..) {
                let in_flight = position(current, frame.tag)
                    .and_then(|place| current.get(place))
                    .or_else(|| held.get(&frame.tag).map(|(in_flight, _)| in_flight));
                books.sent(*side, port, names, in_flight, at, &frame);
                pool.give(frame);
            }
        });
        for ended in pipeline.drain_endings() {
            let outcome = match ended.ending {
                Ending::Forwarded => Outcome::Forwarded,
                Ending::Answered => Outcome::Answered,
                Ending::Dropped(reason) => Outcome::Dropped(reason),
                Ending::Held => {
                    if let Some(in_flight) = position(current, ended.tag).and_then(|place| current.get(place))
                    {
                        let original = keep.as_ref().and_then(|keep| keep.get(in_flight.kept.clone()));
                        let original = original.unwrap_or_default().to_vec();
                        held.insert(ended.tag, (in_flight.clone(), original));
                    }
                    continue;
                }
            };
            if let Some((in_flight, original)) = held.remove(&ended.tag) {
                books.settle(*side, &in_flight, names, outcome, ended.judged, &original);
                continue;
            }
            let Some(in_flight) = position(current, ended.tag).and_then(|place| current.get(place)) else {
                continue;
            };
            let original = keep.as_ref().and_then(|keep| keep.get(in_flight.kept.clone()));
            books.settle(*side, in_flight, names, outcome, ended.judged, original.unwrap_or_default());
        }
    }
}

/// Numbers ascend within a batch.
fn position(current: &[InFlight], tag: u64) -> Option<usize> {
    current.binary_search_by_key(&tag, |in_flight| in_flight.known.number).ok()
}
